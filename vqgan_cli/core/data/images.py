"""Image files to arrays and back: what is read is upright 8-bit RGB, or refused by name.

Arrays are numpy uint8, ``[H, W, 3]`` for pictures and ``[H, W]`` for label maps. Sizes are (height, width) of the
upright image. Nothing here imports torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from vqgan_cli.core.data.pixels import gray_spread, orientation, to_rgb, upright
from vqgan_cli.core.errors import ImageError, OutputError, UsageError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_ASPECT",
    "MIN_SIDE",
    "OUTPUT_SUFFIXES",
    "check_shape",
    "contact_sheet",
    "image_size",
    "opened",
    "read_image",
    "read_label_map",
    "remove_unfinished",
    "to_uint8",
    "write_image",
]

UInt8 = npt.NDArray[np.uint8]
LabelMap = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""File names that count as images in a folder, in lower case."""

OUTPUT_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Suffixes that `write_image` knows, with Pillow's name of the format."""

MIN_SIDE = 8
"""Shorter images are refused: a side of fewer pixels than one code covers holds nothing to learn."""

MAX_ASPECT = 32
"""Narrower images are refused: the crop would show less than a thirtieth, and resizing could exhaust memory."""

# Whatever the suffix says. Pillow's other formats stay closed: some of them start foreign programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_STAGED = ".unfinished"


def read_image(
    path: Path | str,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    max_megapixels: float = 200.0,
    min_side: int | None = None,
) -> UInt8:
    """Read a picture as upright RGB.

    EXIF orientation is applied. Gray, palette and CMYK become RGB; deeper samples are scaled to 8 bits, not
    clipped; transparent pixels are composited over the background; of an animation the first frame is taken.

    Args:
        path: a jpg, png, webp, bmp, gif or tiff file; its content counts, not its suffix.
        background: red, green and blue (0-255) behind transparent pixels.
        max_megapixels: larger images are refused from their header, before anything is decoded.
        min_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its short side keeps so many
            pixels. Ask for twice what is needed, and the later resampling hides the difference.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        ImageError: the file is missing, damaged, no image, too large, or of a refused shape (see `MIN_SIDE` and
            `MAX_ASPECT`).
    """
    with opened(path, max_megapixels) as image:
        if min_side is not None:
            image.draft(None, (min_side, min_side))  # no effect on formats other than JPEG
        image.load()
        return upright(to_rgb(image, background), orientation(image))


def read_label_map(path: Path | str, *, max_megapixels: float = 200.0) -> LabelMap:
    """Read a segmentation map: gray values or palette indices as they are stored, upright.

    Returns:
        uint8 or (from files with 16 bits) uint16 ``[H, W]`` of class indices.

    Raises:
        ImageError: as `read_image`, and for files that have colours in place of indices or lossy compression.
    """
    with opened(path, max_megapixels) as image:
        if image.format in ("JPEG", "MPO", "WEBP"):
            raise ImageError(
                path, f"is {image.format}, which does not keep class indices; label maps must be PNG"
            )
        spread = gray_spread(image)
        image.load()
        values = np.asarray(image)
        if image.mode in ("1", "L", "P"):
            labels: LabelMap = values.astype(np.uint8) // np.uint8(spread)
        elif image.mode.startswith("I") and values.min() >= 0 and values.max() <= 65535:
            labels = values.astype(np.uint16)
        else:
            raise ImageError(path, f"is {image.mode}: a label map has one channel of class indices")
        return upright(labels, orientation(image))


def image_size(path: Path | str, *, max_megapixels: float = 200.0) -> tuple[int, int]:
    """(height, width) of the upright image, from the header where the format allows.

    Raises:
        ImageError: as `read_image`, as far as the header shows it.
    """
    with opened(path, max_megapixels) as image:
        turned = orientation(image) >= 5
        width, height = image.size
        # Newer versions of Pillow swap the size of a turned TIFF, and of no other format, when they open it.
        if isinstance(image, TiffImageFile):
            width, height = image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
    return (width, height) if turned else (height, width)


def write_image(
    path: Path | str,
    image: npt.NDArray[Any],
    *,
    quality: int = 95,
    exif: bytes | None = None,
    icc: bytes | None = None,
) -> None:
    """Write a picture; an interrupted write leaves no half image under the name.

    Args:
        path: its suffix (png, jpg, jpeg or webp) chooses the format. The folder must exist.
        image: uint8 ``[H, W, 3]`` (RGB), ``[H, W, 4]`` (with alpha) or ``[H, W]`` (gray); png also uint16 ``[H, W]``.
        quality: 1-100, of jpg and webp; png is lossless.
        exif: an EXIF block to keep; None: none.
        icc: a colour profile to keep; None: none.

    Raises:
        UsageError: the suffix is none of `OUTPUT_SUFFIXES`.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        known = ", ".join(suffix.removeprefix(".") for suffix in OUTPUT_SUFFIXES)
        raise UsageError(f"cannot write {str(path)!r}: the suffix must be one of {known}")
    deep = image.dtype == np.uint16 and image.ndim == 2 and path.suffix.lower() == ".png"
    if image.dtype != np.uint8 and not deep:
        raise TypeError(f"image must be uint8, not {image.dtype}")
    # Full chroma resolution: subsampled colour is a second loss that is easily blamed on the model.
    options: dict[str, Any] = {"quality": quality, "subsampling": 0}
    options |= {name: value for name, value in (("exif", exif), ("icc_profile", icc)) if value}
    staged = path.with_name(f".{uuid4().hex}{_STAGED}")
    try:
        with staged.open("xb") as file:
            Image.fromarray(image).save(file, format=OUTPUT_SUFFIXES[path.suffix.lower()], **options)
        staged.replace(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot write {str(path)!r}: {reason}") from error
    finally:
        staged.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove from a folder what `write_image` left of a process that was killed; nobody else may be writing there."""
    for staged in folder.glob(f".*{_STAGED}"):
        staged.unlink(missing_ok=True)


def to_uint8(image: npt.NDArray[Any]) -> UInt8:
    """Values in [-1, 1] to 0-255, rounded to the nearest and clamped; any shape."""
    scaled = (image.astype(np.float32) + 1.0) * 127.5
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def contact_sheet(
    images: Sequence[UInt8], columns: int, *, gap: int = 2, background: tuple[int, int, int] = (255, 255, 255)
) -> UInt8:
    """Lay pictures out in rows, each centred in a cell as large as the largest of them.

    Args:
        images: at least one uint8 ``[H, W, 3]``; sizes may differ.
        columns: pictures per row; the last row may be shorter.
        gap: pixels of background between cells.
        background: red, green and blue, 0-255.

    Returns:
        uint8 ``[rows * (H + gap) - gap, columns * (W + gap) - gap, 3]``.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    sheet = np.empty(shape, np.uint8)
    sheet[:] = background
    for number, image in enumerate(images):
        h, w = image.shape[:2]
        top = number // columns * (height + gap) + (height - h) // 2
        left = number % columns * (width + gap) + (width - w) // 2
        sheet[top : top + h, left : left + w] = image
    return sheet


@contextmanager
def opened(path: Path | str, max_megapixels: float) -> Iterator[Image.Image]:
    """The file as Pillow has it, checked from its header; whatever Pillow raises inside becomes an `ImageError`."""
    with warnings.catch_warnings(), _no_pixel_limit():
        # Pillow warns of odd metadata in files that it reads well, once per file.
        warnings.simplefilter("ignore")
        try:
            if Path(path).stat().st_size == 0:
                raise ImageError(path, "is empty")
            with Image.open(path, formats=_FORMATS) as image:
                check_shape(path, *image.size, max_megapixels)
                yield image
        except ImageError:
            raise
        except FileNotFoundError as error:
            raise ImageError(path, "does not exist") from error
        except UnidentifiedImageError as error:
            raise ImageError(path, "is no image of a known format, or its header is damaged") from error
        except MemoryError as error:
            raise ImageError(path, "does not fit into memory") from error
        # Decoders meet damaged data with anything from SyntaxError to struct.error and IndexError.
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ImageError(path, f"cannot be decoded ({reason})") from error


@contextmanager
def _no_pixel_limit() -> Iterator[None]:
    # Ours comes from the config and is checked in check_shape; Pillow's is one number for the whole process.
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def check_shape(path: Path | str, width: int, height: int, max_megapixels: float) -> None:
    """Refuse a picture or map by its size in pixels.

    Raises:
        ImageError: too many pixels, or one of the shapes of `MIN_SIDE` and `MAX_ASPECT`.
    """
    shape = f"is {height}x{width} (height x width)"
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        limit = f"above the limit of {max_megapixels:g} megapixels"
        raise ImageError(path, f"{shape}: {megapixels:.0f} megapixels, {limit} against decompression bombs")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(path, f"{shape}: aspect ratio above {MAX_ASPECT}")
    if min(width, height) < MIN_SIDE:
        raise ImageError(path, f"{shape}: a side below {MIN_SIDE} pixels")
