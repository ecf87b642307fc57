"""Writing an enlarged picture with what the file of the small one held, in bounded memory where the format allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.attributes import Attributes, write_with_attributes
from vqgan_cli.core.data.images import OUTPUT_SUFFIXES
from vqgan_cli.core.data.png_stream import write_png_stream
from vqgan_cli.core.upscaling import scratch
from vqgan_cli.core.upscaling.bands import enlarged, row_bands

__all__ = ["too_large", "write_upscaled"]

Picture = npt.NDArray[np.uint8]

_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels of the longest side that the formats hold."""


def too_large(path: Path, height: int, width: int) -> str:
    """Why a format cannot hold a picture of this size; empty if it can."""
    format_ = OUTPUT_SUFFIXES[path.suffix.lower()]
    longest = _LONGEST.get(format_, 2**31 - 1)
    if max(height, width) <= longest:
        return ""
    return f"the result is {height}x{width} (height x width), and {format_} holds {longest} pixels a side at most"


def write_upscaled(
    path: Path, picture: Picture, attributes: Attributes, *, max_in_memory: int | None = None
) -> list[str]:
    """Write a picture, above a size as a stream of bands if it is a PNG; other formats need it in memory once more.

    Args:
        path: png, webp, jpg or jpeg.
        picture: uint8 [H, W, 3].
        attributes: of the small picture; alpha at its size, a whole number of times smaller.
        max_in_memory: bytes above which a PNG is streamed; None: those above which a picture is no longer in memory.

    Returns:
        Names of the attributes that the format cannot hold.

    Raises:
        OutputError: the file cannot be written.
    """
    small = attributes.alpha
    limit = scratch.MAX_IN_MEMORY if max_in_memory is None else max_in_memory
    if picture.nbytes <= limit or OUTPUT_SUFFIXES[path.suffix.lower()] != "PNG":
        alpha = None if small is None else np.concatenate(list(_alpha(small, picture)))
        return write_with_attributes(path, picture, Attributes(alpha, attributes.exif, attributes.icc))
    shape = (picture.shape[0], picture.shape[1], 3 if small is None else 4)
    write_png_stream(path, _bands(picture, small), shape, exif=attributes.exif, icc=attributes.icc)
    return []


def _bands(picture: Picture, alpha: Picture | None) -> Iterator[Picture]:
    if alpha is None:
        for first, last in row_bands(*picture.shape[:2]):
            yield picture[first:last]
        return
    top = 0
    for band in _alpha(alpha, picture):
        yield np.dstack([picture[top : top + len(band)], band])
        top += len(band)


def _alpha(small: Picture, picture: Picture) -> Iterator[Picture]:
    """Bands [n, W] of the enlarged opacity [h, w]."""
    as_colours = np.repeat(small[..., None], 3, axis=2)
    for _, band in enlarged(as_colours, picture.shape[0] // small.shape[0]):
        yield np.ascontiguousarray(band[..., 0])
