"""The gated PixelCNN (van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders) over codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.config import TransformerConfig
from vqgan_cli.core.models.priors.base import PriorSpec
from vqgan_cli.core.models.priors.convolutional import (
    CausalConv,
    ConvolutionalPrior,
    checkpointed,
    shifted_down,
    shifted_right,
)

__all__ = ["PixelCNN"]


class PixelCNN(ConvolutionalPrior):
    """Two stacks of gated convolutions: the vertical one sees the rows above, to both sides, the horizontal one what is
    left in the row and, at each layer, the vertical one. Together they see all cells above and before, without a blind
    spot, as far as layers times half a kernel.
    """

    def __init__(self, config: TransformerConfig, spec: PriorSpec) -> None:
        super().__init__(config, spec)
        width = config.width
        self.blocks = nn.ModuleList(_Block(config, residual=index > 0) for index in range(config.layers))
        self.last = nn.Conv2d(width, width, 1)

    def features(self, x: Tensor, condition: Tensor) -> Tensor:
        """See `ConvolutionalPrior.features`."""
        # One stream of twice the width, as a block that may be recomputed or sharded gives one tensor.
        stacks = torch.cat((shifted_down(x), shifted_right(x)), 1)
        again = self.config.gradient_checkpointing and self.training
        for block in self.blocks:
            stacks = checkpointed(block, (stacks, condition), when=again)
        _, horizontal = stacks.chunk(2, 1)
        return self.last(horizontal.relu()).relu()


class _Block(nn.Module):
    """A layer of both stacks (figure 2 of the paper)."""

    def __init__(self, config: TransformerConfig, *, residual: bool) -> None:
        super().__init__()
        width, size = config.width, config.kernel_size
        self.residual = residual  # not in the first layer, whose input is the code before, not a feature
        self.vertical = CausalConv(width, 2 * width, size // 2 + 1, size, centred=True)
        self.horizontal = CausalConv(width, 2 * width, 1, size // 2 + 1)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.condition = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.proj = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(self, stacks: Tensor, condition: Tensor) -> Tensor:
        above, before = stacks.chunk(2, 1)
        to_vertical, to_horizontal = self.condition(condition).chunk(2, 1)
        vertical = self.vertical(above)
        y = self.horizontal(before) + self.across(vertical) + to_horizontal
        y = self.dropout(self.proj(_gated(y)))
        return torch.cat((_gated(vertical + to_vertical), before + y if self.residual else y), 1)


def _gated(x: Tensor) -> Tensor:
    """tanh(a) sigmoid(b) of [B, 2 D, h, w] = [a, b] (equation 2)."""
    a, b = x.chunk(2, 1)
    return F.tanh(a) * F.sigmoid(b)
