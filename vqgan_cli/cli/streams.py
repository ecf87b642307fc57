"""Output at whose other end nobody is any more: a terminal that was closed, a pipe whose reader has left."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, cast

__all__ = ["closed_terminal_named", "lasting_stderr"]

_NOBODY_THERE = (errno.EIO, errno.EPIPE)


class _LastingStderr:
    """What rich writes to: stderr of the moment, and nothing once nobody is there to read.

    No message is worth the work that it tells of: a training whose terminal is closed has yet to be saved.
    """

    def write(self, text: str) -> int:
        with self._while_read() as stream:
            if stream is not None:
                stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._while_read() as stream:
            if stream is not None:
                stream.flush()

    def isatty(self) -> bool:
        stream = self._stream()
        return stream is not None and stream.isatty()

    @staticmethod
    def _stream() -> IO[str] | None:
        # While rich shows a bar, it puts itself in the place of stderr.
        return cast("IO[str] | None", getattr(sys.stderr, "rich_proxied_file", sys.stderr))

    @contextmanager
    def _while_read(self) -> Iterator[IO[str] | None]:
        stream = self._stream()
        try:
            yield stream
        except OSError as error:
            if stream is None or error.errno not in _NOBODY_THERE:
                raise
            # What is left in buffers must go somewhere too, or the interpreter complains on its way out.
            with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no file
                os.dup2(nowhere.fileno(), stream.fileno())
        except RuntimeError as error:
            # A signal came in the midst of a write, and its handler cannot write as well.
            if "reentrant call" not in str(error):
                raise


def lasting_stderr() -> IO[str]:
    """A stream for a `rich.console.Console`."""
    return cast("IO[str]", _LastingStderr())


@contextmanager
def closed_terminal_named() -> Iterator[None]:
    """What a closed terminal answers, as the error of a pipe whose reader has left.

    Raises:
        BrokenPipeError: in place of the ``OSError`` of an input or output error.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
