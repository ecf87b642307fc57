"""What a picture file holds besides its colours: alpha, EXIF and colour profile, to be kept in a new file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags

from vqgan_cli.core.data.images import OUTPUT_SUFFIXES, opened, read_image, write_image
from vqgan_cli.core.data.pixels import orientation, upright

__all__ = ["Attributes", "read_with_attributes", "write_with_attributes"]

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Attributes:
    """What is kept.

    Attributes:
        alpha: opacity uint8 [H, W], upright; None for an opaque picture.
        exif: the EXIF block without orientation, as the picture is upright now; None without.
        icc: the colour profile; None without.
    """

    alpha: UInt8 | None = None
    exif: bytes | None = None
    icc: bytes | None = None


def read_with_attributes(path: Path, *, max_megapixels: float = 200.0) -> tuple[UInt8, Attributes]:
    """A picture as upright RGB, and what else its file holds.

    The colours of transparent pixels are those in the file, not composited, so that edges get no fringe.

    Raises:
        ImageError: as `read_image`.
    """
    with opened(path, max_megapixels) as image:
        turned = orientation(image)
        exif = image.getexif()
        exif.pop(ExifTags.Base.Orientation, None)
        kept = Attributes(exif=exif.tobytes() if len(exif) else None, icc=image.info.get("icc_profile"))
        clear = image.has_transparency_data and not image.mode.startswith("I")
        rgba = upright(np.asarray(image.convert("RGBA")), turned) if clear else None
    if rgba is None:
        return read_image(path, max_megapixels=max_megapixels), kept
    colours, alpha = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    return colours, Attributes(None if alpha.min() == 255 else alpha, kept.exif, kept.icc)


def write_with_attributes(
    path: Path, image: UInt8, attributes: Attributes, *, quality: int = 95
) -> list[str]:
    """Write a picture with what its format can hold of the attributes.

    Args:
        path: png, webp, jpg or jpeg.
        image: uint8 [H, W, 3].
        attributes: alpha of the same size.
        quality: 1 to 100, of jpg and webp.

    Returns:
        Names of the attributes that the format cannot hold.

    Raises:
        OutputError: the file cannot be written.
    """
    alpha = attributes.alpha
    lost = alpha is not None and OUTPUT_SUFFIXES[path.suffix.lower()] == "JPEG"
    if alpha is not None and not lost:
        image = np.dstack([image, alpha])
    write_image(path, image, quality=quality, exif=attributes.exif, icc=attributes.icc)
    return ["alpha"] if lost else []
