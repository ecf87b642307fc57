"""What stands on the land: trees, houses and a church, a boat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, Colour, Paint, mix, rgb, tone
from vqgan_cli.core.data.synthetic.scenes.view import Part, View
from vqgan_cli.core.data.synthetic.shapes import Array, blob, box, lens, polygon, union

__all__ = ["House", "Tree", "draw_house", "draw_tree", "paint_boat", "paint_house", "paint_tree"]

_WALLS = tuple(map(rgb, ("f3ead8", "e9d3a8", "b5523f", "dfe3e2", "d9a566", "a9bcc4")))
_ROOFS = tuple(map(rgb, ("a44a36", "7a4a3c", "5b6470", "8f5a3c")))
_TRUNK = rgb("6a4b38")
_SNOW = rgb("f6f9ff")
_LAMP = rgb("ffd584")


@dataclass(frozen=True)
class Tree:
    """A tree whose foot is at (x, y)."""

    x: float
    y: float
    height: float
    conifer: bool
    width: float
    shade: float
    leaf: int
    phase: float


@dataclass(frozen=True)
class House:
    """A house whose near corner on the ground is at (x, y); `size` is the width of its gable end."""

    x: float
    y: float
    size: float
    long: float
    walls: Colour
    roof: Colour
    church: bool
    side: float


def draw_tree(view: View, rng: np.random.Generator, x: float, y: float, height: float) -> Tree:
    """A tree of about this height."""
    return Tree(
        x=x,
        y=y,
        height=height * rng.uniform(0.8, 1.2),
        conifer=rng.random() < view.conifers,
        width=rng.uniform(0.85, 1.15),
        shade=rng.uniform(0.88, 1.1),
        leaf=int(rng.integers(len(view.light.leaves))),
        phase=rng.uniform(0.0, 6.28),
    )


def draw_house(rng: np.random.Generator, x: float, y: float, size: float, church: bool) -> House:
    """A house of about this size."""
    return House(
        x=x,
        y=y,
        size=size * rng.uniform(0.9, 1.15),
        long=rng.uniform(1.1, 1.6),
        walls=_WALLS[0] if church else _WALLS[int(rng.integers(len(_WALLS)))],
        roof=_ROOFS[int(rng.integers(len(_ROOFS)))],
        church=church,
        side=1.0 if rng.random() < 0.5 else -1.0,
    )


def paint_tree(canvas: Canvas, view: View, tree: Tree, far: float) -> None:
    """Trunk and crown, lit from the sun's side."""
    x, y, h = tree.x, tree.y, tree.height
    depth = view.metres(y)
    canvas.glow(x - 0.1 * h * view.side, y, 0.32 * h, 0.06 * h, rgb("1b2230"), 0.4)
    trunk = box(x, y - 0.1 * h, (0.03 if tree.conifer else 0.045) * h, 0.12 * h)
    canvas.fill(trunk, view.tinted(_TRUNK, far), Part.TREE, depth)
    leaves = view.light.conifer if tree.conifer else view.light.leaves[tree.leaf]
    colour = view.tinted(tone(leaves, tree.shade), far)
    if tree.conifer:
        w = 0.24 * h * tree.width
        crown = union(
            polygon((x - w, y - 0.12 * h), (x + w, y - 0.12 * h), (x, y - 0.62 * h)),
            polygon((x - 0.8 * w, y - 0.36 * h), (x + 0.8 * w, y - 0.36 * h), (x, y - 0.82 * h)),
            polygon((x - 0.58 * w, y - 0.6 * h), (x + 0.58 * w, y - 0.6 * h), (x, y - h)),
        )
        canvas.fill(crown, _crown(view, colour, x, y - 0.5 * h, w, 0.6 * h), Part.TREE, depth)
    else:
        r = 0.33 * h * tree.width
        crown = blob(x, y - 0.6 * h, r, 0.41 * h, 8, 0.12, tree.phase)
        canvas.fill(crown, _crown(view, colour, x, y - 0.6 * h, r, 0.4 * h), Part.TREE, depth)


def _crown(view: View, colour: Colour, cx: float, cy: float, rx: float, ry: float) -> Paint:
    lit, dark = mix(tone(colour, 1.12), view.light.sun * view.light.ambient, 0.12), tone(colour, 0.68)
    if view.season == "winter":
        lit = mix(lit, _SNOW, 0.75)

    def paint(x: Array, y: Array) -> Array:
        light = 0.5 + 0.42 * view.side * (x - cx) / rx - 0.36 * (y - cy) / ry
        return mix(dark, lit, np.clip(light, 0.0, 1.0))

    return paint


def paint_house(canvas: Canvas, view: View, house: House, far: float) -> None:
    """A gable end and a long side under one roof; a church has a tower as well. Windows glow at night."""
    s, turn, depth = house.size, house.side, view.metres(house.y)
    winter, night = view.season == "winter", view.season == "night"
    tall, rise, length = 0.72 * s, 0.55 * s, house.long * s

    def at(u: float, v: float) -> tuple[float, float]:
        return house.x + turn * u, house.y - v

    def wall(shape_points: tuple[tuple[float, float], ...], colour: Colour) -> None:
        canvas.fill(polygon(*shape_points), view.tinted(colour, far), Part.HOUSE, depth)

    bright = house.side != view.side  # the gable end turns to the other side than the long wall
    front = tone(house.walls, 1.0 if bright else 0.86)
    flank = tone(house.walls, 0.8 if bright else 0.95)
    roof = mix(house.roof, _SNOW, 0.88) if winter else house.roof
    canvas.glow(house.x, house.y, 1.5 * s, 0.16 * s, rgb("1b2230"), 0.4)
    if not house.church:
        chimney = box(house.x + turn * 0.75 * length, house.y - tall - 0.95 * rise, 0.08 * s, 0.28 * s)
        canvas.fill(chimney, view.tinted(tone(house.roof, 0.8), far), Part.HOUSE, depth)
    wall((at(0, 0), at(length, 0), at(length, tall), at(0, tall)), flank)
    wall((at(0, 0), at(-s, 0), at(-s, tall), at(-0.5 * s, tall + rise), at(0, tall)), front)
    over = 0.08 * s
    ridge, eave = tall + rise + 0.5 * over, tall - over
    wall((at(-0.5 * s, ridge), at(length - 0.4 * s, ridge), at(length + over, eave), at(over, eave)), roof)
    if house.church:
        base = -0.5 * s
        tower, spire = tall + 1.1 * s, tall + 2.2 * s
        wall(
            (
                at(base - 0.3 * s, 0),
                at(base + 0.3 * s, 0),
                at(base + 0.3 * s, tower),
                at(base - 0.3 * s, tower),
            ),
            front,
        )
        wall((at(base - 0.38 * s, tower), at(base + 0.38 * s, tower), at(base, spire)), tone(roof, 0.9))
    glass = _LAMP if night else rgb("5a6b7d")
    door = view.tinted(tone(house.roof, 0.62), far)
    panes = [(0.3 * length, 0.42), (0.7 * length, 0.42), (-0.5 * s, 0.95 if not house.church else 1.45)]
    for u, v in panes:
        pane = box(house.x + turn * u, house.y - v * s, 0.1 * s, 0.12 * s)
        canvas.tint(pane, glass if night else view.tinted(glass, far))
        if night:
            canvas.glow(house.x + turn * u, house.y - v * s, 0.4 * s, 0.4 * s, _LAMP, 0.35)
    canvas.tint(box(house.x - turn * 0.5 * s, house.y - 0.22 * s, 0.12 * s, 0.22 * s), door)


def paint_boat(canvas: Canvas, view: View, x: float, y: float, size: float) -> None:
    """A small sailing boat seen from the side."""
    depth = view.metres(y)
    sail, hull = rgb("f7f1e3") * view.light.ambient, rgb("a4483a") * view.light.ambient
    canvas.glow(x, y + 0.16 * size, 0.6 * size, 0.2 * size, mix(hull, sail, 0.3), 0.5)
    main = polygon(
        (x - 0.02 * size, y - 0.05 * size), (x + 0.42 * size, y - 0.05 * size), (x, y - 0.95 * size)
    )
    jib = polygon(
        (x - 0.06 * size, y - 0.05 * size),
        (x - 0.36 * size, y - 0.05 * size),
        (x - 0.06 * size, y - 0.75 * size),
    )
    canvas.fill(main, sail, Part.BOAT, depth)
    canvas.fill(jib, tone(sail, 0.86), Part.BOAT, depth)
    canvas.fill(lens(x, y - 0.02 * size, 0.52 * size, 0.0, 0.2 * size), hull, Part.BOAT, depth)
