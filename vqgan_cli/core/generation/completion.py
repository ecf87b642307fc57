"""Which part of a photo is kept: masks in pixels and cells, and the seam between kept and drawn pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.images import read_image
from vqgan_cli.core.data.transforms import resize
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import sequence_order

__all__ = ["blend", "drawn_cells", "known_cells", "parse_known", "visible_share"]

Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]

_FORMS = (
    "top:0.5, bottom:0.5, left:0.3, right:0.3, box:T,L,B,R, outside:T,L,B,R, or a mask image (white: known)"
)
_STREAM = 0x5EED  # keeps these random numbers apart from those that draw codes


def parse_known(text: str, height: int, width: int) -> Mask:
    """The pixels of a photo that are known, bool [H, W].

    Args:
        text: ``top:0.5`` and likewise ``bottom``, ``left``, ``right`` (shares of the side); ``box:T,L,B,R`` (known
            inside) or ``outside:T,L,B,R`` (known outside), in pixels, or in shares if all are 1 or less; else the path
            of a mask image, known where it is brighter than middle gray, resized to the photo.
        height: pixels.
        width: pixels.

    Raises:
        UsageError: it is none of these, or leaves nothing known or nothing to draw.
        ImageError: the mask cannot be read.
    """
    name, _, values = text.partition(":")
    known: Mask = np.zeros((height, width), np.bool_)
    if name in ("top", "bottom", "left", "right"):
        share = _numbers(text, values, 1)[0]
        if not 0 < share < 1:
            raise UsageError(f"known part {text!r}: the share must lie between 0 and 1", hint=_FORMS)
        rows, columns = round(share * height), round(share * width)
        part = {
            "top": (slice(0, rows), slice(None)),
            "bottom": (slice(height - rows, height), slice(None)),
            "left": (slice(None), slice(0, columns)),
            "right": (slice(None), slice(width - columns, width)),
        }[name]
        known[part] = True
    elif name in ("box", "outside"):
        top, left, bottom, right = _numbers(text, values, 4)
        if max(top, left, bottom, right) <= 1:
            top, bottom, left, right = top * height, bottom * height, left * width, right * width
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise UsageError(
                f"known part {text!r}: top, left, bottom, right must lie in this order inside {height}x{width} "
                "(height x width) pixels",
                hint=_FORMS,
            )
        known[round(top) : round(bottom), round(left) : round(right)] = True
        if name == "outside":
            known ^= True
    elif _is_file(text):
        mask = read_image(text, background=(0, 0, 0)).mean(axis=2) > 127.5
        known = resize(mask, height, width)
    else:
        raise UsageError(f"known part {text!r}: no such form, and no such file", hint=_FORMS)
    if known.all() or not known.any():
        left_over = "draw" if known.all() else "keep"
        raise UsageError(
            f"known part {text!r} leaves nothing to {left_over} of {height}x{width} pixels", hint=_FORMS
        )
    return known


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # no file can have such a name
        return False


def known_cells(mask: Mask, f: int) -> Mask:
    """Cells of which every pixel is known, bool [H / f, W / f].

    Args:
        mask: bool [H, W], H and W multiples of f.
        f: pixels of image side per cell.
    """
    height, width = mask.shape
    return np.asarray(mask.reshape(height // f, f, width // f, f).all(axis=(1, 3)), np.bool_)


def drawn_cells(shape: tuple[int, ...], strength: float, seed: int, image: int) -> Mask:
    """Cells that are drawn anew, each with probability ``strength``; those of a lower strength are among them.

    Args:
        shape: (h, w).
        strength: 0 to 1.
        seed: with the number of the image it decides.
        image: number of the image.
    """
    numbers = np.random.Generator(np.random.Philox(key=[seed, image], counter=[0, 0, 0, _STREAM]))
    return numbers.random(shape) < strength


def blend(original: Picture, drawn: Picture, mask: Mask, seam: int) -> Picture:
    """Known pixels of the original, drawn pixels elsewhere, and a soft passage on the known side.

    Args:
        original: uint8 [H, W, 3].
        drawn: uint8 [H, W, 3].
        mask: bool [H, W], known pixels.
        seam: pixels over which a known region passes, by half a cosine wave, from drawn to original.
    """
    distance = _distance_to(~mask, seam + 1)
    share = (1 - np.cos(np.pi * (distance / (seam + 1)).clip(0, 1))) / 2  # of the original
    mixed = drawn + share[..., None] * (original.astype(np.float64) - drawn)
    return np.rint(mixed).astype(np.uint8)


def visible_share(order: str, known: Mask) -> float:
    """Share of the known cells [h, w] that come before the first one to be drawn, in a sequence order."""
    sequence = known.reshape(-1)[sequence_order(order, *known.shape)]
    if sequence.all() or not sequence.any():
        return float(sequence.all())
    return float(sequence.argmin() / sequence.sum())


def _numbers(text: str, values: str, count: int) -> list[float]:
    parts = values.split(",")
    if len(parts) != count or not all(re.fullmatch(r"\s*\d*\.?\d+\s*", part) for part in parts):
        noun = "one number" if count == 1 else f"{count} numbers"
        raise UsageError(f"known part {text!r}: expected {noun} after the colon", hint=_FORMS)
    return [float(part) for part in parts]


def _distance_to(region: Mask, limit: int) -> npt.NDArray[np.float64]:
    """Distance in pixels of each pixel to the nearest one of a region, at most ``limit``."""
    # The nearest pixel of the region in each row first, then the best over the rows within the limit.
    far = float(limit)
    along = np.where(region, 0.0, far)
    for step in range(1, limit + 1):
        along[:, step:][region[:, :-step]] = np.minimum(along[:, step:], step)[region[:, :-step]]
        along[:, :-step][region[:, step:]] = np.minimum(along[:, :-step], step)[region[:, step:]]
    nearest = along.copy()
    for step in range(1, limit + 1):
        shifted = np.hypot(along, step)
        nearest[step:] = np.minimum(nearest[step:], shifted[:-step])
        nearest[:-step] = np.minimum(nearest[:-step], shifted[step:])
    return np.minimum(nearest, far)
