"""How the works are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BenchSettings", "EncodeFolder"]

EncodeFolder = Callable[[str, Path, Path, int, int], object]
"""``vqgan encode`` of a source into a codes file by a model: images at a time, and how many."""


@dataclass(frozen=True)
class BenchSettings:
    """How the works are done.

    Attributes:
        batch_size: images at a time for the tokenizer, its training step, and reading; None: 1 on a CPU, else 16.
        sequences: images drawn at a time, one row for each number.
        sizes: (height, width) in pixels of images drawn by the sliding window; empty: 2 x 4 training sizes.
        strides: cells per placement of the window, one row for each with each size.
        encode_folder: for reading; the command line knows it.
        data: images that are encoded, as ``open_source`` takes them; None: a synthetic set, written as JPEG files.
        images: how many of them are read, and whose codes are compared; None: as many as take some seconds, and 64.
    """

    encode_folder: EncodeFolder
    batch_size: int | None = None
    sequences: tuple[int, ...] = (1, 8)
    sizes: tuple[tuple[int, int], ...] = ()
    strides: tuple[int, ...] = (1, 4)
    data: str | None = None
    images: int | None = None

    def batch(self, device_type: str) -> int:
        """Images at a time on a device."""
        return self.batch_size or (1 if device_type == "cpu" else 16)
