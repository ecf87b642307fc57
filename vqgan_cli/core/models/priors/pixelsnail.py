"""PixelSNAIL (Chen et al. 2017, An Improved Autoregressive Generative Model) over codes."""

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

__all__ = ["PixelSNAIL"]


class PixelSNAIL(ConvolutionalPrior):
    """Gated residual causal convolutions, which see what is near, between causal attention to all cells before.

    As published but for three things: keys, values and queries are linear in what they are made of, without a residual
    layer before; there are ``config.heads`` heads; and weights are not normalised.
    """

    def __init__(self, config: TransformerConfig, spec: PriorSpec) -> None:
        super().__init__(config, spec)
        width, size = config.width, config.kernel_size
        self.above = CausalConv(width, width, size // 2 + 1, size, centred=True)
        self.before = CausalConv(width, width, 1, size // 2 + 1)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))

    def features(self, x: Tensor, condition: Tensor) -> Tensor:
        """See `ConvolutionalPrior.features`."""
        y = shifted_down(self.above(x)) + shifted_right(self.before(x))
        places = self._places(x)
        again = self.config.gradient_checkpointing and self.training
        for block in self.blocks:
            y = checkpointed(block, (y, x, places, condition), when=again)
        return F.elu(y)

    def _places(self, x: Tensor) -> Tensor:
        """Row and column of each cell, -0.5 to 0.5 over the grid, [B, 2, rows, w]."""
        down, right = (
            torch.arange(cells, device=x.device, dtype=x.dtype)[: x.shape[2 + axis]] / cells - 0.5
            for axis, cells in enumerate(self.spec.grid)
        )
        return torch.stack(torch.meshgrid(down, right, indexing="ij")).expand(len(x), -1, -1, -1)


class _Block(nn.Module):
    """Convolutions, then attention, which is merged into what they gave."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, size = config.width, config.kernel_size // 2 + 1
        self.convs = nn.ModuleList(_GatedResidual(config, size) for _ in range(config.block_convolutions))
        self.attention = _Attention(config)
        self.merge = _GatedResidual(config, 1, aside=width)

    def forward(self, y: Tensor, x: Tensor, places: Tensor, condition: Tensor) -> Tensor:
        for conv in self.convs:
            y = conv(y, condition)
        return self.merge(y, condition, self.attention(y, x, places))


class _GatedResidual(nn.Module):
    """x + a sigmoid(b), where [a, b] are two convolutions of x, the second one zero at the start.

    Args:
        config: of the prior.
        size: side of the kernels, which reach up and to the left.
        aside: channels of a second input; 0: there is none.
    """

    def __init__(self, config: TransformerConfig, size: int, aside: int = 0) -> None:
        super().__init__()
        width = config.width
        self.first = CausalConv(width, width, size, size)
        self.aside = nn.Conv2d(aside, width, 1) if aside else None
        self.condition = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.second = CausalConv(width, 2 * width, size, size)
        self.dropout = nn.Dropout(config.residual_dropout)
        for weight in (self.second.conv.weight, self.second.conv.bias, self.condition.weight):
            assert weight is not None
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, condition: Tensor, aside: Tensor | None = None) -> Tensor:
        y = self.first(F.elu(x))
        if self.aside is not None and aside is not None:
            y = y + self.aside(F.elu(aside))
        a, b = (self.second(self.dropout(F.elu(y))) + self.condition(condition)).chunk(2, 1)
        return x + a * F.sigmoid(b)


class _Attention(nn.Module):
    """From each cell to all cells before it, whose codes are among what keys and values are made of."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.query = nn.Conv2d(width + 2, width, 1)
        self.key_value = nn.Conv2d(2 * width + 2, 2 * width, 1)

    def forward(self, y: Tensor, x: Tensor, places: Tensor) -> Tensor:
        query = self._split(self.query(torch.cat((y, places), 1)), 1)[0]
        key, value = self._split(self.key_value(torch.cat((y, x, places), 1)), 2)
        # A cell must not see its own code: each sees the ones before it, the first an empty one.
        key, value = (F.pad(each, (0, 0, 1, 0))[:, :, :-1] for each in (key, value))
        dropout = self.dropout if self.training else 0.0
        z = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return z.transpose(2, 3).reshape(y.shape)

    def _split(self, x: Tensor, parts: int) -> Tensor:
        """[B, parts * D, rows, w] as [parts, B, heads, cells, D / heads]."""
        return x.flatten(2).unflatten(1, (parts, self.heads, -1)).permute(1, 0, 2, 4, 3)
