"""Image files that are damaged, dangerous or unusual, made by code, for every test that needs such a folder."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["png_header_only", "write_bad_images"]

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


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")
