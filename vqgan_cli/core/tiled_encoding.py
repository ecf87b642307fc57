"""Encoding pictures of any size in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["encode_tiled"]

_TILE = 1024  # pixels of a tile's side, margins included
_MARGIN = 128

Array = npt.NDArray[Any]
Codes = npt.NDArray[np.int64]


def encode_tiled(array: Array, f: int, encode: Callable[[Array], Codes]) -> Codes:
    """Codes int64 [H / f, W / f] of a picture or a map, encoded whole up to a megapixel, else in tiles with margins.

    Encoding looks at the whole picture by GroupNorm and attention, which were trained on small squares: tiles of
    moderate size are nearer to the training than a very large picture is, and memory stays flat.

    Args:
        array: [H, W, 3] or [H, W], H and W multiples of f.
        f: pixels of image side per code.
        encode: gives the codes of a tile.
    """
    height, width = array.shape[:2]
    if height * width <= _TILE**2:
        return encode(array)
    codes = np.zeros((height // f, width // f), np.int64)
    core = (_TILE - 2 * _MARGIN) // f * f
    margin = -(-_MARGIN // f) * f
    for top in range(0, height, core):
        for left in range(0, width, core):
            above, before = max(0, top - margin), max(0, left - margin)
            tile = array[above : top + core + margin, before : left + core + margin]
            found = encode(np.ascontiguousarray(tile))
            row, column = (top - above) // f, (left - before) // f
            part = codes[top // f : (top + core) // f, left // f : (left + core) // f]
            part[:] = found[row : row + part.shape[0], column : column + part.shape[1]]
    return codes
