"""What Pillow decodes, as upright 8-bit RGB: orientation, alpha, and gray with more or fewer bits than 8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["gray_spread", "orientation", "to_rgb", "upright"]

UInt8 = npt.NDArray[np.uint8]

_TIFF_BITS = 258


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Metadata of any brokenness; viewers show such pictures as they are stored.
        return 1
    return value if value in range(1, 9) else 1


def upright(values: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Undo an EXIF orientation (1-8) of an array whose first two axes are the stored rows and columns."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return np.require(values, requirements=["C", "W"])  # what Pillow lends is read-only


def gray_spread(image: Image.Image) -> int:
    """What Pillow multiplies gray of 2 or 4 bits by, to spread it over 0-255; ask before loading."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return 1
    rawmode = image.tile[0][3]
    if isinstance(rawmode, tuple):
        rawmode = rawmode[0]
    return {"L;2": 85, "L;4": 17}.get(str(rawmode), 1)


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> UInt8:
    """A loaded image of any mode as uint8 ``[H, W, 3]``, transparent pixels composited over the background.

    Raises:
        ValueError: gray samples without a known scale.
    """
    transparent = image.info.get("transparency")
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        colour = Image.fromarray(_scaled_gray(values, _full_scale(image, values))).convert("RGB")
        if not isinstance(transparent, int):
            return np.asarray(colour)
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    elif transparent is None and image.mode not in ("LA", "La", "PA", "RGBA", "RGBa"):
        return np.asarray(image.convert("RGB"))
    else:
        rgba = image.convert("RGBA")
        colour, alpha = rgba.convert("RGB"), rgba.getchannel("A")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(colour, mask=alpha)  # alpha in 255ths, rounded to the nearest
    return np.asarray(canvas)


def _full_scale(image: Image.Image, values: npt.NDArray[Any]) -> float:
    """The sample value that means white, for gray with more than 8 bits."""
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite([lowest, highest]).all() or lowest < 0:
        raise ValueError("negative or undefined sample values, whose scale is unknown")
    if image.mode == "F":
        # Floating point has no scale of its own; 0-1 is the convention, integers in disguise the exception.
        return next((scale for scale in (1.0, 255.0, 65535.0) if highest <= scale), highest)
    # TIFF has gray of 12 and 32 bits as well; everything else that arrives here has 16.
    bits = image.tag_v2.get(_TIFF_BITS, (16,)) if isinstance(image, TiffImageFile) else (16,)
    return float(2 ** bits[0] - 1)


def _scaled_gray(values: npt.NDArray[Any], full_scale: float) -> UInt8:
    return np.rint(values.astype(np.float64) * (255.0 / full_scale)).clip(0, 255).astype(np.uint8)
