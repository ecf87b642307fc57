"""Blocks of the encoder and decoder: residual block, attention, down- and upsampling (Esser et al. 2021, A.7)."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn

__all__ = [
    "AttentionBlock",
    "Downsample",
    "Level",
    "Mid",
    "ResBlock",
    "Upsample",
    "group_norm",
    "run_stages",
    "use_channels_last",
]


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with the published 32 groups and eps 1e-6."""
    return nn.GroupNorm(num_groups=32, num_channels=channels, eps=1e-6)


class ResBlock(nn.Module):
    """Two times (norm, swish, 3x3 convolution), added to the input. [B, C_in, H, W] -> [B, C_out, H, W]."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class AttentionBlock(nn.Module):
    """Single-head self-attention over all cells, added to the input. [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        height, width = x.shape[-2:]
        h = self.norm(x)
        q, k, v = (
            layer(h).flatten(2).transpose(1, 2).unsqueeze(1) for layer in (self.q, self.k, self.v)
        )  # [B, 1, HW, C]
        h = F.scaled_dot_product_attention(q, k, v)
        h = h.squeeze(1).transpose(1, 2).unflatten(2, (height, width))
        return x + self.proj_out(h)


class Downsample(nn.Module):
    """Half the size: zeros on the right and below, then a 3x3 convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H/2, W/2]."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size: nearest neighbours, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, 2H, 2W]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The blocks of one resolution, each followed by its attention, then the change of resolution."""

    def __init__(
        self, channels: list[int], *, attention: bool, dropout: float, resample: nn.Module | None, name: str
    ) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(channels))
        self.block = nn.ModuleList(ResBlock(a, b, dropout) for a, b in pairs)
        self.attn = nn.ModuleList(AttentionBlock(b) for _, b in pairs if attention)
        self._resample_name = name
        if resample is not None:
            self.add_module(name, resample)

    def stages(self) -> list[nn.Module]:
        """The modules in the order in which they run."""
        order: list[nn.Module] = []
        for index, block in enumerate(self.block):
            order.append(block)
            if len(self.attn):
                order.append(self.attn[index])
        if self._resample_name in self._modules:
            order.append(self.get_submodule(self._resample_name))
        return order


class Mid(nn.Module):
    """The bottom: block, attention, block."""

    def __init__(self, channels: int, *, attention: bool, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResBlock(channels, channels, dropout)
        self.attn_1 = AttentionBlock(channels) if attention else None
        self.block_2 = ResBlock(channels, channels, dropout)

    def stages(self) -> list[nn.Module]:
        """The modules in the order in which they run."""
        return [m for m in (self.block_1, self.attn_1, self.block_2) if m is not None]


def use_channels_last(module: nn.Module) -> None:
    """Lay out the weights of all 2-D convolutions with channels last, which most kernels prefer; values stay."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def run_stages(stages: list[nn.Module], x: Tensor, *, checkpoint: bool) -> Tensor:
    """Run modules one after the other, recomputing each in the backward pass if asked to."""
    for stage in stages:
        if checkpoint and torch.is_grad_enabled():
            x = torch.utils.checkpoint.checkpoint(stage, x, use_reentrant=False)
        else:
            x = stage(x)
    return x
