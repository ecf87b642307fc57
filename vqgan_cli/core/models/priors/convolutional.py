"""What convolutional priors share: they see the codes as a grid, and draw it row by row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vqgan_cli.core.config import TransformerConfig
from vqgan_cli.core.models.priors.base import Prior, PriorSpec

__all__ = ["CausalConv", "ConvolutionalPrior", "checkpointed", "shifted_down", "shifted_right"]


class CausalConv(nn.Module):
    """Convolution in which no cell sees one below it, nor, unless the kernel is centred, one to its right.

    The input is padded with zeros above and to the left rather than the kernel masked, so that every weight is used.

    Args:
        channels_in: of [B, C, h, w].
        channels_out: of the result, of the same h and w.
        rows: height of the kernel, which ends with the row of the cell.
        columns: width of the kernel, which ends with the column of the cell.
        centred: the middle column of the kernel, rather than the last, is that of the cell; ``columns`` is then odd.
    """

    def __init__(
        self, channels_in: int, channels_out: int, rows: int, columns: int, *, centred: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, (rows, columns))
        right = columns // 2 if centred else 0
        self._padding = (columns - 1 - right, right, rows - 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C', h, w]."""
        return self.conv(F.pad(x, self._padding))


def shifted_down(x: Tensor) -> Tensor:
    """[B, C, h, w] in which each row is the one above it, and the first is zeros."""
    return F.pad(x, (0, 0, 1, 0))[:, :, :-1]


def shifted_right(x: Tensor) -> Tensor:
    """[B, C, h, w] in which each column is the one to its left, and the first is zeros."""
    return F.pad(x, (1, 0))[..., :-1]


def checkpointed(block: nn.Module, inputs: Sequence[Tensor], *, when: bool) -> Tensor:
    """What a block gives, its activations forgotten and recomputed in the backward pass where that is wanted."""
    return checkpoint(block, *inputs, use_reentrant=False) if when else block(*inputs)


class ConvolutionalPrior(Prior):
    """A network over the grid of codes, whose features at a cell depend on the cells before it in row order.

    The condition is a vector per cell, or one for all cells where it is a class, which each block adds through a 1x1
    convolution (van den Oord et al. 2016, sections 2.3 and 2.4). The codes of a map are first mixed with their
    neighbours, so that a cell knows what lies around its place.
    """

    def __init__(self, config: TransformerConfig, spec: PriorSpec) -> None:
        super().__init__(config, spec)
        width = config.width
        self.tok_emb = nn.Embedding(spec.codebook_size, width)
        self.cond_emb = nn.Embedding(max(1, spec.condition_size + spec.null_condition), width)
        self.cond_mix = nn.Conv2d(width, width, 5, padding=2) if spec.condition == "codes" else nn.Identity()
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.head = nn.Linear(width, spec.codebook_size)

    @abstractmethod
    def features(self, x: Tensor, condition: Tensor) -> Tensor:
        """Vectors before the head, [B, D, rows, w].

        Args:
            x: embeddings of the codes, [B, D, rows, w], of the upper rows of a grid.
            condition: [B, D, rows, w] or [B, D, 1, 1].
        """

    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """See `Prior.forward`."""
        vectors = self._vectors(codes, condition)
        return self.head(vectors[:, : codes.shape[1] + 1]).float()

    def prefix_logits(self, codes: Tensor, condition: Tensor, lengths: Tensor) -> Tensor:
        """See `Prior.prefix_logits`; the head sees one cell per row."""
        vectors = self._vectors(codes, condition)
        return self.head(vectors[torch.arange(len(lengths), device=lengths.device), lengths]).float()

    def _vectors(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Vectors before the head, [B, cells, D], of all rows up to that of the code after ``codes`` [B, P]."""
        columns = self.spec.grid[1]
        rows = codes.shape[1] // columns + 1
        # What stands in the cells that are not known yet does not matter: none of these logits depends on it.
        grid = F.pad(codes, (0, rows * columns - codes.shape[1])).unflatten(1, (rows, columns))
        x = self.dropout(self.tok_emb(grid).permute(0, 3, 1, 2))  # [B, D, rows, w]
        if self.spec.condition == "codes":
            given = self.cond_emb(condition.unflatten(1, self.spec.grid)).permute(0, 3, 1, 2)
            given = self.cond_mix(given)[:, :, :rows]
        else:
            given = self.cond_emb(condition[:, 0])[:, :, None, None]
        return self.features(x, given).flatten(2).transpose(1, 2)
