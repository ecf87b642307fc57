"""Progress in bytes, told in units that people read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vqgan_cli.core.reporting import Reporter

__all__ = ["bytes_progress"]


@contextmanager
def bytes_progress(
    reporter: Reporter, description: str, total: int | None, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Follow some work on a file; what is over at once, as with a config, is not shown.

    Args:
        reporter: who listens.
        description: what is done to which file.
        total: bytes in all, if that is known.
        done: bytes done before.

    Yields:
        What takes the number of bytes done by now.
    """
    if total is not None and total < 1 << 20:
        yield lambda count: None
        return
    with reporter.progress(
        description, None if total is None else total >> 20, "MiB", done >> 20
    ) as progress:
        yield lambda count: progress.update(count >> 20)
