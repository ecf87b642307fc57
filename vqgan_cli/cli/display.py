"""The reporter that shows a recipe's work on stderr: live on a terminal, plain lines with the time elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.text import Text

from vqgan_cli.cli import console
from vqgan_cli.core.reporting import Progress, Reporter

__all__ = ["ConsoleReporter", "is_main_process"]

SECONDS_BETWEEN_LINES = 10.0
"""Off a terminal, at first; after 20 minutes a line a minute, so that the log of a week stays readable."""

_CALMEST = 6.0


def is_main_process() -> bool:
    """Whether this is the only process, or the first of those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


class ConsoleReporter(Reporter):
    """Writes to the one console; silent in all processes but the first."""

    def __init__(self) -> None:
        if not is_main_process():
            console.console.quiet = True

    def info(self, message: str) -> None:
        """A plain line."""
        # Lines that are indented belong to the one before.
        console.info(message, time=not _live_terminal() and not message.startswith(" "))

    def warning(self, message: str) -> None:
        """A line that stands out."""
        console.warning(message, time=not _live_terminal())

    def facts(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Names on the left, values on the right, below a title."""
        width = max(len(name) for name, _ in rows)
        console.console.print(Text(title, style="bold"))
        for name, value in rows:
            console.console.print(Text.assemble((f"  {name:<{width}}  ", "cyan"), value), soft_wrap=True)

    @contextmanager
    def progress(self, description: str, total: int | None, unit: str, done: int = 0) -> Iterator[Progress]:
        """A bar with the newest values below it, or a line every so often."""
        if _live_terminal() and not console.console.quiet:
            with _live(description, total, unit, done) as live:
                yield live
        else:
            lines = _Lines(description, total, unit, done)
            yield lines
            lines.finish()


def _live_terminal() -> bool:
    """Whether stderr can show a line anew: FORCE_COLOR asks for colour in a file, not for a bar, and a dumb terminal
    cannot go back.
    """
    return console.console.is_interactive and console.console.file.isatty()


class _Lines(Progress):
    """A line every so often."""

    def __init__(self, description: str, total: int | None, unit: str, done: int) -> None:
        self._description = description
        self._total = total
        self._unit = unit
        self._started = self._last = time.monotonic()
        # A resumed loop starts above 0, and what was done before says nothing about today's speed.
        self._first = self._done = done
        self._note = ""
        self._written: int | None = None

    def update(self, done: int, values: Mapping[str, str] | None = None) -> None:
        if values is not None:
            self._note = ", ".join(f"{name} {value}" for name, value in values.items())
        self._done = done
        now = time.monotonic()
        calmer = min(max(1.0, (now - self._started) / 200), _CALMEST)
        if now - self._last >= SECONDS_BETWEEN_LINES * calmer:
            self._write()

    def finish(self) -> None:
        """The last state, unless it has just been written."""
        if self._done != self._written:
            self._write()

    def _write(self) -> None:
        now = time.monotonic()
        rate = (self._done - self._first) / max(now - self._started, 1e-9)
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
        console.info(", ".join(parts), time=True)
        self._last, self._written = now, self._done


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


@contextmanager
def _live(description: str, total: int | None, unit: str, done: int) -> Iterator[Progress]:
    from rich import progress
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

    bar = progress.Progress(
        progress.TextColumn("[bold]{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn(unit),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=console.console,
    )
    task = bar.add_task(description, total=total, completed=done)

    class _Display(Progress):
        def update(self, done: int, values: Mapping[str, str] | None = None) -> None:
            bar.update(task, completed=done)
            if values is not None:
                live.update(Group(bar, grid(values)))

    def grid(values: Mapping[str, str]) -> Table:
        # Two columns of names and values side by side, so that all stay in sight on a small terminal.
        table = Table.grid(padding=(0, 2))
        cells = [(Text(name, style="cyan"), Text(value)) for name, value in values.items()]
        half = (len(cells) + 1) // 2
        for index in range(half):
            right = cells[index + half] if index + half < len(cells) else (Text(), Text())
            table.add_row(*cells[index], *right)
        return table

    with Live(bar, console=console.console, refresh_per_second=8) as live:
        yield _Display()
