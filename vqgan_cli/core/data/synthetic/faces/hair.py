"""Hair: the mass behind the head, and what falls over the forehead and in front of the shoulders."""

from __future__ import annotations

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, Paint, mix
from vqgan_cli.core.data.synthetic.faces.parts import HEAD_METRES, Part
from vqgan_cli.core.data.synthetic.faces.person import Person
from vqgan_cli.core.data.synthetic.shapes import (
    Array,
    Shape,
    above,
    below,
    blob,
    intersect,
    stadium,
    subtract,
)

__all__ = ["paint_back_hair", "paint_front_hair"]


def _strands(person: Person, brightness: float) -> Paint:
    """Hair colour with a soft band of light around the crown and faint strands or curls."""
    low, high = person.hair * (0.7 * brightness), person.hair * (1.16 * brightness) + 0.05
    curly = person.hair_kind == "curly"

    def paint(x: Array, y: Array) -> Array:
        ring = np.sqrt(x * x + np.square(y + 0.05)) - 0.62
        light = 0.4 + 0.35 * np.exp(-60.0 * ring * ring) * np.clip(0.3 - y, 0.0, 1.0)
        light = light + 0.16 * person.side * x - 0.2 * y
        if curly:
            wave = np.sin(13.0 * y + person.phase)
            light = light + 0.13 * np.sin(17.0 * x + 2.2 * wave) * np.cos(15.0 * y + 9.0 * x)
        else:
            light = light + 0.05 * np.sin(38.0 * x + 6.0 * y * x + person.phase)
        return mix(low, high, np.clip(light, 0.0, 1.0))

    return paint


def _outline(person: Person) -> Shape:
    """The outer border of the whole hair."""
    volume = 0.6 * person.volume if person.hat else person.volume
    width, height = person.head_width + volume, person.head_height + volume
    if person.hair_kind == "curly":
        reach = width + (0.1 if person.hat else 0.16)
        drop = 0.25 * person.length
        return blob(0.0, -0.14 + drop, reach, height + 0.1 + drop, 17, 0.09, person.phase)
    if person.hair_kind == "long":
        return stadium(0.0, -0.1, person.length, width + 0.07, height)
    return stadium(0.0, -0.1, 0.02, width, height)


def paint_back_hair(canvas: Canvas, person: Person) -> None:
    """What is seen beside the neck; nothing for short hair."""
    if person.hair_kind != "short":
        canvas.fill(_outline(person), _strands(person, 0.8), Part.HAIR, HEAD_METRES + 0.08)


def _hairline(person: Person) -> Shape:
    """What lies below the border between forehead and hair, two parabolas that meet at the parting."""
    top, temple = (-0.2, 0.1) if person.fringe else (person.hairline, 0.12)
    middle = 0.0 if person.fringe else person.parting
    middle += 0.05 * person.yaw
    left = (temple - top) / (person.head_width + middle) ** 2
    right = (temple - top) / (person.head_width - middle) ** 2
    ruffle = 0.022 if person.hair_kind == "curly" else 0.006

    def curve(x: Array) -> Array:
        d = x - middle
        edge = top + left * np.square(np.minimum(d, 0.0)) + right * np.square(np.maximum(d, 0.0))
        return edge + ruffle * np.sin(28.0 * x + person.phase)

    return below(curve, -2.0, 2.0, -2.0, 3.0)


def paint_front_hair(canvas: Canvas, person: Person) -> None:
    """What is seen over the head, ending at the hairline and, for short hair, in front of the ears."""
    volume = 0.6 * person.volume if person.hat else person.volume
    if person.hair_kind == "short":
        cap = stadium(0.0, -0.1, 0.02, person.head_width + 0.6 * volume, person.head_height + volume)
        region = intersect(cap, above(0.1))
    elif person.hair_kind == "long":
        drop = 0.6 * person.length
        region = stadium(0.0, -0.1, drop, person.head_width + volume, person.head_height + volume)
    else:
        region = _outline(person)
    hair = subtract(region, _hairline(person))
    canvas.fill(hair, _strands(person, 1.0), Part.HAIR, HEAD_METRES - 0.04)
