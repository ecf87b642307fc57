"""Large arrays that live on disk instead of in memory."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.errors import OutputError

__all__ = ["MAX_IN_MEMORY", "Scratch"]

MAX_IN_MEMORY = 3 * 2**25
"""Bytes up to which an array is held in memory: a picture of 33 megapixels."""


class Scratch:
    """Hands out arrays to fill; large ones are mapped from a file that vanishes with the process, however that ends.

    Args:
        folder: where such files may lie, on the disk that the result goes to.
        max_in_memory: bytes up to which an array needs no file; None: `MAX_IN_MEMORY`.
    """

    def __init__(self, folder: Path, max_in_memory: int | None = None) -> None:
        self._folder = folder
        self._max_in_memory = MAX_IN_MEMORY if max_in_memory is None else max_in_memory

    def picture(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """An array uint8 [H, W, 3] of any content.

        Raises:
            OutputError: the disk has no room for it.
        """
        shape = (height, width, 3)
        size = math.prod(shape)
        if size <= self._max_in_memory:
            return np.empty(shape, np.uint8)
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                # Room is taken now: a map of a full disk would end the process without a word.
                os.posix_fallocate(file.fileno(), 0, size)
                return np.memmap(file, np.uint8, "r+", shape=shape)
        except OSError as error:
            raise OutputError(
                f"no room for a picture of {height}x{width} (height x width, {size / 1e9:.1f} GB) in "
                f"{str(self._folder)!r}: {error.strerror or error}",
                hint="name a folder on a larger disk with -o",
            ) from error
