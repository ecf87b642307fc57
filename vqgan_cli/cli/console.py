"""What people read: messages, tables and progress, all on stderr, so that stdout stays data.

There is one console. ``--quiet`` silences it, and only errors still come through. Colour follows the terminal,
NO_COLOR and FORCE_COLOR, as rich does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "ProgressReporter",
    "console",
    "data",
    "error",
    "info",
    "json_data",
    "progress",
    "table",
    "warning",
]

console = Console(stderr=True, highlight=False)


def data(text: str) -> None:
    """Writes one line of data to stdout."""
    typer.echo(text)


def json_data(value: Any) -> None:
    """Writes a value to stdout as indented JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def info(message: str) -> None:
    """A line on stderr; nothing with ``--quiet``."""
    console.print(Text(message), soft_wrap=True)


def warning(message: str) -> None:
    """Something that the user should know and that does not stop the work."""
    console.print(Text.assemble(("warning: ", "bold yellow"), message), soft_wrap=True)


def error(message: str, hint: str | None = None) -> None:
    """The one message of a failure, with the next thing to try; shown even with ``--quiet``."""
    text = Text.assemble(("error: ", "bold red"), message)
    if hint:
        text.append_text(Text.assemble("\n", ("hint: ", "bold cyan"), hint))
    console.quiet = False
    console.print(text, soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, stdout: bool = False) -> None:
    """A table for people.

    Args:
        columns: headings.
        rows: one string per column each.
        stdout: the table is the command's data, shown on a terminal in place of plain lines.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    grid = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        grid.add_row(*map(Text, row))
    (Console(highlight=False) if stdout else console).print(grid)


class ProgressReporter(Protocol):
    """What `progress` yields."""

    def update(self, done: int, note: str = "") -> None:
        """Says how many units are done by now, with a short note such as the loss."""


@contextmanager
def progress(
    description: str, total: int | None, unit: str, *, every: float = 10.0
) -> Iterator[ProgressReporter]:
    """Reports the progress of a loop: a live bar on a terminal, else a plain line every so often.

    Args:
        description: what is being done, one word or two.
        total: units to do; None: unknown.
        unit: what is counted, in the plural.
        every: seconds between plain lines.
    """
    if not console.is_terminal or console.quiet:
        lines = _Lines(description, total, unit, every)
        yield lines
        lines.finish()
        return

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bar(bars, description, total, unit)


class _Bar:
    def __init__(self, bars: Progress, description: str, total: int | None, unit: str) -> None:
        self._bars = bars
        self._task = bars.add_task(description, total=total, unit=unit, note="")

    def update(self, done: int, note: str = "") -> None:
        self._bars.update(self._task, completed=done, note=note)


class _Lines:
    def __init__(self, description: str, total: int | None, unit: str, every: float) -> None:
        self._description = description
        self._total = total
        self._unit = unit
        self._every = every
        self._started = self._last = time.monotonic()
        self._first: int | None = None
        self._done = 0
        self._note = ""
        self._written: int | None = None

    def update(self, done: int, note: str = "") -> None:
        if self._first is None:
            # A resumed loop starts above 0, and what was done before says nothing about today's speed.
            self._first = done
        self._done, self._note = done, note
        if time.monotonic() - self._last >= self._every:
            self._write()

    def finish(self) -> None:
        """The last state, unless it has just been written."""
        if self._done != self._written:
            self._write()

    def _write(self) -> None:
        now = time.monotonic()
        rate = (self._done - (self._first or 0)) / max(now - self._started, 1e-9)
        parts = [f"{self._description}: {self._done}"]
        if self._total is not None:
            parts[0] += f"/{self._total}"
        parts[0] += f" {self._unit}"
        if rate > 0:
            parts.append(f"{rate:.3g} per second")
            if self._total is not None and self._done < self._total:
                parts.append(f"{_duration((self._total - self._done) / rate)} left")
        if self._note:
            parts.append(self._note)
        info(", ".join(parts))
        self._last, self._written = now, self._done


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
