"""Counts the passes of a prior, and what each needs at least."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from vqgan_cli.core.bench.limits import Pass
from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.attention import KVCache
from vqgan_cli.core.models.priors.transformer import TransformerPrior

__all__ = ["Counted", "counting"]


class Counted:
    """What was fed through a transformer.

    Attributes:
        passes: (sequences, tokens of each) of every pass.
    """

    def __init__(self, prior: TransformerPrior) -> None:
        self.passes: list[tuple[int, int]] = []
        self._kept: list[int] = []  # tokens whose keys and values a pass reads
        self._in_blocks = sum(p.numel() for p in prior.blocks.parameters())
        self._in_head = prior.config.width * prior.spec.codebook_size
        weights = [*prior.blocks.parameters(), *prior.get_submodule("head").parameters()]
        self._read = sum(p.numel() * p.element_size() for p in weights)
        self._of_token = 2 * prior.config.layers * prior.config.width * prior.kept_type().itemsize

    @property
    def tokens(self) -> int:
        """All tokens of all sequences."""
        return sum(rows * length for rows, length in self.passes)

    def add(self, rows: int, length: int, kept: int) -> None:
        """Count a pass of ``rows`` sequences, that reads ``kept`` tokens of each which were fed before."""
        self.passes.append((rows, length))
        self._kept.append(rows * kept)

    def needs(self) -> list[Pass]:
        """A pass reads the weights of blocks and head once, and what is kept. It multiplies each token with the weights
        of the blocks, and one token of each sequence with those of the head; the products of attention are left out.
        """
        return [
            Pass(
                2.0 * rows * (length * self._in_blocks + self._in_head),
                float(self._read + kept * self._of_token),
            )
            for (rows, length), kept in zip(self.passes, self._kept, strict=True)
        ]


@contextmanager
def counting(prior: Prior) -> Iterator[Counted]:
    """Count the passes of a transformer inside.

    Raises:
        TypeError: the prior is none.
    """
    if not isinstance(prior, TransformerPrior):
        raise TypeError(f"{type(prior).__name__} is no transformer")
    counted, original = Counted(prior), prior.hidden

    def hidden(codes: Tensor, condition: Tensor | None, start: int | Tensor, cache: KVCache | None) -> Tensor:
        length = codes.shape[1] + (0 if condition is None else condition.shape[1])
        kept = 0
        if cache is not None:
            kept = start if isinstance(start, int) else cache.length
        counted.add(len(codes), length, kept)
        return original(codes, condition, start, cache)

    prior.hidden = hidden  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        del prior.hidden
