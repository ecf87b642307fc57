"""Clothes, glasses and hats."""

from __future__ import annotations

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, linear, mix, rgb, tone
from vqgan_cli.core.data.synthetic.faces.head import Features
from vqgan_cli.core.data.synthetic.faces.parts import HEAD_METRES, Part
from vqgan_cli.core.data.synthetic.faces.person import Person
from vqgan_cli.core.data.synthetic.shapes import (
    Array,
    above,
    arc,
    box,
    capsule,
    disc,
    ellipse,
    intersect,
    outline,
    polygon,
    stadium,
    subtract,
    union,
)

__all__ = ["paint_body", "paint_glasses", "paint_hat"]

_BODY_METRES = 1.1
_GLASSES_METRES = HEAD_METRES - 0.13
_HAT_METRES = HEAD_METRES - 0.06


def paint_body(canvas: Canvas, person: Person) -> None:
    """Neck and shoulders, in a frame whose zero is the head's middle but that does not tilt."""
    clothes = person.clothes
    neck = 0.2 if person.age == "child" else 0.25
    shoulders = union(ellipse(0.0, 1.52, 1.02, 0.66), box(0.0, 2.2, 1.02, 0.7))
    if person.neckline == "hood":
        canvas.fill(ellipse(0.0, 0.98, 0.62, 0.3), tone(clothes, 0.72), Part.CLOTHES, _BODY_METRES + 0.1)
    # The chin's shadow falls on the neck.
    skin = linear(tone(person.skin, 0.6), tone(person.skin, 0.9), 0.6, 0.95)
    canvas.fill(box(0.0, 0.75, neck, 0.35, 0.08), skin, Part.SKIN, _BODY_METRES - 0.02)

    def cloth(x: Array, y: Array) -> Array:
        light = 0.75 + 0.25 * person.side * x - 0.3 * (y - 0.9) - 0.25 * x * x
        return mix(tone(clothes, 0.66), tone(clothes, 1.06), np.clip(light, 0.0, 1.0))

    canvas.fill(shoulders, cloth, Part.CLOTHES, _BODY_METRES)
    if person.neckline == "v":
        opening = polygon((-neck, 0.8), (neck, 0.8), (0.0, 1.2))
    else:
        opening = ellipse(0.0, 0.84, neck + 0.03, 0.12)
    canvas.fill(opening, skin, Part.SKIN, _BODY_METRES - 0.02)
    if person.neckline == "collar":
        for side in (-1.0, 1.0):
            leaf = polygon(
                (side * neck, 0.8), (side * (neck + 0.13), 0.88), (side * 0.22, 1.12), (0.02 * side, 0.98)
            )
            canvas.fill(leaf, tone(clothes, 1.25), Part.CLOTHES, _BODY_METRES - 0.03)
    elif person.neckline == "crew":
        canvas.fill(
            subtract(outline(opening, 0.03), above(0.86)),
            tone(clothes, 0.78),
            Part.CLOTHES,
            _BODY_METRES,
        )


def paint_glasses(canvas: Canvas, person: Person) -> None:
    """Two rims, the bridge and the sides; dark lenses are glasses, clear ones show the eye."""
    if not person.glasses:
        return
    features = Features(person)
    frame, y = person.frame_colour, features.eye_y + 0.01
    (left, _), (right, _) = features.eyes
    lenses = []
    for x, narrow in features.eyes:
        if person.glasses == "round":
            lenses.append(ellipse(x, y, 0.19 * narrow, 0.175))
        else:
            lenses.append(box(x, y + 0.01, 0.2 * narrow, 0.145, 0.07))
    for lens_ in lenses:
        if person.glasses == "sun":
            dark = linear(tone(frame, 0.6), mix(frame, rgb("8a7f8a"), 0.35), y - 0.15, y + 0.2)
            canvas.fill(lens_, dark, Part.GLASSES, _GLASSES_METRES)
        else:
            canvas.tint(lens_, rgb("eaf4ff"), 0.12)
        canvas.fill(outline(lens_, 0.023), frame, Part.GLASSES, _GLASSES_METRES)
    middle, gap = 0.5 * (left + right), 0.5 * (right - left) - 0.17
    canvas.fill(arc(middle, y - 0.05, gap, 0.03, 0.022, taper=0.0), frame, Part.GLASSES, _GLASSES_METRES)
    for x, side in ((left, -1.0), (right, 1.0)):
        edge = side * person.head_width - 0.02 * person.yaw
        temple = capsule(x + 0.19 * side, y - 0.04, edge, y - 0.06, 0.02)
        canvas.fill(temple, frame, Part.GLASSES, _GLASSES_METRES + 0.05)


def paint_hat(canvas: Canvas, person: Person) -> None:
    """A hat over the hair."""
    if not person.hat:
        return
    colour, width = person.hat_colour, person.head_width
    light, dark = tone(colour, 1.1), tone(colour, 0.68)
    turn = 0.05 * person.yaw

    def felt(x: Array, y: Array) -> Array:
        share = 0.6 + 0.35 * person.side * x - 0.3 * (y + 0.6) - 0.35 * x * x
        return mix(dark, light, np.clip(share, 0.0, 1.0))

    def knit(x: Array, y: Array) -> Array:
        return felt(x, y) * (1.0 + 0.06 * np.sin(42.0 * x)).astype(np.float32)

    # What sits under a hat's rim is in its shadow.
    canvas.glow(turn, -0.3, 0.6, 0.16, tone(person.skin, 0.5), 0.4)
    if person.hat == "beanie":
        dome = intersect(stadium(0.0, -0.3, -0.2, width + 0.11, 0.58), above(-0.34))
        canvas.fill(disc(0.0, -0.9, 0.12), tone(colour, 1.3), Part.HAT, _HAT_METRES)
        canvas.fill(dome, knit, Part.HAT, _HAT_METRES)
        canvas.fill(
            box(0.0, -0.37, width + 0.12, 0.085, 0.06), tone(colour, 0.8), Part.HAT, _HAT_METRES - 0.02
        )
    elif person.hat == "cap":
        dome = intersect(stadium(0.0, -0.3, -0.2, width + 0.1, 0.52), above(-0.32))
        canvas.fill(dome, felt, Part.HAT, _HAT_METRES)
        canvas.tint(disc(turn, -0.58, 0.09), tone(colour, 1.45), 0.9)
        brim = ellipse(3.0 * turn, -0.35, 0.5, 0.1)
        canvas.fill(brim, tone(colour, 0.75), Part.HAT, _HAT_METRES - 0.1)
    elif person.hat == "brim":
        dome = intersect(stadium(0.0, -0.42, -0.3, width - 0.06, 0.46), above(-0.4))
        canvas.fill(ellipse(0.0, -0.38, width + 0.36, 0.15), tone(colour, 0.82), Part.HAT, _HAT_METRES)
        canvas.fill(dome, felt, Part.HAT, _HAT_METRES)
        crown = stadium(0.0, -0.42, -0.3, width - 0.055, 0.46)
        band = subtract(intersect(crown, above(-0.4)), above(-0.52))
        canvas.tint(band, tone(colour, 0.5))
    else:
        canvas.fill(ellipse(0.12 * person.side, -0.58, width + 0.14, 0.27), felt, Part.HAT, _HAT_METRES)
        canvas.fill(
            capsule(0.1 * person.side, -0.84, 0.12 * person.side, -0.92, 0.03), dark, Part.HAT, _HAT_METRES
        )
