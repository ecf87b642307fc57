"""What people read: messages and tables, all on stderr, so that stdout stays data.

There is one console. ``--quiet`` silences it, and only errors still come through. Colour follows the terminal,
NO_COLOR and FORCE_COLOR, as rich does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from vqgan_cli.cli.streams import closed_terminal_named, lasting_stderr

__all__ = [
    "console",
    "data",
    "error",
    "info",
    "json_data",
    "table",
    "warning",
]

console = Console(file=lasting_stderr(), highlight=False)


def data(text: str) -> None:
    """Writes one line of data to stdout.

    Raises:
        BrokenPipeError: nobody is there to read it.
    """
    with closed_terminal_named():
        typer.echo(text)


def json_data(value: Any) -> None:
    """Writes a value to stdout as indented JSON."""
    data(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def info(message: str, *, time: bool = False) -> None:
    """A line on stderr; nothing with ``--quiet``.

    Args:
        message: the line.
        time: begin it with the local time, as a log wants it.
    """
    console.print(Text(_now() + message if time else message), soft_wrap=True)


def warning(message: str, *, time: bool = False) -> None:
    """Something that the user should know and that does not stop the work; ``time`` as in `info`."""
    stamp = _now() if time else ""
    console.print(Text.assemble(stamp, ("warning: ", "bold yellow"), message), soft_wrap=True)


def error(message: str, hint: str | None = None) -> None:
    """The one message of a failure, with the next thing to try; shown even with ``--quiet``."""
    text = Text.assemble(("error: ", "bold red"), message)
    if hint:
        text.append_text(Text.assemble("\n", ("hint: ", "bold cyan"), hint))
    console.quiet = False
    console.print(text, soft_wrap=True)


def _now() -> str:
    return datetime.now().isoformat(" ", "seconds") + "  "


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
