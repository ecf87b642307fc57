"""Plots as SVG: a dot per run beside the name of its arm, and curves. Nothing but text is needed to draw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Dots", "Lines", "plot", "ticks"]

_WIDTH, _LEFT, _RIGHT = 760, 170, 30
_ROW, _HEAD, _FOOT, _CURVES = 26, 34, 46, 240
_COLOURS = ("#1b6ca8", "#d1495b", "#2a9d5c", "#b5651d", "#6a4c93", "#00798c", "#7a7a7a")
"""Told apart also by most people who see no red or no green; names stand beside them anyway."""


@dataclass(frozen=True)
class Dots:
    """One figure of all arms: a row per arm, a dot per run, a line through their mean.

    Attributes:
        title: name of the figure with its unit.
        rows: values of its runs by the name of the arm.
    """

    title: str
    rows: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Lines:
    """Curves over a common axis.

    Attributes:
        title: of the upright axis, with the unit.
        across: of the other one.
        curves: points (x, y) of each run by the name of its arm; several runs may have one name.
    """

    title: str
    across: str
    curves: Sequence[tuple[str, Sequence[tuple[float, float]]]]


def plot(heading: str, panels: Sequence[Dots | Lines]) -> str:
    """An SVG image with the panels below one another."""
    heights = [_height(panel) for panel in panels]
    total = 40 + sum(heights)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{total}" viewBox="0 0 {_WIDTH} {total}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{_WIDTH}" height="{total}" fill="#fff"/>',
        _text(16, 26, heading, weight="bold"),
    ]
    top = 40
    for panel, height in zip(panels, heights, strict=True):
        parts += _dots(panel, top) if isinstance(panel, Dots) else _lines(panel, top)
        top += height
    return "\n".join([*parts, "</svg>", ""])


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` or below to ``high`` or above, 1, 2 or 5 times a power of ten apart."""
    if high <= low:
        margin = abs(low) * 0.05 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _height(panel: Dots | Lines) -> int:
    inner = _CURVES if isinstance(panel, Lines) else _ROW * len(panel.rows)
    return _HEAD + inner + _FOOT


def _dots(panel: Dots, top: int) -> list[str]:
    values = [value for row in panel.rows.values() for value in row]
    marks = ticks(min(values), max(values))
    bottom = top + _HEAD + _ROW * len(panel.rows)
    parts = [_text(16, top + 22, panel.title), *_across(marks, top + _HEAD, bottom)]
    for index, (name, row) in enumerate(panel.rows.items()):
        y = top + _HEAD + _ROW * index + _ROW / 2
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(_text(_LEFT - 10, y + 4, name, anchor="end"))
        parts += [
            f'<circle cx="{_x(value, marks):.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.55"/>'
            for value in row
        ]
        if row:
            x = _x(sum(row) / len(row), marks)
            parts.append(_line(x, y - 9, x, y + 9, colour, 2))
    return parts


def _lines(panel: Lines, top: int) -> list[str]:
    points = [point for _, curve in panel.curves for point in curve]
    across = ticks(min(x for x, _ in points), max(x for x, _ in points))
    up = ticks(min(y for _, y in points), max(y for _, y in points))
    ceiling, floor = top + _HEAD, top + _HEAD + _CURVES

    def y_of(value: float) -> float:
        return floor - (value - up[0]) / (up[-1] - up[0]) * _CURVES

    parts = [_text(16, top + 22, panel.title), *_across(across, ceiling, floor, panel.across)]
    for value in up:
        parts.append(_line(_LEFT, y_of(value), _WIDTH - _RIGHT, y_of(value), "#ddd", 1))
        parts.append(_text(_LEFT - 10, y_of(value) + 4, f"{value:g}", anchor="end"))
    names = list(dict.fromkeys(name for name, _ in panel.curves))
    for index, name in enumerate(names):
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(_text(16, ceiling + 18 + 20 * index, name, colour=colour, weight="bold"))
        for curve in (curve for each, curve in panel.curves if each == name):
            path = " ".join(f"{_x(x, across):.1f},{y_of(y):.1f}" for x, y in curve)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return parts


def _across(marks: Sequence[float], top: float, bottom: float, label: str = "") -> list[str]:
    """Upright lines at round numbers, which stand below them."""
    parts = []
    for value in marks:
        x = _x(value, marks)
        parts.append(_line(x, top, x, bottom, "#ddd", 1))
        parts.append(_text(x, bottom + 16, f"{value:g}", anchor="middle"))
    if label:
        parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 34, label, anchor="middle"))
    return parts


def _x(value: float, marks: Sequence[float]) -> float:
    return _LEFT + (value - marks[0]) / (marks[-1] - marks[0]) * (_WIDTH - _LEFT - _RIGHT)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = "", weight: str = "normal"
) -> str:
    fill = f' fill="{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"{fill}>{escape(text)}</text>'
