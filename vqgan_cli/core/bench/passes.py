"""Counts the passes of a prior, and what each needs at least."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from vqgan_cli.core.bench.limits import Pass
from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.transformer import TransformerPrior

__all__ = ["Counted", "counting"]


class Counted:
    """What was fed through a transformer.

    Attributes:
        passes: [sequences, tokens of each] of every pass.
    """

    def __init__(self, prior: TransformerPrior) -> None:
        self.passes: list[tuple[int, int]] = []
        self._in_blocks = sum(p.numel() for p in prior.blocks.parameters())
        self._in_head = prior.config.width * prior.spec.codebook_size
        self._bytes = next(prior.parameters()).element_size()

    @property
    def tokens(self) -> int:
        """All tokens of all sequences."""
        return sum(rows * length for rows, length in self.passes)

    def needs(self) -> list[Pass]:
        """A pass reads the weights of blocks and head once, and multiplies each token with those of the blocks, and one
        token of each sequence with those of the head. Attention comes on top and is not counted.
        """
        weights = self._bytes * (self._in_blocks + self._in_head)
        return [
            Pass(2.0 * rows * (length * self._in_blocks + self._in_head), weights)
            for rows, length in self.passes
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

    def hidden(codes: Tensor, condition: Tensor | None, *rest: Any) -> Tensor:
        length = codes.shape[1] + (0 if condition is None else condition.shape[1])
        counted.passes.append((len(codes), length))
        return original(codes, condition, *rest)

    prior.hidden = hidden  # type: ignore[method-assign, assignment]
    try:
        yield counted
    finally:
        del prior.hidden
