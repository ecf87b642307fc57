"""Convolutional encoder and decoder (Esser et al. 2021, table 7), names of submodules as published."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.models.layers import Downsample, Level, Mid, Upsample, group_norm, run_stages

__all__ = ["Decoder", "Encoder"]


def _has_attention(config: TokenizerConfig, level: int) -> bool:
    return config.resolution // 2**level in config.attention_resolutions


def _halving(config: TokenizerConfig, channels: int) -> nn.Module:
    return Downsample(channels) if config.downsample == "conv" else nn.AvgPool2d(2)


def _stages(levels: Iterable[nn.Module]) -> list[nn.Module]:
    """The modules of several levels in the order in which they run."""
    return [stage for level in levels if isinstance(level, Level) for stage in level.stages()]


class Encoder(nn.Module):
    """Images [B, in_channels, H, W] to features [B, z_channels, H/f, W/f]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.channel_multipliers]
        self.checkpoint = config.gradient_checkpointing
        self.unit_pixels = config.pixel_range == "unit"
        self.conv_in = nn.Conv2d(config.in_channels, config.channels, 3, padding=1)
        levels: list[Level] = []
        previous = config.channels
        for index, width in enumerate(widths):
            last = index == len(widths) - 1
            levels.append(
                Level(
                    [previous] + [width] * config.res_blocks,
                    attention=_has_attention(config, index),
                    dropout=config.dropout,
                    resample=None if last else _halving(config, width),
                    name="downsample",
                )
            )
            previous = width
        self.down = nn.ModuleList(levels)
        self.mid = Mid(previous, attention=config.mid_attention, dropout=config.dropout)
        self.norm_out = group_norm(previous)
        self.conv_out = nn.Conv2d(previous, config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images in [-1, 1] to features before the quantizer."""
        if self.unit_pixels:
            # Not the same as other weights of conv_in: it pads with zeros, here black and not gray.
            x = (x + 1) / 2
        stages = _stages(self.down) + self.mid.stages()
        h = run_stages(stages, self.conv_in(x), checkpoint=self.checkpoint)
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Features [B, z_channels, h, w] to images [B, out_channels, h*f, w*f]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.channel_multipliers]
        self.checkpoint = config.gradient_checkpointing
        self.unit_pixels = config.pixel_range == "unit"
        blocks = config.decoder_res_blocks or config.res_blocks + 1
        previous = widths[-1]
        self.conv_in = nn.Conv2d(config.z_channels, previous, 3, padding=1)
        self.mid = Mid(previous, attention=config.mid_attention, dropout=config.dropout)
        levels: list[Level] = []
        for index in reversed(range(len(widths))):
            width = widths[index]
            levels.append(
                Level(
                    [previous] + [width] * blocks,
                    attention=_has_attention(config, index),
                    dropout=config.dropout,
                    resample=Upsample(width) if index else None,
                    name="upsample",
                )
            )
            previous = width
        # Index 0 is the highest resolution, as in the encoder; the decoder runs from last to first.
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = group_norm(previous)
        self.conv_out = nn.Conv2d(previous, config.out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Decode features after the quantizer to images in [-1, 1] or logits."""
        return self.output(run_stages(self.stages(), self.conv_in(z), checkpoint=self.checkpoint))

    def stages(self) -> list[nn.Module]:
        """The modules between the first and the last convolution, in the order in which they run."""
        return self.mid.stages() + _stages(reversed(self.up))

    def output(self, h: Tensor) -> Tensor:
        """What follows the stages: norm, swish, last convolution. [B, C, H, W] -> [B, out_channels, H, W]."""
        x = self.conv_out(F.silu(self.norm_out(h)))
        return x * 2 - 1 if self.unit_pixels else x
