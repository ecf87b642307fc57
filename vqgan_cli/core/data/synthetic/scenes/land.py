"""Mountains, rolling land, forests on the horizon, and water."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, Colour, mix, rgb, tone
from vqgan_cli.core.data.synthetic.scenes.view import Part, View
from vqgan_cli.core.data.synthetic.shapes import Array, arc, below, box

__all__ = ["Range", "paint_forest", "paint_ground", "paint_range", "paint_water"]

_SNOW, _SNOW_SHADE = rgb("fbfcff"), rgb("bccbe0")


@dataclass(frozen=True)
class Range:
    """A mountain range: `kind` names its cells; lengths are in picture heights."""

    kind: int
    base: float
    height: float
    spacing: float
    far: float
    metres: float


def paint_range(canvas: Canvas, view: View, mountains: Range) -> tuple[float, float]:
    """Paint a range of peaks; returns the highest one near the middle of the picture."""
    peaks: list[tuple[float, float, float]] = []  # x, height, steepness
    for left, rng in view.cells(mountains.kind, mountains.spacing, mountains.height, canvas):
        height = mountains.height * rng.uniform(0.5, 1.0)
        peaks.append((left + mountains.spacing * rng.uniform(0.15, 0.85), height, rng.uniform(0.75, 1.15)))
    xs, heights, slopes = (np.array(column, np.float32)[:, None] for column in zip(*peaks, strict=True))

    def tents(x: Array) -> Array:
        return heights - slopes * np.abs(x - xs)  # [peaks, W]

    def crest(x: Array) -> Array:
        jag = 0.009 * np.sin(53.0 * x + 2.0) + 0.006 * np.sin(117.0 * x)
        rise: Array = np.maximum(tents(x).max(axis=0, keepdims=True), 0.25 * mountains.height)
        return mountains.base - rise - jag * mountains.height / 0.3

    rock = view.light.rock
    lit, dark = mix(tone(rock, 1.16), view.light.sun, 0.12), tone(rock, 0.78)
    snow_lit = mix(_SNOW * view.light.ambient, view.light.sun, 0.2)
    snow_dark = _SNOW_SHADE * view.light.ambient

    def paint(x: Array, y: Array) -> Array:
        rise = tents(x)
        owner = rise.argmax(axis=0)
        second, first = np.partition(rise, -2, axis=0)[-2:]
        fall = y - (mountains.base - heights[owner].T)  # depth under the own peak, [h, w]
        ridge = xs[owner].T + 0.22 * fall * np.sin(31.0 * y + 7.0 * xs[owner].T) - 0.1 * fall * view.side
        sunny = np.clip((x - ridge) * (view.side * 0.5 * canvas.unit) + 0.5, 0.0, 1.0)
        # Where two peaks meet, both sides take the same middle tone: no seam runs down the valley.
        sunny = 0.45 + (sunny - 0.45) * np.clip((first - second) * 9.0, 0.0, 1.0)
        edge = view.snow_line + 0.022 * np.sin(61.0 * x) + 0.014 * np.sin(37.0 * x + 1.0)
        # Snow and haze go by altitude, not by peak, so that they do not break off where two peaks meet.
        under = y - (mountains.base - mountains.height)
        snow = np.clip((edge - under) * canvas.unit + 0.5, 0.0, 1.0)
        colour = mix(mix(dark, lit, sunny), mix(snow_dark, snow_lit, sunny), snow)
        haze = mountains.far + (0.75 - mountains.far) * np.square(np.clip(under / mountains.height, 0.0, 1.0))
        return mix(colour, view.light.haze, haze)

    top = mountains.base - 1.1 * mountains.height
    shape = below(crest, canvas.left, canvas.right, top, max(mountains.base + 0.1, canvas.bottom))
    canvas.fill(shape, paint, Part.MOUNTAIN, mountains.metres)
    middle = [(h, x) for x, h, _ in peaks if abs(x) < 0.5]
    height, x = max(middle) if middle else (0.0, 0.0)
    return x, mountains.base - height


def paint_forest(canvas: Canvas, view: View, ground: Callable[[Array], Array], far: float) -> None:
    """The tops of distant trees along a line of ground."""
    colour = view.tinted(view.light.conifer, far)

    def tops(x: Array) -> Array:
        teeth = np.abs(np.sin(58.0 * x + 3.0 * np.sin(7.0 * x)))
        return ground(x) - 0.018 - 0.022 * teeth - 0.012 * np.sin(9.0 * x + view.waves[1][2])

    y0 = float(ground(np.zeros((1, 1), np.float32))[0, 0])

    def paint(x: Array, y: Array) -> Array:
        return mix(tone(colour, 1.1), tone(colour, 0.88), np.clip(0.5 + (y - y0) * 8.0, 0.0, 1.0))

    canvas.fill(
        below(tops, canvas.left, canvas.right, -1.0, canvas.bottom),
        paint,
        Part.TREE,
        view.metres(view.horizon),
    )


def paint_ground(
    canvas: Canvas, view: View, curve: Callable[[Array], Array], far: float, colour: Colour | None = None
) -> None:
    """Land below `curve`, lit along its upper edge."""
    base = view.tinted(view.light.meadow if colour is None else colour, far)
    lit, dark = mix(tone(base, 1.08), view.light.glow * view.light.ambient, 0.14), tone(base, 0.74)

    def paint(x: Array, y: Array) -> Array:
        under = y - curve(x)
        roll = 0.05 * np.sin(16.0 * under + 5.0 * x) + 0.1 * view.side * np.sin(2.3 * x)
        return mix(lit, dark, np.clip(2.1 * under + roll, 0.0, 1.0))

    shape = below(curve, canvas.left, canvas.right, -1.0, canvas.bottom)
    canvas.fill(shape, paint, Part.GROUND, view.metres_over)


def paint_water(canvas: Canvas, view: View, shore: float) -> None:
    """A calm lake from `shore` down, mirroring what has been painted above it."""
    above = canvas.image.copy()
    columns, last = np.arange(above.shape[2])[None, :], above.shape[1] - 1
    deep = mix(view.light.zenith, rgb("2f6f86") * view.light.ambient, 0.5)

    def paint(x: Array, y: Array) -> Array:
        under = y - shore
        ripple = 0.016 * np.sin(150.0 * np.sqrt(np.maximum(under, 0.0)) + 4.0 * np.sin(5.0 * x)) * under
        row = np.clip((shore - 1.15 * under + ripple) * canvas.unit - 0.5, 0.0, last)
        upper = row.astype(np.intp)
        lower = np.minimum(upper + 1, last)
        mirrored = mix(above[:, upper, columns], above[:, lower, columns], row - np.floor(row))
        return mix(mirrored, tone(deep, 0.9), np.clip(0.28 + 0.9 * under, 0.0, 0.75))

    canvas.fill(
        box(0.5 * (canvas.left + canvas.right), 0.5 * (shore + canvas.bottom),
            0.5 * (canvas.right - canvas.left) + 0.1, 0.5 * (canvas.bottom - shore) + 1e-3),
        paint, Part.WATER, view.metres_over,
    )  # fmt: skip
    x, spread = view.sun[0], 0.035
    for k in range(9):
        y = shore + 0.012 + 0.0042 * k * (k + 1.5)
        dash = arc(x + 0.02 * math.sin(9.0 * k), y, spread + 0.008 * k, 0.0, 0.0035 + 0.0006 * k)
        canvas.tint(dash, view.light.glow, 0.75 - 0.05 * k)
