"""Tables of plain texts."""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["table_html"]


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts that scrolls where it is wider than the page."""
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(columns[0])}">'
        f"<table>\n<tr>{head}</tr>\n{body}\n</table></div>"
    )
