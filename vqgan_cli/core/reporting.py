"""How recipes speak to whoever runs them, without knowing about terminals.

The command line passes a reporter that writes to stderr; Python code may leave the silent default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["Progress", "Reporter"]


class Progress:
    """A running loop, as its recipe sees it; this one is silent."""

    def update(self, done: int, values: Mapping[str, str] | None = None) -> None:
        """Report units done by now, and optionally named values to show beside them."""


class Reporter:
    """Receives what a recipe has to say; this one is silent."""

    def info(self, message: str) -> None:
        """A line that tells what happens."""

    def warning(self, message: str) -> None:
        """Something that the user should know and that does not stop the work."""

    def facts(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """A small table of names and values, such as the header of a run."""

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str, done: int = 0) -> Iterator[Progress]:
        """Follow a loop of ``total`` units, of which ``done`` were done before."""
        yield Progress()
