"""Sky, stars, sun or moon, and clouds."""

from __future__ import annotations

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, linear, mix, tone
from vqgan_cli.core.data.synthetic.scenes.view import Part, View
from vqgan_cli.core.data.synthetic.shapes import Shape, above, disc, ellipse, intersect, subtract, union

__all__ = ["paint_sky"]

_SKY_METRES = 20_000.0
_CLOUD_METRES = 15_000.0
_STARS, _CLOUDS = 0, 1  # kinds of cells


def paint_sky(canvas: Canvas, view: View) -> None:
    """Fill the picture with sky and what is in it."""
    light, (x, y), radius = view.light, view.sun, view.sun_radius
    share = np.clip(canvas.y / view.horizon, 0.0, 1.0)
    canvas.image[:] = mix(light.zenith, light.horizon, share**1.3)
    canvas.depth[:] = _SKY_METRES
    if view.season == "night":
        _paint_stars(canvas, view)
    canvas.glow(x, y, 0.75, 0.6, light.glow, 0.45)
    canvas.glow(x, y, 3.2 * radius, 3.2 * radius, light.glow, 0.6)
    body = disc(x, y, radius)
    if view.season == "night":
        if view.crescent:
            body = subtract(body, disc(x - 0.45 * radius * view.side, y - 0.2 * radius, 0.85 * radius))
        canvas.fill(body, light.sun, Part.MOON, _SKY_METRES)
        if not view.crescent:
            for dx, dy, size in ((-0.3, -0.25, 0.28), (0.35, 0.2, 0.2), (-0.15, 0.45, 0.15)):
                crater = disc(x + dx * radius, y + dy * radius, size * radius)
                canvas.tint(crater, tone(light.sun, 0.86), 0.8)
    else:
        canvas.fill(
            body, linear(tone(light.sun, 1.2), light.sun, y - radius, y + radius), Part.SUN, _SKY_METRES
        )
    _paint_clouds(canvas, view)


def _paint_stars(canvas: Canvas, view: View) -> None:
    for left, rng in view.cells(_STARS, 0.5, 0.01, canvas):
        for u, v, size in rng.random((9, 3)).tolist():
            y = v * (view.horizon - 0.12)
            canvas.tint(disc(left + 0.5 * u, y, 0.004 + 0.004 * size), view.light.sun, 0.35 + 0.5 * size)


def _paint_clouds(canvas: Canvas, view: View) -> None:
    flat = 0.55 if view.season == "sunset" else 1.0
    opacity = 0.35 if view.season == "night" else 0.0
    top, bottom = (mix(c, view.light.zenith, opacity) for c in (view.light.cloud, view.light.cloud_shade))
    for left, rng in view.cells(_CLOUDS, 0.5, 0.2, canvas):
        if rng.random() > view.cloudiness:
            continue
        height = rng.random()
        size = rng.uniform(0.75, 1.25) * (1.15 - 0.6 * height)
        x, y = left + rng.uniform(0.05, 0.45), 0.12 + height * (view.horizon - 0.38)
        puffs: list[Shape] = [ellipse(x, y, 0.19 * size, 0.036 * size * flat)]
        for k in range(3):
            rise = rng.uniform(0.02, 0.045) if k == 1 else rng.uniform(0.0, 0.02)
            dx = (k - 1) * 0.085 + rng.uniform(-0.02, 0.02)
            radius = rng.uniform(0.06, 0.075) if k == 1 else rng.uniform(0.042, 0.058)
            puffs.append(ellipse(x + dx * size, y - rise * size * flat, radius * size, radius * size * flat))
        base = y + 0.026 * size * flat
        paint = linear(top, bottom, y - 0.06 * size * flat, base + 0.01)
        canvas.fill(intersect(union(*puffs), above(base)), paint, Part.CLOUD, _CLOUD_METRES)
