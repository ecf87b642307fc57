"""The order in which training sees images: seeded, endless, and the same however often a run is resumed.

The state is one number, the samples consumed by all ranks together. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["SeededBatchSampler", "sequential_batches"]

Sample = tuple[int, int]
"""(epoch, position in the dataset), what `ImageDataset` takes as an index."""


class SeededBatchSampler:
    """Endless batches. Epoch e is the permutation drawn from (seed, e); epochs follow one another without a gap.

    All ranks share one stream of samples: batch b of rank r takes ``batch_size`` samples from
    ``start + (b * world_size + r) * batch_size`` on. So the stream depends neither on the batch size nor on the
    number of ranks, and every epoch holds every image exactly once, whatever divides what.

    Iterating begins at ``start`` each time. Loaders that prefetch run ahead of training: the position to save is
    ``start + steps * world_size * batch_size``, counted by whoever trains.

    Args:
        length: samples in the dataset; may be less than a batch.
        batch_size: samples per rank and batch.
        seed: of the order.
        rank: of this process, 0 to ``world_size - 1``.
        world_size: number of processes.
        start: samples that were consumed before, by all ranks together.
        shuffle: False keeps the dataset's order in every epoch.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start = start
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[list[Sample]]:
        epoch, order = -1, np.empty(0, np.int64)
        position = self.start + self.rank * self.batch_size
        while True:
            batch = []
            for place in range(position, position + self.batch_size):
                if place // self.length != epoch:
                    epoch = place // self.length
                    order = self._order(epoch)
                batch.append((epoch, int(order[place % self.length])))
            yield batch
            position += self.world_size * self.batch_size

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.length)
        return np.random.default_rng((self.seed, epoch)).permutation(self.length)


def sequential_batches(
    length: int, batch_size: int, *, rank: int = 0, world_size: int = 1
) -> list[list[Sample]]:
    """One pass in order, for validation: every sample on exactly one rank, the last batch perhaps smaller.

    Ranks get contiguous shares that differ by at most one sample; a share may be empty.
    """
    first, last = length * rank // world_size, length * (rank + 1) // world_size
    return [
        [(0, position) for position in range(begin, min(begin + batch_size, last))]
        for begin in range(first, last, batch_size)
    ]
