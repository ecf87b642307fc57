"""Enlarging and shrinking in bands of rows: the same pixels as of the whole picture, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.maps import enlarge, shrink

__all__ = ["enlarged", "row_bands", "shrunk"]

Picture = npt.NDArray[np.uint8]

_PIXELS = 2**22  # of a band of the large picture
_MARGIN = 4  # small rows on either side; the widest filter reaches over three


def row_bands(height: int, row_pixels: int) -> Iterator[tuple[int, int]]:
    """Rows (first, behind the last) of a picture, a few million pixels at a time.

    Args:
        height: rows in all.
        row_pixels: pixels that belong to each of them.
    """
    count = max(1, _PIXELS // row_pixels)
    for first in range(0, height, count):
        yield first, min(first + count, height)


def enlarged(small: Picture, factor: int) -> Iterator[tuple[int, Picture]]:
    """`enlarge` of a picture uint8 [h, w, 3] by a whole number: the first large row of each band, and the band."""
    height, width = small.shape[:2]
    for first, last in row_bands(height, factor * factor * width):
        above, below = max(0, first - _MARGIN), min(height, last + _MARGIN)
        seen = np.ascontiguousarray(small[above:below])
        band = enlarge(seen, (below - above) * factor, width * factor)
        yield first * factor, band[(first - above) * factor : (last - above) * factor]


def shrunk(large: Picture, factor: int, filter_: str) -> Iterator[tuple[int, Picture]]:
    """`shrink` of a picture uint8 [h * factor, w * factor, 3]: the first small row of each band, and the band."""
    height = large.shape[0] // factor
    for first, last in row_bands(height, factor * large.shape[1]):
        above, below = max(0, first - _MARGIN), min(height, last + _MARGIN)
        seen = np.ascontiguousarray(large[above * factor : below * factor])
        yield first, shrink(seen, factor, filter_)[first - above : last - above]
