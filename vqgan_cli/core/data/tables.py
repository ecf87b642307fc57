"""Tables of pairs: a ``.csv`` with a heading, or a ``.jsonl`` of objects, that name a picture and its map in each row.

``image,segmentation`` is such a heading, ``{"image": "a.jpg", "segmentation": "a.png"}`` such an object. Paths are
relative to the table.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from vqgan_cli.core.data.listing import Listing, below_common_folder, user_path
from vqgan_cli.core.errors import DataError

__all__ = ["has_column", "is_table", "read_column"]


def is_table(spec: str) -> bool:
    """Whether a name is that of a table."""
    return spec.lower().endswith((".csv", ".jsonl"))


def has_column(spec: str, name: str) -> bool:
    """Whether the first row of a table has a column; raises as `read_column`."""
    return name in _rows(user_path(spec))[0]


def read_column(spec: str, name: str) -> Listing:
    """The files that a column names, in the order of the table.

    Raises:
        DataError: the table cannot be read, is empty, or has a row without this column.
    """
    path = user_path(spec)
    rows = _rows(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get(name), str):
            raise DataError(
                f"{spec!r}, pair {number}: there is no path under {name!r}",
                hint=f"a csv with the heading image,{name}, or one object per line with these keys",
            )
    return below_common_folder([path.parent / row[name] for row in rows])


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            rows: list[Any] = list(csv.DictReader(text.splitlines()))
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"cannot read the pairs in {str(path)!r}: {error}") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{str(path)!r} lists no pairs")
    return rows
