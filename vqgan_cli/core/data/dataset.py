"""Images as a torch dataset and its loader.

What a sample looks like depends on (seed, epoch, position) only: not on the number of worker processes, nor on
where a run was resumed, nor on whether the image came from the cache.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vqgan_cli.core.allocator import give_back_freed_memory
from vqgan_cli.core.config import DataConfig, map_form
from vqgan_cli.core.data.sampler import Sample
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.tensors import to_tensor
from vqgan_cli.core.data.transforms import augment, resize_short_side, stored_side
from vqgan_cli.core.errors import DataError, ImageError

__all__ = ["Batch", "ImageDataset", "Item", "collate", "make_loader"]

CACHE_LIMIT = 2 * 2**30
"""Bytes that ``cache: auto`` takes at most, in each process that trains."""

_PROBES = 64


class Item(TypedDict):
    """One sample.

    Attributes:
        image: uint8 ``[3, S, S]``; of label maps int64 ``[S, S]``; of depth float32 ``[1, S, S]``.
        label: class, or -1.
        index: position in the source of the image that was read.
        ok: False if the image that was asked for is bad and another one took its place.
        failed: path and reason of each bad file that was met on the way.
    """

    image: Tensor
    label: int
    index: int
    ok: bool
    failed: list[tuple[str, str]]


class Batch(TypedDict):
    """Samples together: images as in `Item` with ``B`` before, the others ``[B]``; failed is joined."""

    image: Tensor
    label: Tensor
    index: Tensor
    ok: Tensor
    failed: list[tuple[str, str]]


class ImageDataset(Dataset[Item]):
    """Training squares from a source.

    A bad file is replaced by the next good one in the order of the dataset, so that batches stay full and every
    run with the same files sees the same data.

    Args:
        source: the images.
        config: size, crop, mirror images and cache.
        indices: the part of the source to use; None: all.
        train: augment; else resize and crop the centre.
        seed: of the augmentation.
    """

    def __init__(
        self,
        source: ImageSource,
        config: DataConfig,
        *,
        indices: Sequence[int] | npt.NDArray[np.int64] | None = None,
        train: bool,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.config = config
        self.train = train
        self.seed = seed
        self._indices = np.arange(len(source)) if indices is None else np.asarray(indices, np.int64)
        self._side = stored_side(config, train=train)
        self._bad: dict[int, tuple[str, str]] = {}
        self.cached = config.cache == "ram" or (
            config.cache == "auto" and self._estimated_bytes() <= CACHE_LIMIT
        )
        self._cache: dict[int, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Positions in the source of the images that are used."""
        return self._indices

    def __getitem__(self, sample: Sample) -> Item:
        """The sample at (epoch, position).

        Raises:
            DataError: not one image can be read.
        """
        epoch, position = sample
        failed: list[tuple[str, str]] = []
        for step in range(len(self)):
            candidate = (position + step) % len(self)
            image = self._stored(candidate)
            if image is None:
                failed.append(self._bad[candidate])
                continue
            rng = np.random.default_rng((self.seed, epoch, position)) if self.train else None
            index = int(self._indices[candidate])
            return Item(
                image=to_tensor(self.source.finish(augment(image, self.config, rng, self.source.mirror))),
                label=self.source.label(index),
                index=index,
                ok=step == 0,
                failed=failed,
            )
        raise DataError(
            f"none of the {len(self)} images of {self.source.name!r} can be read; "
            f"the first, {failed[0][0]!r}, {failed[0][1]}"
        )

    def _stored(self, position: int) -> npt.NDArray[Any] | None:
        """The image at the size from which crops are taken, from the cache if it is there; None if it is bad."""
        if position in self._bad:
            return None
        if position in self._cache:
            return self._cache[position]
        try:
            # Twice the side: decoding at a reduced size must not be the filter that one sees.
            image = self.source.read(int(self._indices[position]), min_side=2 * self._side)
        except ImageError as error:
            self._bad[position] = (str(error.path), error.reason)
            return None
        image = resize_short_side(image, self._side)
        if self.cached:
            self._cache[position] = image
        return image

    def _estimated_bytes(self) -> float:
        """Size of the whole cache, from the headers of a few images spread over the dataset."""
        channels = {"labels": 1, "value": 4}.get(map_form(self.config.kind), 3)  # bytes per pixel
        smallest = float(len(self)) * self._side**2 * channels
        if smallest > CACHE_LIMIT or not len(self):
            return smallest
        aspects = []
        for position in np.linspace(0, len(self) - 1, min(_PROBES, len(self))).astype(int):
            try:
                height, width = self.source.size(int(self._indices[position]))
            except ImageError:
                continue
            aspects.append(max(height, width) / min(height, width))
        return smallest * float(np.mean(aspects or [1.0]))


def collate(items: Sequence[Item]) -> Batch:
    """Stack samples to a batch."""
    return Batch(
        image=torch.stack([item["image"] for item in items]),
        label=torch.tensor([item["label"] for item in items]),
        index=torch.tensor([item["index"] for item in items]),
        ok=torch.tensor([item["ok"] for item in items]),
        failed=[failure for item in items for failure in item["failed"]],
    )


def make_loader(
    dataset: ImageDataset,
    batch_sampler: Iterable[list[Sample]],
    *,
    workers: int,
    seed: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Item]:
    """A loader of `Batch`.

    Args:
        dataset: the images.
        batch_sampler: lists of (epoch, position).
        workers: processes that read images, at most one per core. A cached dataset is read in this process: each
            worker would fill a cache of its own, and what is left to do, a crop and a copy, takes less time than
            sending the result to another process.
        seed: of the loader's own generator, so that it leaves torch's global one alone.
        pin_memory: page-locked batches, for copies to a GPU.

    Raises:
        DataError: not one image can be read.
    """
    # Found here, the error is one message; out of a worker it would carry the worker's traceback.
    if len(dataset):
        dataset[0, 0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = 0 if dataset.cached else min(workers, cores)
    return DataLoader(
        dataset,
        batch_sampler=batch_sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker if workers else None,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),
    )


def _start_worker(_: int) -> None:
    # A worker needs its largest image once, and there may be many workers.
    give_back_freed_memory()
    # Ctrl-C, and signals to the whole process group, are for the parent: it saves, and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    if hasattr(signal, "sigwaitinfo"):  # macOS has none
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_heed_parent, daemon=True).start()


def _heed_parent() -> None:
    """Let only the parent end this process: batch schedulers send SIGTERM to all, and a parent that saves, and finds
    a worker dead, fails.
    """
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
