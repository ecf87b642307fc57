"""A place in the bytes of a pickle, that never goes beyond their end."""

from __future__ import annotations

import mmap

from vqgan_cli.core.errors import ModelError

__all__ = ["COPY_AGAIN", "Cursor"]

COPY_AGAIN = "copy or download the file again"


class Cursor:
    """Takes bytes one after the other.

    Attributes:
        position: of the next one.
        where: name of the file, for messages.
    """

    def __init__(self, data: bytes | mmap.mmap, start: int, end: int, where: str) -> None:
        self.position = start
        self.where = where
        self._data = data
        self._end = min(end, len(data))

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            ModelError: there are fewer; nothing is allocated for a number in a file that is larger than the file.
        """
        if count > self._end - self.position:
            raise ModelError(f"{self.where} is cut short at byte {self._end:,}", hint=COPY_AGAIN)
        taken = self._data[self.position : self.position + count]
        self.position += count
        return taken

    def number(self, size: int) -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def text(self, size: int) -> str:
        """A text of so many bytes; what is not UTF-8 in it stays distinguishable and printable."""
        return str(self.take(size), "utf-8", "backslashreplace")

    def line(self) -> str:
        """The text up to the next end of a line, which is not part of it."""
        stop = self._data.find(b"\n", self.position, min(self._end, self.position + 1000))
        if stop < 0:
            raise self.damaged("a name has no end")
        return self.text(stop + 1 - self.position)[:-1]

    def damaged(self, what: str) -> ModelError:
        """The error that something at this place cannot be."""
        return ModelError(f"{self.where} is damaged: {what}, at byte {self.position:,}")
