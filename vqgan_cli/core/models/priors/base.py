"""What every prior offers: the distribution of each code given the condition and the codes before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vqgan_cli.core.config import TransformerConfig

__all__ = ["KVCache", "LayerCache", "Prior", "PriorSpec"]


@dataclass(frozen=True)
class PriorSpec:
    """What a prior models; written into its file.

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


@dataclass(frozen=True)
class LayerCache:
    """Keys and values of one layer, [B, heads, T, Dh], written in place."""

    keys: Tensor
    values: Tensor

    def write(self, keys: Tensor, values: Tensor, place: int | Tensor) -> None:
        """Store keys and values [B, heads, t, Dh] from position ``place`` on; a tensor [B] with t = 1 places each
        row on its own.
        """
        if isinstance(place, int):
            self.keys[:, :, place : place + keys.shape[2]] = keys
            self.values[:, :, place : place + keys.shape[2]] = values
        else:
            rows = torch.arange(len(place), device=place.device)
            self.keys[rows, :, place] = keys[:, :, 0]
            self.values[rows, :, place] = values[:, :, 0]


class KVCache:
    """Keys and values of all layers, allocated once.

    Args:
        layers: number of layers.
        shape: [B, heads, T, Dh].
        like: a tensor of the wanted type and device.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        # Zeros, not what memory held: masked positions still pass through the product with the values.
        self.layers = [LayerCache(like.new_zeros(shape), like.new_zeros(shape)) for _ in range(layers)]
        self.length = shape[2]


class Prior(nn.Module, ABC):
    """A decoder-only transformer over [condition tokens, image codes in sequence order].

    Sequence position C + k holds the k-th image code; the output at C + k - 1 gives the logits of the k-th code.

    Attributes:
        blocks: the transformer blocks, in order.
    """

    blocks: nn.ModuleList

    def __init__(self, config: TransformerConfig, spec: PriorSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec

    @abstractmethod
    def hidden(
        self, codes: Tensor, condition: Tensor | None, start: int | Tensor, cache: KVCache | None
    ) -> Tensor:
        """Vectors before the head, [B, T, D].

        Args:
            codes: int64 [B, P] in sequence order.
            condition: int64 [B, C], which then comes before the codes and ``start`` is 0; None in a step.
            start: sequence position of the first token; a tensor [B] with P = 1 places each row on its own.
            cache: keys and values are written there, and in a step read from there.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits [..., K] of vectors [..., D]."""

    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Teacher-forced logits, float32 [B, P + 1, K]: row k is the distribution of code k given codes before it.

        Args:
            codes: int64 [B, P], the first P < N codes in sequence order; for training all but the last.
            condition: int64 [B, C].
        """
        return self.logits(self.hidden(codes, condition, 0, None)[:, self.spec.condition_length - 1 :])

    def prefix_logits(
        self, codes: Tensor, condition: Tensor, lengths: Tensor, cache: KVCache | None = None
    ) -> Tensor:
        """Logits of the code after each row's prefix, float32 [B, K]; the head sees one position per row.

        Args:
            codes: int64 [B, P], rows of different lengths padded on the right with any code.
            condition: int64 [B, C].
            lengths: int64 [B], number of codes of each row that count, 0 to P.
            cache: filled for `step`, if given.
        """
        hidden = self.hidden(codes, condition, 0, cache)
        rows = torch.arange(len(lengths), device=lengths.device)
        return self.logits(hidden[rows, lengths + self.spec.condition_length - 1])

    def step(self, codes: Tensor, place: int | Tensor, cache: KVCache) -> Tensor:
        """Logits of the next code, float32 [B, K].

        Args:
            codes: int64 [B], the code at sequence index ``place`` among the image codes.
            place: the same for all rows, or int64 [B].
            cache: what came before; the code is added.
        """
        start = place + self.spec.condition_length
        return self.logits(self.hidden(codes[:, None], None, start, cache)[:, 0])

    def new_cache(self, batch: int, codes: int, dtype: torch.dtype | None = None) -> KVCache:
        """A cache for ``batch`` rows of the condition and up to ``codes`` image codes."""
        like = next(self.parameters()).detach()
        if dtype is not None:
            like = like.to(dtype)
        heads = self.config.heads
        shape = (batch, heads, self.spec.condition_length + codes, self.config.width // heads)
        return KVCache(self.config.layers, shape, like)
