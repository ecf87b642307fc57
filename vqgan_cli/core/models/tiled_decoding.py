"""Decoding grids of any size in bounded memory, and in time that grows with their area.

Most of a decoder's memory goes into its last levels; the first ones, with all of the attention, are small. So its first
half runs on the whole picture for as long as its activations fit, and the second in tiles. Residual blocks and
upsampling see a limited surrounding, but for GroupNorm, whose statistics are those of the whole picture. These are
estimated once, from patches spread evenly over the picture, and are then the same for all tiles. So each tile, with its
surrounding, gives the very pixels that its neighbour would give, and there is nothing to blend.

The work of attention grows with the square of the cells, and what the first half gives with the cells. So beyond a
number of cells the first half runs in regions too, with statistics from patches and a surrounding of its own; attention
then looks at the region and its surrounding alone. Neighbouring regions differ slightly by what their attention saw:
they overlap, and the one fades into the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from vqgan_cli.core.models.layers import AttentionBlock, ResBlock, Upsample, run_stages
from vqgan_cli.core.models.shared_norms import (
    PATCHES,
    Statistics,
    group_norms,
    patches_of,
    statistics_of,
    with_statistics,
)
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["MAX_ACTIVATIONS", "MAX_CELLS", "Tile", "decode_in_tiles", "decode_tiled"]

T = TypeVar("T")

MAX_ACTIVATIONS = 2**27
"""Values of the largest activation up to which a decoder runs on the whole: half a gigabyte in float32, of which a few
live at once. The published f16 decoder reaches it at 1024x1024 pixels. It is a constant, because what a model draws
should not depend on how much memory is free."""

MAX_CELLS = 2**16
"""Places up to which attention looks at the whole picture: 4096x4096 pixels at f16. There the four attention blocks of
the published f16 decoder take half as much work as all of its convolutions; at four times as many they would take twice
as much. Beyond, a region with its surrounding has a quarter as many, at which they take an eighth."""

_SMALLEST_SIDE = 16  # of a tile without its surrounding, in places where tiles begin
_FADE = 4  # cells by which a region reaches over its border, and its neighbour into it


class Tile(NamedTuple):
    """A finished part of an image: its upper left pixel, and what `Tokenizer.decode` gives, [1, (3,) h, w]."""

    top: int
    left: int
    pixels: Tensor


@torch.inference_mode()
def decode_tiled(
    tokenizer: Tokenizer,
    codes: Tensor,
    *,
    max_activations: int = MAX_ACTIVATIONS,
    max_cells: int = MAX_CELLS,
    meanwhile: Callable[[], None] = lambda: None,
) -> Tensor:
    """Images of codes: `Tokenizer.decode`, in tiles where the grid is too large for one pass.

    Args:
        tokenizer: in evaluation mode.
        codes: int64 [B, h, w], each below ``codebook_size``.
        max_activations: values of the largest activation that is held at once.
        max_cells: places up to which attention looks at the whole picture.
        meanwhile: called for each tile, or part of the batch; may raise to give up.

    Returns:
        As `Tokenizer.decode`: float32 [B, 3, h*f, w*f] in [-1, 1], or class indices of label maps.
    """
    decoder = _Decoder(tokenizer, codes.shape[1] * codes.shape[2], max_activations, max_cells)
    if decoder.fits:
        parts = _watched(codes.split(max_activations // decoder.largest), meanwhile)
        return torch.cat([tokenizer.decode(part) for part in parts])
    height, width = (side * tokenizer.downsampling for side in codes.shape[1:])
    return torch.cat(
        [_assembled(_watched(decoder.tiles(grid[None]), meanwhile), height, width) for grid in codes]
    )


@torch.inference_mode()
def decode_in_tiles(
    tokenizer: Tokenizer,
    codes: Tensor,
    *,
    max_activations: int = MAX_ACTIVATIONS,
    max_cells: int = MAX_CELLS,
) -> Iterator[Tile]:
    """One image of `decode_tiled` in its parts, each pixel in one of them, so that nobody has to hold it whole.

    Args:
        tokenizer: in evaluation mode.
        codes: int64 [1, h, w].
        max_activations: as of `decode_tiled`.
        max_cells: as of `decode_tiled`.
    """
    decoder = _Decoder(tokenizer, codes.numel(), max_activations, max_cells)
    if decoder.fits:
        yield Tile(0, 0, tokenizer.decode(codes))
    else:
        yield from decoder.tiles(codes)


class _Decoder:
    """A decoder in two halves, for grids of a number of cells: the first has all of the attention."""

    def __init__(self, tokenizer: Tokenizer, cells: int, max_activations: int, max_cells: int) -> None:
        self._tokenizer = tokenizer
        self._decoder = tokenizer.decoder
        stages = self._decoder.stages()
        sizes, areas = _per_cell(tokenizer)
        attention = [i for i, stage in enumerate(stages) if isinstance(stage, AttentionBlock)]
        # Places of the finest attention per cell; without any, it is the first half's memory that grows with cells.
        area = areas[attention[-1]] if attention else 1
        self.largest = cells * max(sizes)
        self._regions = cells * area > max_cells
        self.fits = self.largest <= max_activations and not self._regions
        seen = max_cells // area // 4  # cells of a region with its surrounding
        # All of the attention, and then every resolution that fits.
        split = 1 + max(attention, default=-1)
        at_once = seen if self._regions else cells
        while split < len(stages) and not (
            isinstance(stages[split], Upsample) and at_once * sizes[split] > max_activations
        ):
            split += 1
        self._first, self._second = stages[:split], stages[split:]
        self._scale = math.isqrt(areas[split - 1]) if split else 1  # places per cell between the halves
        self._reach = math.ceil(1 + _reach(self._first))  # cells that the first half looks beyond its output
        self._surrounding = math.ceil(_reach(self._second, 1))  # places that the second half does
        per_place = max(sizes[split:], default=1) / self._scale**2
        self._places = max_activations / per_place  # of the second half at once
        self._patch_cells = min(max_activations // max(sizes[:split], default=1), max_cells // area)
        self._margin = self._reach + math.ceil(self._surrounding / self._scale) + _FADE
        self._side = max(_SMALLEST_SIDE, math.isqrt(seen) - 2 * self._margin)

    def tiles(self, codes: Tensor) -> Iterator[Tile]:
        """The image of codes [1, h, w] in parts."""
        if self._regions:
            yield from self._by_regions(codes)
            return
        hidden = self._begin(codes)
        side = min(max(self._patch_side(), 3 * self._surrounding), *hidden.shape[-2:])
        statistics = self._second_statistics(patches_of(hidden, side))
        for top, left, output in self._finish_in_tiles(hidden, statistics, (0, 0, *hidden.shape[-2:])):
            yield Tile(top, left, self._tokenizer.pixels(output))

    def _begin(self, codes: Tensor) -> Tensor:
        """The first half: codes [B, h, w] to [B, C, H, W]."""
        vectors = self._tokenizer.post_quant_conv(self._tokenizer.quantizer.decode(codes))
        return run_stages(self._first, self._decoder.conv_in(vectors), checkpoint=False)

    def _finish(self, hidden: Tensor) -> Tensor:
        """The second half: [B, C, H, W] to the decoder's output."""
        return self._decoder.output(run_stages(self._second, hidden, checkpoint=False)).float()

    def _patch_side(self) -> int:
        return math.isqrt(int(self._places)) // PATCHES

    def _second_statistics(self, patches: Tensor) -> Statistics:
        norms = group_norms([*self._second, self._decoder.norm_out])
        margin = min(self._surrounding, patches.shape[-1] // 3)
        return statistics_of(norms, self._finish, patches, margin)[0]

    def _finish_in_tiles(
        self, hidden: Tensor, statistics: Statistics, box: tuple[int, int, int, int]
    ) -> Iterator[Tile]:
        """The second half's output for a box (top, left, bottom, right) of [1, C, H, W], from the box's corner on."""
        side = max(_SMALLEST_SIDE, math.isqrt(int(self._places)) - 2 * self._surrounding)
        rows, columns = (
            [(first + begin, first + end) for begin, end in _spans(last - first, side)]
            for first, last in ((box[0], box[2]), (box[1], box[3]))
        )
        for (top, bottom), (left, right) in itertools.product(rows, columns):
            above, before = max(0, top - self._surrounding), max(0, left - self._surrounding)
            seen = hidden[:, :, above : bottom + self._surrounding, before : right + self._surrounding]
            with with_statistics(statistics):
                output = self._finish(seen)
            scale = output.shape[-1] // seen.shape[-1]
            inner = output[
                :,
                :,
                (top - above) * scale : (bottom - above) * scale,
                (left - before) * scale : (right - before) * scale,
            ]
            yield Tile((top - box[0]) * scale, (left - box[1]) * scale, inner)

    def _by_regions(self, codes: Tensor) -> Iterator[Tile]:
        """Both halves region by region, in rows from the top; what overlaps waits until its neighbour is there."""
        height, width = codes.shape[1:]
        f = self._tokenizer.downsampling
        statistics = self._all_statistics(codes)
        fade = 2 * _FADE * f  # pixels that two neighbours share
        ramp = (torch.arange(fade, device=codes.device) + 0.5) / fade
        above: Tensor | None = None  # the last pixels of the row of regions before, [1, C, fade, W]
        for top, bottom in _spans(height, self._side):
            below: Tensor | None = None
            beside: Tensor | None = None
            for left, right in _spans(width, self._side):
                box = (
                    max(0, top - _FADE),
                    max(0, left - _FADE),
                    min(height, bottom + _FADE),
                    min(width, right + _FADE),
                )
                part = self._region(codes, box, statistics)
                if beside is not None:
                    part[..., :fade] = torch.lerp(beside, part[..., :fade], ramp)
                if right < width:
                    part, beside = part[..., :-fade], part[..., -fade:].clone()
                columns = slice(box[1] * f, box[1] * f + part.shape[3])
                if above is not None:
                    part[:, :, :fade] = torch.lerp(above[..., columns], part[:, :, :fade], ramp[:, None])
                if bottom < height:
                    if below is None:
                        below = part.new_empty([*part.shape[:2], fade, width * f])
                    below[..., columns] = part[:, :, -fade:]
                    part = part[:, :, :-fade]
                yield Tile(box[0] * f, box[1] * f, self._tokenizer.pixels(part))
            above = below

    def _region(self, codes: Tensor, box: tuple[int, int, int, int], statistics: Statistics) -> Tensor:
        """The decoder's output [1, C, H, W] for a box of cells."""
        around = self._margin - _FADE
        above, before = max(0, box[0] - around), max(0, box[1] - around)
        with with_statistics(statistics):
            hidden = self._begin(codes[:, above : box[2] + around, before : box[3] + around])
        top, left, bottom, right = (
            (edge - origin) * self._scale for edge, origin in zip(box, (above, before) * 2, strict=True)
        )
        f = self._tokenizer.downsampling
        return _assembled(
            self._finish_in_tiles(hidden, statistics, (top, left, bottom, right)),
            (box[2] - box[0]) * f,
            (box[3] - box[1]) * f,
        )

    def _all_statistics(self, codes: Tensor) -> Statistics:
        """Of both halves, from patches of codes."""
        side = min(max(math.isqrt(self._patch_cells) // PATCHES, 3 * self._reach), *codes.shape[1:])
        norms = group_norms(self._first)
        margin = min(self._reach, side // 3)
        first, hidden = statistics_of(norms, self._begin, patches_of(codes, side), margin)
        # Of what they gave, the middle, as large as the second half can take.
        inner = (side - 2 * margin) * self._scale
        side = min(max(self._patch_side(), 3 * self._surrounding), inner)
        cut = (hidden.shape[-1] - side) // 2
        middle = hidden[..., cut : cut + side, cut : cut + side]
        return first | self._second_statistics(middle)


def _watched(parts: Iterable[T], meanwhile: Callable[[], None]) -> Iterator[T]:
    for part in parts:
        meanwhile()
        yield part


def _assembled(tiles: Iterator[Tile], height: int, width: int) -> Tensor:
    whole: Tensor | None = None
    for top, left, pixels in tiles:
        if whole is None:
            whole = pixels.new_empty([*pixels.shape[:-2], height, width])
        whole[..., top : top + pixels.shape[-2], left : left + pixels.shape[-1]] = pixels
    assert whole is not None
    return whole


def _per_cell(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Of each stage of the decoder, per cell: values of its largest activation, and places of its output."""
    channels, area = tokenizer.config.z_channels, 1
    sizes, areas = [], []
    for stage in tokenizer.decoder.stages():
        if isinstance(stage, Upsample):
            area *= 4
        elif isinstance(stage, ResBlock):
            channels = max(stage.conv1.in_channels, stage.conv1.out_channels)
        sizes.append(channels * area)
        areas.append(area)
    return sizes, areas


def _reach(stages: list[nn.Module], last: int = 0) -> float:
    """How far convolutions look beyond their output, in places where the stages begin.

    Args:
        stages: residual blocks of two convolutions, upsampling of one.
        last: convolutions behind them.
    """
    reach, scale = 0.0, 1
    for stage in stages:
        if isinstance(stage, Upsample):
            scale *= 2
        reach += (2 if isinstance(stage, ResBlock) else 1) / scale
    return reach + last / scale


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """A length in equal parts of at most ``side``: (first, behind the last)."""
    parts = math.ceil(length / side)
    borders = [round(index * length / parts) for index in range(parts + 1)]
    return list(itertools.pairwise(borders))
