"""Decoding grids of any size in bounded memory.

Most of a decoder's memory goes into its last levels; the first ones, with all of the attention, are small. So the
decoder runs on the whole picture for as long as its activations fit. What is left, residual blocks and upsampling,
sees a limited surrounding, but for GroupNorm, whose statistics are those of the whole picture. These are estimated
once, from patches spread evenly over the picture, and are then the same for all tiles. So each tile, with its
surrounding, gives the very pixels that its neighbour would give, and there is nothing to blend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vqgan_cli.core.models.layers import AttentionBlock, ResBlock, Upsample, run_stages
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["MAX_ACTIVATIONS", "decode_tiled"]

MAX_ACTIVATIONS = 2**27
"""Values of the largest activation up to which a decoder runs on the whole: half a gigabyte in float32, of which a few
live at once. The published f16 decoder reaches it at 1024x1024 pixels. It is a constant, because what a model draws
should not depend on how much memory is free."""

_PATCHES = 4  # along each side, from which statistics are taken
_SMALLEST_SIDE = 16  # of a tile without its surrounding, in places where tiles begin


@torch.inference_mode()
def decode_tiled(tokenizer: Tokenizer, codes: Tensor, *, max_activations: int = MAX_ACTIVATIONS) -> Tensor:
    """Images of codes: `Tokenizer.decode`, in tiles where the grid is too large for one pass.

    Args:
        tokenizer: in evaluation mode.
        codes: int64 [B, h, w], each below ``codebook_size``.
        max_activations: values of the largest activation that is held at once.

    Returns:
        As `Tokenizer.decode`: float32 [B, 3, h*f, w*f] in [-1, 1], or class indices of label maps.
    """
    sizes = _activations_per_code(tokenizer)
    image = codes.shape[1] * codes.shape[2] * max(sizes)
    if image <= max_activations:
        return torch.cat([tokenizer.decode(part) for part in codes.split(max_activations // image)])
    return torch.cat([_decode_large(tokenizer, grid[None], sizes, max_activations) for grid in codes])


def _activations_per_code(tokenizer: Tokenizer) -> list[int]:
    """Values per code of the largest activation in each stage of the decoder."""
    channels, area = tokenizer.config.z_channels, 1
    sizes = []
    for stage in tokenizer.decoder.stages():
        if isinstance(stage, Upsample):
            area *= 4
        elif isinstance(stage, ResBlock):
            channels = max(stage.conv1.in_channels, stage.conv1.out_channels)
        sizes.append(channels * area)
    return sizes


def _decode_large(tokenizer: Tokenizer, codes: Tensor, sizes: list[int], max_activations: int) -> Tensor:
    """One image, [1, h, w]."""
    decoder = tokenizer.decoder
    stages = decoder.stages()
    # All of the attention, and then every resolution that fits.
    split = 1 + max((i for i, stage in enumerate(stages) if isinstance(stage, AttentionBlock)), default=-1)
    while split < len(stages) and not (
        isinstance(stages[split], Upsample) and codes.numel() * sizes[split] > max_activations
    ):
        split += 1
    hidden = decoder.conv_in(tokenizer.post_quant_conv(tokenizer.quantizer.decode(codes)))
    hidden = run_stages(stages[:split], hidden, checkpoint=False)  # [1, C, H, W]
    rest = stages[split:]

    def finish(x: Tensor) -> Tensor:
        return decoder.output(run_stages(rest, x, checkpoint=False)).float()

    per_place = max(sizes[split:], default=1) * codes.numel() / hidden[0, 0].numel()
    places = max_activations / per_place
    surrounding = _surrounding(rest)
    side = max(_SMALLEST_SIDE, math.isqrt(int(places)) - 2 * surrounding)
    norms = [m for stage in (*rest, decoder.norm_out) for m in stage.modules() if isinstance(m, nn.GroupNorm)]
    statistics = _statistics(finish, norms, hidden, math.isqrt(int(places)) // _PATCHES, surrounding)
    with _normalising(norms, lambda norm, x: _normalised(norm, x, *statistics[norm])):
        return tokenizer.pixels(_in_tiles(finish, hidden, side, surrounding))


def _surrounding(stages: list[nn.Module]) -> int:
    """How far convolutions look beyond a tile, in places where the stages begin."""
    reach, scale = 0.0, 1
    for stage in stages:
        if isinstance(stage, Upsample):
            scale *= 2
        reach += (2 if isinstance(stage, ResBlock) else 1) / scale
    return math.ceil(reach + 1 / scale)


def _statistics(
    finish: Callable[[Tensor], Tensor], norms: list[nn.GroupNorm], hidden: Tensor, side: int, surrounding: int
) -> dict[nn.Module, tuple[Tensor, Tensor]]:
    """Mean and variance [groups] at each norm, over patches that run as one batch and share them on their way.

    The outermost places of a patch, which suffer from what it does not see, do not count.
    """
    height, width = hidden.shape[-2:]
    side = min(max(side, 3 * surrounding), height, width)
    margin = min(surrounding, side // 3)
    tops, lefts = (
        [round((length - side) * (index + 0.5) / _PATCHES) for index in range(_PATCHES)]
        for length in (height, width)
    )
    patches = [
        hidden[:, :, top : top + side, left : left + side] for top, left in itertools.product(tops, lefts)
    ]
    found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def measure(norm: nn.GroupNorm, x: Tensor) -> Tensor:
        cut = margin * x.shape[-1] // side
        inner = x[:, :, cut : x.shape[2] - cut, cut : x.shape[3] - cut].float()
        variance, mean = torch.var_mean(inner.unflatten(1, (norm.num_groups, -1)), (0, 2, 3, 4), correction=0)
        found[norm] = mean, variance
        return _normalised(norm, x, mean, variance)

    with _normalising(norms, measure):
        finish(torch.cat(patches))
    return found


def _normalised(norm: nn.GroupNorm, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """GroupNorm of [B, C, H, W] by given statistics [groups]."""
    per_group = norm.num_channels // norm.num_groups
    scale = norm.weight * (variance + norm.eps).rsqrt().repeat_interleave(per_group)
    shift = norm.bias - mean.repeat_interleave(per_group) * scale
    return torch.addcmul(shift[:, None, None], x.float(), scale[:, None, None])


@contextmanager
def _normalising(
    norms: list[nn.GroupNorm], function: Callable[[nn.GroupNorm, Tensor], Tensor]
) -> Iterator[None]:
    """Let a function of the norm and its input replace what norms give."""
    handles = [norm.register_forward_hook(lambda norm, args, _: function(norm, args[0])) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_tiles(finish: Callable[[Tensor], Tensor], hidden: Tensor, side: int, surrounding: int) -> Tensor:
    """``finish`` of [1, C, H, W] by squares of at most ``side``, each seen with its surrounding."""
    height, width = hidden.shape[-2:]
    rows = []
    for top, bottom in _spans(height, side):
        row = []
        for left, right in _spans(width, side):
            above, before = max(0, top - surrounding), max(0, left - surrounding)
            seen = hidden[:, :, above : bottom + surrounding, before : right + surrounding]
            pixels = finish(seen)
            scale = pixels.shape[-1] // seen.shape[-1]
            row.append(
                pixels[
                    :,
                    :,
                    (top - above) * scale : (bottom - above) * scale,
                    (left - before) * scale : (right - before) * scale,
                ].clone()  # a view would keep the surrounding alive
            )
        rows.append(torch.cat(row, 3))
    return torch.cat(rows, 2)


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """A length in equal parts of at most ``side``: (first, behind the last)."""
    parts = math.ceil(length / side)
    borders = [round(index * length / parts) for index in range(parts + 1)]
    return list(itertools.pairwise(borders))
