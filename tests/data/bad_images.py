"""Image files that are damaged, dangerous or unusual, made by code, for every test that needs such a folder."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["OK", "cmyk", "png_header_only", "write_bad_images", "write_odd_images", "write_turned_images"]

Pixels = npt.NDArray[np.uint8]

OK = "ok"
"""The expectation of a file that looks odd and must be read all the same."""


def write_bad_images(folder: Path) -> dict[str, str]:
    """Fill ``folder`` with files of rows 19, 20, 22 and 31 of the fault table.

    Returns:
        file name -> `OK`, or a part of the reason for which the file must be refused. Every file has an image
        suffix, so all of them belong to the folder as a data source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    expected: dict[str, str] = {}

    picture.save(folder / "whole.jpg", quality=95)
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    picture.save(folder / "whole.png")
    whole = (folder / "whole.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("this is no picture\n")
    (folder / "bomb.png").write_bytes(png_header_only(30_000, 30_000))
    Image.new("RGB", (1, 1)).save(folder / "one-pixel.png")
    Image.new("RGB", (10_000, 3)).save(folder / "sliver.png")
    expected |= {
        "whole.jpg": OK,
        "whole.png": OK,
        "truncated.jpg": "truncated",
        "truncated.png": "truncated",
        "empty.png": "is empty",
        "text.jpg": "no image of a known format",
        "bomb.png": "decompression bombs",
        "one-pixel.png": "a side below 8",
        "sliver.png": "aspect ratio above 32",
    }

    Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257).save(folder / "sixteen-bit.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("P").save(folder / "palette.png", transparency=0)
    picture.convert("RGBA").save(folder / "alpha.webp", lossless=True)
    picture.save(folder / "animated.gif", save_all=True, append_images=[Image.new("RGB", picture.size)])
    picture.save(folder / "with space, ümläut and 日本.png")
    expected |= dict.fromkeys(
        ("sixteen-bit.png", "cmyk.jpg", "palette.png", "alpha.webp", "animated.gif"), OK
    )
    expected["with space, ümläut and 日本.png"] = OK
    if os.name == "posix":
        picture.save(folder / "new\nline.png")
        (folder / "link.png").symlink_to("whole.png")
        (folder / "broken-link.png").symlink_to("nowhere.png")
        (folder / "link-to-itself.png").symlink_to("link-to-itself.png")
        (folder / "loop").symlink_to(".", target_is_directory=True)
        expected |= {
            "new\nline.png": OK,
            "link.png": OK,
            "broken-link.png": "does not exist",
            "link-to-itself.png": "symbolic links",
        }
    return expected


def write_odd_images(folder: Path) -> dict[str, Pixels]:
    """Fill ``folder`` with pictures of 12x16 pixels in every form of row 22, all called ``.png`` whatever they are.

    Returns:
        file name -> colours and opacity, uint8 [12, 16, 4], by the definition of each form.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    rgb, other = rng.integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)
    gray, alpha = rgb[..., :1], other[..., :1]
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    expected: dict[str, Pixels] = {}

    def write(
        name: str, image: Image.Image, colours: Pixels, opacity: Pixels | None = None, **options: Any
    ) -> None:
        path = folder / f"{len(expected):02} {name}.png"
        image.save(path, **({"format": "PNG"} | options))
        opaque = np.full((12, 16, 1), 255, np.uint8) if opacity is None else opacity
        expected[path.name] = np.dstack([np.broadcast_to(colours, (12, 16, 3)), opaque])

    def indexed(indices: Pixels) -> Image.Image:
        image = Image.fromarray(indices[..., 0])
        image.putpalette(palette.tobytes())
        return image

    deep = rng.integers(0, 2**16, (12, 16, 1), dtype=np.uint16)
    scaled = np.rint(deep / 257).astype(np.uint8)
    write("sixteen bits", Image.fromarray(deep[..., 0]), scaled)
    write("sixteen bits in a TIFF", Image.fromarray(deep[..., 0]), scaled, format="TIFF")
    write("floating point", Image.fromarray(np.float32(deep[..., 0] / 65535)), scaled, format="TIFF")
    write("gray", Image.fromarray(gray[..., 0]), gray)
    write("gray and alpha", Image.fromarray(np.dstack([gray, alpha])), gray, alpha)
    write("one bit", Image.fromarray(gray[..., 0] > 99), np.where(gray > 99, 255, 0).astype(np.uint8))
    write("alpha", Image.fromarray(np.dstack([rgb, alpha])), rgb, alpha)
    webp = {"format": "WEBP", "lossless": True, "exact": True}
    write("alpha in a WebP", Image.fromarray(np.dstack([rgb, alpha])), rgb, alpha, **webp)
    write("palette", indexed(gray), palette[gray[..., 0]])
    hole = int(gray[3, 3, 0])
    clear = np.where(gray == hole, 0, 255).astype(np.uint8)
    write("palette with a hole", indexed(gray), palette[gray[..., 0]], clear, transparency=hole)
    shades = bytes(reversed(range(256)))
    write("palette with alpha", indexed(gray), palette[gray[..., 0]], 255 - gray, transparency=shades)
    ink = np.dstack([rgb, np.where(alpha > 127, 255, 0).astype(np.uint8)])  # without black, or black alone
    write("CMYK", cmyk(ink), np.where(alpha > 127, 0, 255 - rgb).astype(np.uint8), format="TIFF")
    write(
        "CMYK in a JPEG",
        cmyk(np.full((12, 16, 4), (0, 255, 255, 0), np.uint8)),
        np.uint8([255, 0, 0]),
        format="JPEG",
        quality=100,
    )
    second = {"save_all": True, "append_images": [indexed(alpha)]}
    write("animation", indexed(gray), palette[gray[..., 0]], format="GIF", **second)
    second["append_images"] = [Image.fromarray(other)]
    write("animated WebP", Image.fromarray(rgb), rgb, **webp, **second)
    write("animated PNG", Image.fromarray(rgb), rgb, **second)
    name = f"{len(expected):02} sixteen bits and colours.png"
    (folder / name).write_bytes(_deep_png(rgb.astype(np.uint16) * 257))
    expected[name] = np.dstack([rgb, np.full((12, 16, 1), 255, np.uint8)])
    return expected


def write_turned_images(folder: Path) -> dict[str, Pixels]:
    """Fill ``folder`` with one picture of 12x16 pixels that is stored in all eight orientations, in several formats.

    Returns:
        file name -> colours and opacity of the upright picture, uint8 [12, 16, 4].
    """
    folder.mkdir(parents=True, exist_ok=True)
    upright = np.random.default_rng(8).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    turn = Image.Transpose
    stored = {  # EXIF orientation -> what was done to the picture, that a viewer undoes
        1: None, 2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE, 6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    expected = {}
    for orientation, transposition in stored.items():
        exif = Image.Exif()
        exif[274] = orientation
        image = Image.fromarray(upright)
        image = image if transposition is None else image.transpose(transposition)
        path = folder / f"{orientation}.png"
        image.save(path, format=("PNG", "TIFF", "WEBP")[orientation % 3], exif=exif, lossless=True)
        expected[path.name] = np.dstack([upright, np.full((12, 16, 1), 255, np.uint8)])
    return expected


def cmyk(ink: Pixels) -> Image.Image:
    """Coverage uint8 [H, W, 4] of cyan, magenta, yellow and black as a picture."""
    return Image.merge("CMYK", [Image.fromarray(np.ascontiguousarray(ink[..., each])) for each in range(4)])


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    return _png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), bytes(1000))


def _deep_png(pixels: npt.NDArray[np.uint16]) -> bytes:
    """A PNG of three channels of 16 bits, which Pillow reads and does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)  # filter none
    return _png(struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0), rows)


def _png(header: bytes, data: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
