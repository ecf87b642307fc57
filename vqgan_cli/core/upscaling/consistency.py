"""Whether a large picture, made small again, is the picture that it came from; and making it so.

A sampled picture invents its details, and may shift what was given as well. Back-projection (Irani and Peleg 1991) adds
to it, again and again, the enlarged difference between the given picture and its own small version: low frequencies
become those of the given picture, invented details stay. All of it goes band by band, as the picture may be on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.upscaling.bands import enlarged, shrunk
from vqgan_cli.core.upscaling.scratch import Scratch

__all__ = ["back_project", "consistency"]

Picture = npt.NDArray[np.uint8]

_ROUNDS = 20
_ENOUGH = 48.0  # dB, where rounding to 8 bits becomes the larger part of the error


def consistency(large: Picture, small: Picture, factor: int, filter_: str) -> float:
    """PSNR in dB of the large picture's small version against the small picture; infinite where they are equal.

    Args:
        large: uint8 [h * factor, w * factor, 3].
        small: uint8 [h, w, 3].
        factor: of the sizes.
        filter_: ``bicubic``, ``lanczos`` or ``box``, which makes the small version.
    """
    error = 0
    for first, band in shrunk(large, factor, filter_):
        difference = band.astype(np.int64) - small[first : first + len(band)]
        error += int(np.square(difference).sum())
    return math.inf if error == 0 else 10 * math.log10(255**2 * small.size / error)


def back_project(
    large: Picture,
    small: Picture,
    factor: int,
    filter_: str,
    scratch: Scratch,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Change the large picture in place, so that its small version is the small picture.

    Args:
        large: as of `consistency`.
        small: as of `consistency`.
        factor: as of `consistency`.
        filter_: as of `consistency`.
        scratch: room for two pictures of the size of ``small``.
        meanwhile: called for each band; may raise to give up.
    """
    # Pillow filters 8 bits without sign: what is missing and what is too much are enlarged apart.
    missing, surplus = (scratch.picture(*small.shape[:2]) for _ in range(2))
    for _ in range(_ROUNDS):
        if consistency(large, small, factor, filter_) >= _ENOUGH:
            return
        for first, band in shrunk(large, factor, filter_):
            meanwhile()
            rows = slice(first, first + len(band))
            difference = small[rows].astype(np.int16) - band
            missing[rows] = difference.clip(0, 255)
            surplus[rows] = (-difference).clip(0, 255)
        for (top, raised), (_, lowered) in zip(
            enlarged(missing, factor), enlarged(surplus, factor), strict=True
        ):
            meanwhile()
            rows = slice(top, top + len(raised))
            large[rows] = (large[rows].astype(np.int16) + raised - lowered).clip(0, 255)
