"""Plane shapes as signed distances, the form in which anti-aliasing costs nothing extra.

A distance is negative inside; it must be right near the outline and may be rough elsewhere. Functions take
coordinate arrays that broadcast against each other, so that an upright frame works on [1, W] and [H, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Box",
    "Shape",
    "above",
    "arc",
    "below",
    "blob",
    "box",
    "capsule",
    "disc",
    "ellipse",
    "intersect",
    "lens",
    "outline",
    "polygon",
    "stadium",
    "subtract",
    "union",
]

Array = NDArray[np.float32]
Box = tuple[float, float, float, float]  # left, top, right, bottom; y points down
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Shape:
    """A region of the plane: a box that contains it and its signed distance function (x, y) -> d."""

    box: Box
    distance: Callable[[Array, Array], Array]


def disc(cx: float, cy: float, radius: float) -> Shape:
    """A circle's inside."""

    def distance(x: Array, y: Array) -> Array:
        dx, dy = x - cx, y - cy
        return np.sqrt(dx * dx + dy * dy) - radius

    return Shape((cx - radius, cy - radius, cx + radius, cy + radius), distance)


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Shape:
    """An upright ellipse."""
    return stadium(cx, cy, cy, rx, ry)


def stadium(cx: float, top: float, bottom: float, rx: float, ry: float, taper: float = 0.0) -> Shape:
    """An ellipse whose centre is drawn out from `top` to `bottom`; `taper` narrows its lower half's end.

    At a depth v = (y - bottom) / ry below the lower centre the half-width is rx (1 - taper v^2) times the
    ellipse's own, which turns an egg-shaped chin into a pointed one.
    """

    def distance(x: Array, y: Array) -> Array:
        v = (y - np.clip(y, top, bottom)) / ry
        u = (x - cx) / rx
        if taper:
            u = u / (1.0 - taper * np.square(np.clip(v, 0.0, 1.0)))
        u2, v2 = u * u, v * v
        radius = np.sqrt(u2 + v2)
        slope = np.sqrt(u2 / (rx * rx) + v2 / (ry * ry))
        # First order: (radius - 1) / |gradient of radius|, kept finite at the centre.
        return (radius - 1.0) * (radius + _TINY) / (slope + _TINY / max(rx, ry))

    return Shape((cx - rx, top - ry, cx + rx, bottom + ry), distance)


def blob(cx: float, cy: float, rx: float, ry: float, bumps: int, height: float, phase: float) -> Shape:
    """An ellipse with `bumps` round bulges of relative `height` along its outline."""

    def distance(x: Array, y: Array) -> Array:
        u, v = (x - cx) / rx, (y - cy) / ry
        swell = 1.0 - height + height * np.abs(np.sin(np.arctan2(v, u) * (0.5 * bumps) + phase))
        return (np.sqrt(u * u + v * v) - swell) * min(rx, ry)

    return Shape((cx - rx, cy - ry, cx + rx, cy + ry), distance)


def box(cx: float, cy: float, half_width: float, half_height: float, radius: float = 0.0) -> Shape:
    """An upright rectangle with corners of `radius`."""

    def distance(x: Array, y: Array) -> Array:
        dx = np.abs(x - cx) - (half_width - radius)
        dy = np.abs(y - cy) - (half_height - radius)
        inside = np.minimum(np.maximum(dx, dy), 0.0)
        dx, dy = np.maximum(dx, 0.0), np.maximum(dy, 0.0)
        return np.sqrt(dx * dx + dy * dy) + inside - radius

    return Shape((cx - half_width, cy - half_height, cx + half_width, cy + half_height), distance)


def capsule(ax: float, ay: float, bx: float, by: float, radius: float) -> Shape:
    """A line from a to b with round ends and half-width `radius`."""
    ex, ey = bx - ax, by - ay
    length2 = ex * ex + ey * ey + _TINY

    def distance(x: Array, y: Array) -> Array:
        dx, dy = x - ax, y - ay
        t: Array = np.clip((dx * ex + dy * ey) / length2, 0.0, 1.0)
        dx, dy = dx - t * ex, dy - t * ey
        return np.sqrt(dx * dx + dy * dy) - radius

    corners = (min(ax, bx) - radius, min(ay, by) - radius, max(ax, bx) + radius, max(ay, by) + radius)
    return Shape(corners, distance)


def polygon(*points: tuple[float, float]) -> Shape:
    """A convex polygon; the order of the points may turn either way."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    area = sum(ax * by - bx * ay for (ax, ay), (bx, by) in _sides(points))
    turn = 1.0 if area > 0 else -1.0
    planes: list[tuple[float, float, float]] = []  # outward normal, offset
    for (ax, ay), (bx, by) in _sides(points):
        length = math.hypot(bx - ax, by - ay)
        nx, ny = turn * (by - ay) / length, -turn * (bx - ax) / length
        planes.append((nx, ny, nx * ax + ny * ay))

    def distance(x: Array, y: Array) -> Array:
        nx, ny, offset = planes[0]
        d = x * nx + (y * ny - offset)
        for nx, ny, offset in planes[1:]:
            d = np.maximum(d, x * nx + (y * ny - offset))
        return d

    return Shape((min(xs), min(ys), max(xs), max(ys)), distance)


def _sides(points: Sequence[tuple[float, float]]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return list(zip(points, [*points[1:], points[0]], strict=True))


def lens(cx: float, cy: float, half: float, top: float, bottom: float) -> Shape:
    """The region between two parabolas that meet at (cx - half, cy) and (cx + half, cy).

    `top` < `bottom` are their offsets from cy at the middle: eyes, lips and open mouths.
    """

    def distance(x: Array, y: Array) -> Array:
        t = (x - cx) / half
        q, slope = 1.0 - t * t, t * (-2.0 / half)
        dy = y - cy
        above = (top * q - dy) / np.sqrt(1.0 + np.square(top * slope))
        under = (dy - bottom * q) / np.sqrt(1.0 + np.square(bottom * slope))
        return np.maximum(above, under)

    return Shape((cx - half, cy + min(top, 0.0), cx + half, cy + max(bottom, 0.0)), distance)


def arc(
    cx: float, cy: float, half: float, bend: float, width: float, *, slope: float = 0.0, taper: float = 1.0
) -> Shape:
    """A parabolic stroke: y = cy + slope t - bend t^2 for t in [-1, 1], half-width width (1 - taper t^2)."""

    def distance(x: Array, y: Array) -> Array:
        t = (x - cx) / half
        t2 = t * t
        d = np.abs(y - (cy + slope * t - bend * t2)) - width * (1.0 - taper * t2)
        d = d / np.sqrt(1.0 + np.square((slope - 2.0 * bend * t) / half))
        return np.maximum(d, np.abs(x - cx) - half)

    reach = abs(slope) + abs(bend) + width
    return Shape((cx - half, cy - reach, cx + half, cy + reach), distance)


def above(y0: float) -> Shape:
    """Everything higher than y0, to cut other shapes with."""
    return Shape((-math.inf, -math.inf, math.inf, y0), lambda x, y: y - y0)


def below(curve: Callable[[Array], Array], left: float, right: float, top: float, bottom: float) -> Shape:
    """The region under the graph y = curve(x) (y points down); `top` must not lie below any of it."""
    step = 1e-3

    def distance(x: Array, y: Array) -> Array:
        slope: Array = (curve(x + step) - curve(x - step)) / (2.0 * step)
        return (curve(x) - y) / np.sqrt(1.0 + slope * slope)

    return Shape((left, top, right, bottom), distance)


def intersect(a: Shape, b: Shape) -> Shape:
    """What lies in both."""
    left, top = max(a.box[0], b.box[0]), max(a.box[1], b.box[1])
    right, bottom = min(a.box[2], b.box[2]), min(a.box[3], b.box[3])
    return Shape((left, top, right, bottom), lambda x, y: np.maximum(a.distance(x, y), b.distance(x, y)))


def subtract(a: Shape, b: Shape) -> Shape:
    """What lies in `a` and not in `b`."""
    return Shape(a.box, lambda x, y: np.maximum(a.distance(x, y), -b.distance(x, y)))


def union(*shapes: Shape) -> Shape:
    """What lies in any of them."""

    def distance(x: Array, y: Array) -> Array:
        d = shapes[0].distance(x, y)
        for shape in shapes[1:]:
            d = np.minimum(d, shape.distance(x, y))
        return d

    boxes = [shape.box for shape in shapes]
    left, top = min(b[0] for b in boxes), min(b[1] for b in boxes)
    return Shape((left, top, max(b[2] for b in boxes), max(b[3] for b in boxes)), distance)


def outline(shape: Shape, width: float) -> Shape:
    """A band of half-width `width` along the shape's border."""
    left, top, right, bottom = shape.box
    grown = (left - width, top - width, right + width, bottom + width)

    def distance(x: Array, y: Array) -> Array:
        d: Array = np.abs(shape.distance(x, y))
        return d - width

    return Shape(grown, distance)
