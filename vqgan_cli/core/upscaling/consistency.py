"""Whether a large picture, made small again, is the picture that it came from; and making it so.

A sampled picture invents its details, and may shift what was given as well. Back-projection (Irani and Peleg 1991) adds
to it, again and again, the enlarged difference between the given picture and its own small version: low frequencies
become those of the given picture, invented details stay.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.maps import enlarge, shrink

__all__ = ["back_projected", "consistency"]

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
    difference = shrink(large, factor, filter_).astype(np.float64) - small
    error = float(np.square(difference).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def back_projected(large: Picture, small: Picture, factor: int, filter_: str) -> Picture:
    """The large picture, changed so that its small version is the small picture; arguments as of `consistency`."""
    result = large
    for _ in range(_ROUNDS):
        if consistency(result, small, factor, filter_) >= _ENOUGH:
            break
        # Pillow filters 8 bits without sign: what is missing and what is too much are enlarged apart.
        difference = small.astype(np.int16) - shrink(result, factor, filter_)
        height, width = result.shape[:2]
        raised = enlarge(_packed(difference.clip(0, 255)), height, width).astype(np.int16)
        lowered = enlarge(_packed((-difference).clip(0, 255)), height, width).astype(np.int16)
        result = _packed((result.astype(np.int16) + raised - lowered).clip(0, 255))
    return result


def _packed(values: npt.NDArray[np.int16]) -> Picture:
    return values.astype(np.uint8)
