"""PNG files of any size, written row by row (PNG specification, third edition, W3C 2025).

Pillow needs a copy of the whole picture to write it; this needs a band.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.files import staged_file

__all__ = ["write_png_stream"]

_COLOUR_TYPES = {3: 2, 4: 6}  # by channels: truecolour, and with alpha
_FILTER_UP = 2  # each byte as the difference from that above
_LEVEL = 3  # of compression: time counts where pictures are large


def write_png_stream(
    path: Path,
    bands: Iterable[npt.NDArray[np.uint8]],
    shape: tuple[int, int, int],
    *,
    exif: bytes | None = None,
    icc: bytes | None = None,
) -> None:
    """Write a picture band by band.

    Args:
        path: the file; staged beside it and renamed at the end.
        bands: uint8 [n, W, C] each, from the top, H rows in all.
        shape: (H, W, C), C 3 or 4, sides below 2^31.
        exif: EXIF block.
        icc: colour profile.

    Raises:
        OutputError: the file cannot be written.
    """
    height, width, channels = shape
    with staged_file(path) as staging, staging.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
        _chunk(file, b"IHDR", header)
        if icc:
            _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
        if exif:
            _chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
        packer = zlib.compressobj(_LEVEL)
        above = np.zeros((1, width * channels), np.uint8)
        rows = 0
        for band in bands:
            flat = band.reshape(len(band), width * channels)
            filtered = np.empty((len(flat), 1 + flat.shape[1]), np.uint8)
            filtered[:, 0] = _FILTER_UP
            np.subtract(flat, np.concatenate((above, flat[:-1])), out=filtered[:, 1:])  # modulo 256
            above = flat[-1:].copy()
            rows += len(flat)
            _chunk(file, b"IDAT", packer.compress(filtered.tobytes()))
        assert rows == height, f"{rows} rows of {height}"
        _chunk(file, b"IDAT", packer.flush())
        _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    if content or kind == b"IEND":
        check = zlib.crc32(content, zlib.crc32(kind))
        file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check))
