"""Codes on their way into a codes file: appended by one process, noted in a journal, readable after any crash.

Each call of each process has two files of its own in the staging folder, ``part-0000.codes`` (the codes, one image
after the other) and ``part-0000.jsonl`` (one line per input). A line counts if it is complete and the codes that it
speaks of match its checksum, so nothing has to be flushed to disk on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vqgan_cli.core.data.codes_format import Failure, ImageRecord, checksum, codes_type

__all__ = ["JournalWriter", "Journals", "journal_files"]

_SUFFIX = ".jsonl"
_CODES_SUFFIX = ".codes"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of a journal: an image whose codes begin at ``start``, counted in codes; or a failure."""

    index: int
    start: int = 0
    image: ImageRecord | None = None
    failure: Failure | None = None


_ENTRY = TypeAdapter(_Entry)


class JournalWriter:
    """A new journal in a folder, under a number that no other process has."""

    def __init__(self, folder: Path, codebook_size: int) -> None:
        self._dtype = codes_type(codebook_size)
        for number in count():
            path = folder / f"part-{number:04d}{_CODES_SUFFIX}"
            with suppress(FileExistsError):
                self._codes = path.open("xb")
                break
        self._lines = path.with_suffix(_SUFFIX).open("xb")  # after the codes: a journal always has its codes
        self._length = 0

    def add(self, index: int, image: ImageRecord, codes: npt.NDArray[Any]) -> None:
        """Store the codes of an input, then note it: a line never speaks of codes that are not there."""
        self._codes.write(codes.astype(self._dtype).tobytes())
        self._codes.flush()
        self._note(_Entry(index=index, start=self._length, image=image))
        self._length += codes.size

    def fail(self, index: int, failure: Failure) -> None:
        """Note that an input has no codes."""
        self._note(_Entry(index=index, failure=failure))

    def close(self) -> None:
        """Close both files."""
        for file in (self._codes, self._lines):
            with suppress(OSError):  # what a full disk refused before, and was reported then
                file.close()

    def _note(self, entry: _Entry) -> None:
        self._lines.write(_ENTRY.dump_json(entry, exclude_none=True) + b"\n")
        self._lines.flush()


class _Journal:
    """What one process stored in one call."""

    def __init__(self, path: Path, codebook_size: int) -> None:
        self._lines = path
        self._codes = path.with_suffix(_CODES_SUFFIX)
        self._codebook_size = codebook_size

    def entries(self) -> Iterator[tuple[int, _Entry]]:
        """The entries that can be relied on, each after the position of its line."""
        position = 0
        with self._lines.open("rb") as lines, self._codes.open("rb") as codes:
            for line in lines:
                with suppress(ValidationError):  # the line that was being written when the process died
                    entry = _ENTRY.validate_json(line)
                    if entry.image is None or self._intact(codes, entry, entry.image):
                        yield position, entry
                position += len(line)

    def read(self, position: int) -> tuple[ImageRecord, npt.NDArray[Any]]:
        """The image noted in the line at a position, and its codes in one dimension."""
        # Opened anew each time: a job of many processes and calls has more journals than a process may have files.
        with self._lines.open("rb") as lines, self._codes.open("rb", buffering=0) as codes:
            lines.seek(position)
            entry = _ENTRY.validate_json(lines.readline())
            assert entry.image is not None
            return entry.image, self._cut(codes, entry, entry.image)

    def _cut(self, codes: IO[bytes], entry: _Entry, image: ImageRecord) -> npt.NDArray[Any]:
        dtype = codes_type(self._codebook_size)
        codes.seek(entry.start * dtype.itemsize)
        stored = codes.read(image.grid[0] * image.grid[1] * dtype.itemsize)
        return np.frombuffer(stored, dtype, len(stored) // dtype.itemsize)

    def _intact(self, codes: IO[bytes], entry: _Entry, image: ImageRecord) -> bool:
        return checksum(self._cut(codes, entry, image), self._codebook_size) == image.crc32


class Journals:
    """All journals of a staging folder, and where in them each input is: a few numbers per input.

    Args:
        folder: the staging folder.
        codebook_size: K of the codes.
        count: number of inputs.

    Attributes:
        grids: [h, w] of each input's codes, 0 where there are none: [count, 2].
        failed: inputs that were tried and have no codes, in their order.
    """

    def __init__(self, folder: Path, codebook_size: int, count: int) -> None:
        self._journals = [_Journal(path, codebook_size) for path in journal_files(folder)]
        self._journal = np.full(count, -1, np.int32)
        self._position = np.zeros(count, np.int64)
        self.grids = np.zeros((count, 2), np.int64)
        failed: dict[int, Failure] = {}
        for number, journal in enumerate(self._journals):
            for position, entry in journal.entries():
                if entry.image is not None:
                    self._journal[entry.index] = number
                    self._position[entry.index] = position
                    self.grids[entry.index] = entry.image.grid
                elif entry.failure is not None:
                    failed[entry.index] = entry.failure
        # What failed in one call may have succeeded in a later one.
        self.failed = [failed[index] for index in sorted(failed) if self._journal[index] < 0]

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Whether each input has codes: [count]."""
        return self._journal >= 0

    def read(self, index: int) -> tuple[ImageRecord, npt.NDArray[Any]]:
        """Record and codes, in one dimension, of an input that is done."""
        return self._journals[self._journal[index]].read(int(self._position[index]))


def journal_files(folder: Path) -> list[Path]:
    """The journals of a staging folder, the oldest of each process first."""
    return sorted(folder.glob(f"part-*{_SUFFIX}"))
