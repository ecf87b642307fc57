"""What every prior offers: the distribution of each code given the condition and the codes before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vqgan_cli.core.config import TransformerConfig

__all__ = ["Prior", "PriorSpec", "Sequences"]


@dataclass(frozen=True)
class PriorSpec:
    """What a prior models; written into its file.

    Examples:
        >>> from vqgan_cli import PriorSpec
        >>> spec = PriorSpec(codebook_size=64, grid=(8, 8), condition="class", condition_size=2)
        >>> spec.cells, spec.condition_length
        (64, 1)

    Attributes:
        codebook_size: K of the image codes.
        grid: cells [h, w] of the training images, which is also the window for larger ones.
        condition: ``none`` (one constant token), ``class`` (one token), or ``codes`` (the codes of another image of
            the same grid).
        condition_size: number of classes, or K of the condition's codebook; 0 for ``none``.
        null_condition: whether a token more stands for "no class", as guidance needs.
    """

    codebook_size: int
    grid: tuple[int, int]
    condition: Literal["none", "class", "codes"] = "none"
    condition_size: int = 0
    null_condition: bool = False

    @property
    def cells(self) -> int:
        """N: image codes in a sequence."""
        return self.grid[0] * self.grid[1]

    @property
    def condition_length(self) -> int:
        """C: condition tokens before the image codes."""
        return self.cells if self.condition == "codes" else 1

    @property
    def null_token(self) -> int:
        """The condition token that means "no class"."""
        return self.condition_size


class Sequences(ABC):
    """B sequences that grow code by code, each below a condition of its own."""

    @abstractmethod
    def prefix(self, codes: Tensor, lengths: Tensor) -> Tensor:
        """Logits of the code after each row's prefix, float32 [B, K].

        Args:
            codes: int64 [B, P], rows of different lengths padded on the right with any code.
            lengths: int64 [B], number of codes of each row that count, 0 to P.
        """

    @abstractmethod
    def step(self, codes: Tensor, place: int | Tensor) -> Tensor:
        """Logits of the code after one more, float32 [B, K]; after `prefix`.

        Args:
            codes: int64 [B], the code at sequence index ``place`` among the image codes.
            place: the same for all rows, or int64 [B].
        """

    def gathered(self, parts: Sequence[tuple[Sequences, Tensor]]) -> Sequences:
        """New sequences of the chosen rows, int64, of several with as much room, in which steps go on; for priors with
        `Prior.keeps`.
        """
        raise NotImplementedError


class Prior(nn.Module, ABC):
    """The distribution of each code, given the condition and the codes before it in the sequence.

    A new one needs `forward` and ``blocks``; with them it trains, draws and is saved as every other. One that can go on
    from what it has computed overrides `sequences` too.

    Examples:
        >>> import torch
        >>> from vqgan_cli import load_transformer
        >>> prior = load_transformer("runs/my-transformer").prior
        >>> first = torch.zeros(1, 0, dtype=torch.int64)  # no codes so far
        >>> prior(first, torch.tensor([[1]])).softmax(-1).sum().round().item()  # of the first code, for class 1
        1.0

    Attributes:
        config: its architecture.
        spec: what it models.
        blocks: the parts of which there are ``config.layers``, in order.
        keeps: whether a step costs one token, as what came before is kept, rather than what a prefix costs.
    """

    blocks: nn.ModuleList
    keeps: ClassVar[bool] = False

    def __init__(self, config: TransformerConfig, spec: PriorSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec

    @abstractmethod
    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Teacher-forced logits, float32 [B, P + 1, K]: row k is the distribution of code k given codes before it.

        Args:
            codes: int64 [B, P], the first P < N codes in sequence order; for training all but the last.
            condition: int64 [B, C].
        """

    def prefix_logits(self, codes: Tensor, condition: Tensor, lengths: Tensor) -> Tensor:
        """Logits of the code after each row's prefix, float32 [B, K]; see `Sequences.prefix`."""
        return self(codes, condition)[torch.arange(len(lengths), device=lengths.device), lengths]

    def sequences(self, condition: Tensor, steps_to: int, rows: Tensor | None = None) -> Sequences:
        """Empty sequences, which give what `forward` gives, one code at a time; here each step computes all again.

        Args:
            condition: int64 [B, C].
            steps_to: number of codes that will be known when the last step is made; 0: no step follows the prefix.
            rows: int64, the rows that are left when the prefix is read, and make steps; None: all. For priors with
                ``keeps``.
        """
        assert rows is None
        return _RecomputedSequences(self, condition)


class _RecomputedSequences(Sequences):
    """Keeps the codes alone."""

    def __init__(self, prior: Prior, condition: Tensor) -> None:
        self._prior, self._condition = prior, condition
        self._codes = condition.new_zeros(len(condition), prior.spec.cells)

    def prefix(self, codes: Tensor, lengths: Tensor) -> Tensor:
        self._codes[:, : codes.shape[1]] = codes
        return self._prior.prefix_logits(codes, self._condition, lengths)

    def step(self, codes: Tensor, place: int | Tensor) -> Tensor:
        rows = torch.arange(len(codes), device=codes.device)
        places = place if isinstance(place, Tensor) else torch.full_like(rows, place)
        self._codes[rows, places] = codes
        known = int(places.max()) + 1
        return self._prior.prefix_logits(self._codes[:, :known], self._condition, places + 1)
