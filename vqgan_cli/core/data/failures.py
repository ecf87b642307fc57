"""A record of the files that could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["ReadFailures"]


class ReadFailures:
    """The bad files met so far, each once, in the order in which they were met."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def add(self, path: Path | str, reason: str) -> None:
        """Note a file; a second note of the same file changes nothing."""
        self._reasons.setdefault(str(path), reason)

    def __len__(self) -> int:
        return len(self._reasons)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of path and reason."""
        return iter(self._reasons.items())
