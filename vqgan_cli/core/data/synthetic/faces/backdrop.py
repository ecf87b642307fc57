"""What is behind a person: calm, out of focus."""

from __future__ import annotations

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, Colour, mix, rgb, tone
from vqgan_cli.core.data.synthetic.faces.parts import BACKDROP_METRES
from vqgan_cli.core.data.synthetic.faces.person import Person
from vqgan_cli.core.data.synthetic.shapes import Array, disc

__all__ = ["paint_backdrop"]


def paint_backdrop(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Fill the whole picture."""
    first, second = person.backdrop_colours
    if person.backdrop == "outdoors":
        sky, grass = mix(first, rgb("bfe0f2"), 0.7), mix(second, rgb("86ab6a"), 0.75)
        _wash(canvas, sky, tone(sky, 1.3), tone(grass, 1.1), grass)
    else:
        _wash(canvas, tone(first, 1.15), first, mix(first, second, 0.5), mix(first, second, 0.8))
    if person.backdrop == "halo":
        canvas.tint(disc(0.0, -0.05, 0.93), mix(second, tone(second, 1.5), 0.4), 0.6)
    elif person.backdrop == "lights":
        # As many as a square shows, spread over twice its width: a wide picture shows the rest.
        for u, v, size in rng.uniform(-1.0, 1.0, (10, 3)).tolist():
            canvas.tint(disc(2.0 * u, 0.9 * v - 0.1, 0.16 + 0.08 * size), tone(second, 1.45), 0.28)
    canvas.depth[:] = BACKDROP_METRES


def _wash(canvas: Canvas, top: Colour, upper: Colour, lower: Colour, bottom: Colour) -> None:
    """A vertical gradient with a soft change between `upper` and `lower` at eye level."""

    def smooth(y0: float, y1: float) -> Array:
        t = np.clip((canvas.y - y0) / (y1 - y0), 0.0, 1.0)
        return t * t * (3.0 - 2.0 * t)

    colour = mix(top, upper, smooth(-1.0, 0.1))
    colour = mix(colour, lower, smooth(-0.15, 0.35))
    canvas.image[:] = mix(colour, bottom, smooth(0.3, 1.0))
