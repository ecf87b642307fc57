"""Text for Markdown: tables whose cells hold what they are given, and nothing that is taken for markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["code", "escaped", "table"]

_MARKUP = re.compile(r"[\\*<\[~]|(?<!\w)_|_(?!\w)")
"""What could begin markup. An underscore inside a word does not."""


def escaped(text: str) -> str:
    """A sentence of help: ``code`` in it stays code, all else is shown as it is written."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if part.startswith("`") else _MARKUP.sub(r"\\\g<0>", part) for part in parts)


def code(text: str) -> str:
    """A word as code."""
    return f"`{text}`"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a bar in a cell, which would end it, is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
