"""Reports of evaluations: one HTML file with everything in it, and the same figures as JSON.

The file names nothing outside itself, neither pictures nor fonts nor scripts, and forbids a browser to fetch anything.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.files import require_writable_folder, reserved, write_text
from vqgan_cli.core.pages.document import data_url, document

__all__ = [
    "METRICS_FILE",
    "REPORT_FILE",
    "Picture",
    "Section",
    "Table",
    "heat_map",
    "report_folder",
    "report_html",
    "write_report",
]

REPORT_FILE, METRICS_FILE = "report.html", "metrics.json"

UInt8 = npt.NDArray[np.uint8]

_SHOWN_SIDE = 256
"""Pixels on the screen to which smaller pictures are enlarged, by whole pixels."""

# Dark blue, green, yellow: even in lightness, and told apart without red and green.
_COLORS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)


@dataclass(frozen=True)
class Table:
    """Headings, and rows of one text per heading."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """uint8 [H, W, 3] and what stands below it."""

    image: UInt8
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: its heading.
        note: what to know about it, a paragraph.
        table: its figures.
        pictures: shown side by side.
    """

    title: str
    note: str = ""
    table: Table | None = None
    pictures: Sequence[Picture] = ()


@contextmanager
def report_folder(folder: Path | None, *, force: bool) -> Iterator[None]:
    """Reserve the folder of a report, before any work is done for it.

    Args:
        folder: is made if need be; None: there will be no report, and nothing happens.
        force: a report that is there may be replaced.

    Raises:
        OutputError: the folder cannot be written, holds a report, or is being written to by another process.
    """
    if folder is None:
        yield
        return
    require_writable_folder(folder)
    with reserved(folder, is_folder=True):
        existing = [folder / name for name in (REPORT_FILE, METRICS_FILE) if (folder / name).exists()]
        if existing and not force:
            raise OutputError(
                f"{str(existing[0])!r} exists", hint="overwrite with --force, or name another folder with -o"
            )
        yield


def write_report(folder: Path, title: str, sections: Sequence[Section], metrics: Mapping[str, Any]) -> Path:
    """Write ``report.html`` and ``metrics.json`` into a folder that is there.

    Args:
        folder: where to.
        title: of the report.
        sections: in order.
        metrics: all figures as plain values of JSON, without NaN; they stand at the end of the report too.

    Returns:
        The report.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / METRICS_FILE, text + "\n")
    write_text(folder / REPORT_FILE, report_html(title, sections, text))
    return folder / REPORT_FILE


def report_html(title: str, sections: Sequence[Section], metrics: str) -> str:
    """The page: title, sections, and the figures in full as JSON text."""
    body = [f"<h1>{html.escape(title)}</h1>", *map(_section, sections)]
    body.append(
        f"<h2>All figures</h2><details><summary>as in {METRICS_FILE}</summary>"
        f"<pre>{html.escape(metrics, quote=False)}</pre></details>"
    )
    return document(title, body)


def heat_map(values: npt.NDArray[Any], bounds: tuple[float, float] | None = None) -> UInt8:
    """Numbers [H, W] as a picture uint8 [H, W, 3], from low (dark blue) to high (yellow).

    Args:
        values: the numbers.
        bounds: which numbers have the first and the last colour; None: the least and the greatest.
    """
    low, high = bounds or (float(np.min(values)), float(np.max(values)))
    share = (np.asarray(values, np.float64) - low) / (high - low) if high > low else np.zeros(values.shape)
    places = np.linspace(0, 1, len(_COLORS))
    channels = [np.interp(share, places, _COLORS[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    if section.note:
        parts.append(f"<p>{html.escape(section.note)}</p>")
    if section.table is not None:
        parts.append(_table(section.table))
    if section.pictures:
        pictures = "\n".join(map(_picture, section.pictures))
        parts.append(f'<div class="pictures">\n{pictures}\n</div>')
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = ("".join(map(_cell, row)) for row in table.rows)
    return f"<table>\n<tr>{head}</tr>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"


def _cell(text: str) -> str:
    number = re.fullmatch(r"-?\d[\d.,]*(e[+-]?\d+)?( %)?", text)
    return f'<td class="number">{text}</td>' if number else f"<td>{html.escape(text)}</td>"


def _picture(picture: Picture) -> str:
    height, width = picture.image.shape[:2]
    scale = max(1, _SHOWN_SIDE // max(height, width))
    buffer = io.BytesIO()
    Image.fromarray(picture.image).save(buffer, "PNG")
    source = data_url(buffer.getvalue(), "image/png")
    return (
        f'<figure><img width="{width * scale}" height="{height * scale}" alt="" src="{source}">'
        f"<figcaption>{html.escape(picture.caption)}</figcaption></figure>"
    )
