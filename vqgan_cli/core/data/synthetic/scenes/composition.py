"""What stands where: a landscape from its far end to its near one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, mix
from vqgan_cli.core.data.synthetic.scenes.land import (
    Range,
    paint_forest,
    paint_ground,
    paint_range,
    paint_water,
)
from vqgan_cli.core.data.synthetic.scenes.sky import paint_sky
from vqgan_cli.core.data.synthetic.scenes.things import (
    House,
    Tree,
    draw_house,
    draw_tree,
    paint_boat,
    paint_house,
    paint_tree,
)
from vqgan_cli.core.data.synthetic.scenes.view import View
from vqgan_cli.core.data.synthetic.shapes import Array

__all__ = ["compose"]

# Kinds of cells; the sky has 0 and 1.
_FAR_RANGE, _NEAR_RANGE, _MIDDLE_TREES, _NEAR_TREES, _HOUSES, _BOATS = range(2, 8)

Curve = Callable[[Array], Array]
Landmarks = dict[str, tuple[float, float]]


def compose(canvas: Canvas, view: View) -> Landmarks:
    """Paint the landscape; returns its landmarks in the canvas's coordinates."""
    landmarks: Landmarks = {
        "sun": view.sun,
        "horizon_left": (canvas.left, view.horizon),
        "horizon_right": (canvas.right, view.horizon),
    }
    paint_sky(canvas, view)
    if view.terrain == "mountain":
        _compose_mountain(canvas, view, landmarks)
    elif view.terrain == "lake":
        _compose_lake(canvas, view, landmarks)
    else:
        _compose_village(canvas, view, landmarks)
    return landmarks


def _compose_mountain(canvas: Canvas, view: View, landmarks: Landmarks) -> None:
    h = view.horizon
    paint_range(canvas, view, Range(_FAR_RANGE, h + 0.02, 0.34, 0.42, 0.5, 12_000.0))
    landmarks["peak"] = paint_range(canvas, view, Range(_NEAR_RANGE, h + 0.08, 0.4, 0.6, 0.08, 6_000.0))
    middle = view.ridge(h + 0.1, 0.05, 0.0, 1.0)
    paint_forest(canvas, view, middle, 0.35)
    paint_ground(canvas, view, middle, 0.25)
    _stand(canvas, view, _MIDDLE_TREES, middle, 0.15, 0.13, 0.2, landmarks)
    front = view.ridge(h + 0.25, 0.05, 2.0, 0.8)
    paint_ground(canvas, view, front, 0.0)
    _stand(canvas, view, _NEAR_TREES, front, 0.34, 0.27, 0.0, landmarks)


def _compose_lake(canvas: Canvas, view: View, landmarks: Landmarks) -> None:
    h = view.horizon
    landmarks["peak"] = paint_range(canvas, view, Range(_FAR_RANGE, h + 0.04, 0.3, 0.5, 0.3, 9_000.0))
    bank = view.ridge(h - 0.01, 0.03, 0.0, 1.0)
    paint_forest(canvas, view, bank, 0.35)
    paint_ground(canvas, view, bank, 0.3)
    paint_water(canvas, view, h + 0.045)
    for left, rng in view.cells(_BOATS, 0.8, 0.1, canvas):
        if rng.random() < 0.6:
            x, y, size = left + rng.uniform(0.1, 0.7), h + rng.uniform(0.1, 0.19), rng.uniform(0.11, 0.16)
            paint_boat(canvas, view, x, y, size)
            if abs(x) < 0.5:
                landmarks["boat_foot"], landmarks["boat_top"] = (x, y + 0.15 * size), (x, y - 0.95 * size)
    front = view.ridge(0.93, 0.07, 2.0, 0.7)
    paint_ground(canvas, view, front, 0.0)
    _stand(canvas, view, _NEAR_TREES, front, 0.42, 0.3, 0.0, landmarks)


def _compose_village(canvas: Canvas, view: View, landmarks: Landmarks) -> None:
    h = view.horizon
    landmarks["peak"] = paint_range(canvas, view, Range(_FAR_RANGE, h + 0.02, 0.2, 0.5, 0.55, 12_000.0))
    back = view.ridge(h - 0.01, 0.05, 0.0, 1.0)
    paint_forest(canvas, view, back, 0.4)
    paint_ground(canvas, view, back, 0.35, mix(view.light.meadow, view.light.leaves[0], 0.35))
    middle = view.ridge(h + 0.09, 0.045, 1.0, 0.9)
    paint_ground(canvas, view, middle, 0.15)
    houses = _draw_houses(canvas, view, middle)
    _stand(canvas, view, _MIDDLE_TREES, middle, 0.19, 0.14, 0.15, landmarks, houses)
    front = view.ridge(h + 0.29, 0.04, 2.0, 0.8)
    paint_ground(canvas, view, front, 0.0, mix(view.light.meadow, view.light.leaves[-1], 0.3))
    _stand(canvas, view, _NEAR_TREES, front, 0.5, 0.22, 0.0, landmarks)


def _draw_houses(canvas: Canvas, view: View, ground: Curve) -> list[House]:
    houses = []
    for left, rng in view.cells(_HOUSES, 0.34, 0.2, canvas):
        # The two cells next to the middle always hold one: every village can be seen.
        if rng.random() < 0.75 or left in (0.0, -0.34):
            x = left + rng.uniform(0.1, 0.24)
            houses.append(
                draw_house(rng, x, _height(ground, x) + rng.uniform(0.04, 0.12), 0.105, rng.random() < 0.22)
            )
    return houses


def _stand(
    canvas: Canvas,
    view: View,
    kind: int,
    ground: Curve,
    spacing: float,
    height: float,
    far: float,
    landmarks: Landmarks,
    houses: list[House] | None = None,
) -> None:
    """Scatter trees, among houses if there are any, and paint all from the far ones to the near ones."""
    things: list[Tree | House] = list(houses or ())
    for left, rng in view.cells(kind, spacing, 0.5 * height, canvas):
        if rng.random() < view.trees:
            x = left + spacing * rng.random()
            y = _height(ground, x) + rng.uniform(0.01, 0.09)
            things.append(draw_tree(view, rng, x, y, height))
    for thing in sorted(things, key=lambda each: each.y):
        if isinstance(thing, House):
            paint_house(canvas, view, thing, far)
            if abs(thing.x) < 0.4:
                end = thing.side * thing.size
                left, right = sorted((thing.x - end, thing.x + thing.long * end))
                landmarks["house_left"], landmarks["house_right"] = (left, thing.y), (right, thing.y)
                landmarks["house_top"] = (thing.x - 0.5 * end, thing.y - 1.27 * thing.size)
        else:
            paint_tree(canvas, view, thing, far)
            if abs(thing.x) < 0.45:
                landmarks["tree_foot"] = (thing.x, thing.y)
                landmarks["tree_top"] = (thing.x, thing.y - thing.height)


def _height(curve: Curve, x: float) -> float:
    return float(curve(np.full((1, 1), x, np.float32))[0, 0])
