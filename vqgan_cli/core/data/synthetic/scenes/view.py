"""What a landscape is like: light, season and terrain, drawn once, independent of the size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, Colour, mix
from vqgan_cli.core.data.synthetic.scenes.light import LIGHTS, Light
from vqgan_cli.core.data.synthetic.shapes import Array

__all__ = ["TERRAINS", "Part", "View", "draw_view"]

TERRAINS = ("mountain", "lake", "village")


class Part(IntEnum):
    """Values of the label map."""

    SKY = 0
    SUN = 1
    MOON = 2
    CLOUD = 3
    MOUNTAIN = 4
    GROUND = 5
    WATER = 6
    TREE = 7
    HOUSE = 8
    BOAT = 9


@dataclass(frozen=True)
class View:
    """Lengths are in picture heights; x has its zero in the middle of the picture and has no ends.

    Things that fill the panorama to both sides come from `cells`, and ridges from sums of waves, so that a
    wider picture shows more of the same landscape.
    """

    key: int
    terrain: str
    season: str
    light: Light
    sun: tuple[float, float]
    sun_radius: float
    crescent: bool
    side: float
    horizon: float
    snow_line: float
    cloudiness: float
    trees: float
    conifers: float
    waves: tuple[tuple[float, float, float], ...]  # relative height, cycles per unit, phase

    def cells(
        self, kind: int, size: float, reach: float, canvas: Canvas
    ) -> Iterator[tuple[float, np.random.Generator]]:
        """The cells of one kind, each with its left end and its own random numbers.

        Cells are `size` wide; those come that the canvas can see if their contents stick out by `reach`.
        """
        first, last = math.floor((canvas.left - reach) / size), math.ceil((canvas.right + reach) / size)
        for cell in range(first, last):
            # Counter-based: no cell depends on another, and the lowest word is the stream's own.
            counter = (0, cell + 2**32, kind, 0)
            yield cell * size, np.random.Generator(np.random.Philox(key=self.key, counter=counter))

    def ridge(self, base: float, height: float, shift: float, stretch: float) -> Callable[[Array], Array]:
        """The graph of rolling land around y = base; different shifts give unlike ridges."""
        waves = [
            (height * relative, 2.0 * math.pi * cycles * stretch, phase + shift * (3.0 + k))
            for k, (relative, cycles, phase) in enumerate(self.waves)
        ]

        def curve(x: Array) -> Array:
            y = base + waves[0][0] * np.sin(waves[0][1] * x + waves[0][2])
            for amplitude, frequency, phase in waves[1:]:
                y = y + amplitude * np.sin(frequency * x + phase)
            return y

        return curve

    def metres(self, y: float) -> float:
        """Distance to the ground that is seen at height y of the picture, by perspective over a plain."""
        return 8.0 / max(y - self.horizon + 0.03, 0.004)

    def metres_over(self, x: Array, y: Array) -> Array:
        """`metres` for arrays that broadcast against each other."""
        return 8.0 / np.maximum(y - np.float32(self.horizon - 0.03), np.float32(0.004)) + 0.0 * x

    def tinted(self, colour: Colour, far: float) -> Colour:
        """A thing's own colour as this light shows it at `far` (0 near, 1 in the haze)."""
        return mix(colour * self.light.ambient, self.light.haze, far)


def draw_view(rng: np.random.Generator, terrain: str, season: str) -> View:
    """Draw everything that the class (terrain, season) leaves open."""
    lights = LIGHTS[season]
    side = -1.0 if rng.random() < 0.5 else 1.0
    low_sun = season == "sunset"
    horizon = rng.uniform(0.54, 0.64)
    return View(
        key=int(rng.integers(2**63)),
        terrain=terrain,
        season=season,
        light=lights[int(rng.integers(len(lights)))],
        sun=(
            side * rng.uniform(0.05, 0.36),
            horizon - rng.uniform(0.14, 0.24) if low_sun else rng.uniform(0.11, 0.24),
        ),
        sun_radius=rng.uniform(0.07, 0.085) if low_sun else rng.uniform(0.05, 0.07),
        crescent=rng.random() < 0.5,
        side=side,
        horizon=horizon,
        snow_line=rng.uniform(0.1, 0.2) if season != "winter" else 0.3,
        cloudiness=rng.uniform(0.25, 0.9),
        trees=rng.uniform(0.35, 0.95),
        conifers=rng.uniform(0.1, 0.9) if terrain != "mountain" else rng.uniform(0.5, 1.0),
        waves=tuple(
            (share, cycles * rng.uniform(0.85, 1.15), rng.uniform(0.0, 2.0 * math.pi))
            for share, cycles in ((0.55, 0.45), (0.3, 1.0), (0.15, 2.1))
        ),
    )
