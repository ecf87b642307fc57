"""The head's skin and what is on it: eyes, brows, nose, mouth, beard."""

from __future__ import annotations

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas, Colour, mix, rgb, tone
from vqgan_cli.core.data.synthetic.faces.parts import HEAD_METRES, Part
from vqgan_cli.core.data.synthetic.faces.person import Person
from vqgan_cli.core.data.synthetic.shapes import (
    Array,
    Shape,
    arc,
    below,
    disc,
    ellipse,
    intersect,
    lens,
    stadium,
    subtract,
)

__all__ = ["EYE_Y", "Features", "head_shape", "paint_beard", "paint_ears", "paint_features", "paint_head"]

EYE_Y = 0.03
_WHITE = rgb("fbf7f2")
_DARK = rgb("2b1d1f")
_MOUTH = rgb("6d2a2e")
_TONGUE = rgb("c96a6a")


class Features:
    """Where the features are in the head's frame, after yaw and pitch have moved them."""

    def __init__(self, person: Person) -> None:
        self.dx, self.dy = 0.085 * person.yaw, 0.035 * person.pitch
        low = 0.05 if person.age == "child" else 0.0
        self.eye_y = EYE_Y + self.dy + low
        # The eye on the far side of a turned head is nearer to the middle and narrower.
        self.eyes = tuple(
            (
                self.dx + side * person.eye_gap * (1.0 - 0.12 * side * person.yaw),
                1.0 - 0.1 * side * person.yaw,
            )
            for side in (-1.0, 1.0)
        )
        self.nose = (1.5 * self.dx, 0.235 + 1.4 * self.dy + 0.6 * low)
        self.mouth = (1.15 * self.dx, 0.415 + 1.1 * self.dy + 0.4 * low)


def head_shape(person: Person, grow: float = 0.0) -> Shape:
    """The outline of skull and jaw, about 1.35 high; `grow` widens it all around."""
    return stadium(0.0, -0.1, 0.06, person.head_width + grow, person.head_height + grow, person.jaw)


def head_depth(person: Person) -> float:
    """Metres by which the middle of the face is nearer than its outline."""
    return 0.16 * person.head_width


def paint_ears(canvas: Canvas, person: Person) -> None:
    """Both ears; the one on the near side of a turned head stands out further."""
    for side in (-1.0, 1.0):
        x = side * (person.head_width - 0.01) - 0.05 * person.yaw
        canvas.fill(ellipse(x, 0.1, 0.085, 0.135), tone(person.skin, 0.93), Part.SKIN, HEAD_METRES + 0.02)
        canvas.tint(ellipse(x + 0.01 * side, 0.1, 0.042, 0.08), tone(person.skin, 0.78), 0.7)
        if person.earrings:
            canvas.fill(disc(x + 0.01 * side, 0.25, 0.036), rgb("e8c766"), Part.EARRING, HEAD_METRES)


def paint_head(canvas: Canvas, person: Person) -> None:
    """The skin of the head with its shading, cheeks, freckles and wrinkles."""
    width, height = person.head_width, person.head_height + 0.1
    shadow, lit = tone(person.skin, 0.74) * rgb("fff2ec"), tone(person.skin, 1.05)

    def skin(x: Array, y: Array) -> Array:
        u, v = x / width, y / height
        light = 0.82 + 0.2 * person.side * u - 0.16 * v - 0.3 * (u * u + 0.6 * v * v) ** 2
        return mix(shadow, lit, np.clip(light, 0.0, 1.0))

    def bulge(x: Array, y: Array) -> Array:
        u, v = x / (width + 0.05), y / height
        nearer = np.sqrt(np.maximum(1.0 - u * u - v * v, 0.0))
        return (HEAD_METRES - head_depth(person) * nearer).astype(np.float32)

    canvas.fill(head_shape(person), skin, Part.SKIN, bulge)
    features = Features(person)
    blush = mix(person.skin, rgb("d9544d"), 0.55)
    for (x, _), side in zip(features.eyes, (-1.0, 1.0), strict=True):
        canvas.glow(x + 0.04 * side, features.nose[1] + 0.03, 0.2, 0.17, blush, person.blush)
        canvas.glow(x, features.eye_y - 0.03, 0.2, 0.14, tone(person.skin, 0.72), 0.32)
    if person.freckles:
        _paint_freckles(canvas, person, features)
    if person.age == "old":
        wrinkle = tone(person.skin, 0.76)
        for side in (-1.0, 1.0):
            x, y = features.nose
            canvas.tint(arc(x + 0.2 * side, y + 0.1, 0.07, 0.02, 0.012, slope=0.07 * side), wrinkle, 0.7)
            eye_x = features.eyes[int(side > 0)][0]
            canvas.tint(arc(eye_x, features.eye_y + 0.14, 0.09, -0.02, 0.012), wrinkle, 0.6)
        canvas.tint(arc(features.dx, -0.3 + features.dy, 0.22, 0.015, 0.012), wrinkle, 0.45)


def _paint_freckles(canvas: Canvas, person: Person, features: Features) -> None:
    rng = np.random.default_rng(person.freckles)
    spot = mix(person.skin, rgb("9a5b36"), 0.6)
    for side in (-1.0, 1.0):
        for u, v in rng.uniform(-1.0, 1.0, (5, 2)).tolist():
            x = features.nose[0] + 0.21 * side + 0.11 * u
            canvas.tint(disc(x, features.nose[1] - 0.02 + 0.05 * v, 0.013), spot, 0.6)


def paint_beard(canvas: Canvas, person: Person) -> None:
    """The beard, under the mouth that is painted later."""
    if person.beard in ("", "moustache"):
        return
    features = Features(person)
    x0, y0 = features.mouth
    colour = tone(person.hair, 0.92)
    low, high = tone(colour, 0.86), tone(colour, 1.1)

    def strands(x: Array, y: Array) -> Array:
        return mix(high, low, np.clip(0.5 + (y - y0) * 1.4 + 0.12 * np.sin(70.0 * x), 0.0, 1.0))

    def jawline(x: Array) -> Array:
        # Flat under the cheeks, rising to the ears.
        return y0 - 0.06 - 1.3 * np.square(np.maximum(np.abs(x - 0.5 * x0) - 0.22, 0.0))

    cheeks = below(jawline, -1.0, 1.0, -0.2, 1.0)
    if person.beard == "stubble":
        # Darker than the hair: white stubble would look like a smear.
        canvas.tint(intersect(head_shape(person), cheeks), tone(person.hair, 0.6), 0.28)
        return
    depth = HEAD_METRES - head_depth(person) - 0.005
    if person.beard == "full":
        canvas.fill(intersect(head_shape(person, 0.02), cheeks), strands, Part.BEARD, depth)
    elif person.beard == "goatee":
        canvas.fill(ellipse(x0, y0 + 0.14, 0.17, 0.14), strands, Part.BEARD, depth)


def paint_features(canvas: Canvas, person: Person) -> None:
    """Mouth, moustache, nose, eyes and brows."""
    features = Features(person)
    _paint_mouth(canvas, person, features)
    if person.beard not in ("", "stubble"):
        x, y = features.mouth
        depth = HEAD_METRES - head_depth(person) - 0.015
        moustache = arc(x, y - 0.085, 0.2, -0.045, 0.042, taper=0.75)
        canvas.fill(moustache, tone(person.hair, 0.85), Part.BEARD, depth)
    _paint_nose(canvas, person, features)
    for (x, narrow), side in zip(features.eyes, (-1.0, 1.0), strict=True):
        _paint_eye(canvas, person, x, features.eye_y, narrow, side)
        _paint_brow(canvas, person, x, features.eye_y, narrow, side)
    if person.expression == "sad" and person.age == "child":
        x = features.eyes[0][0]
        canvas.tint(ellipse(x - 0.04, features.eye_y + 0.2, 0.028, 0.05), rgb("cfe6f2"), 0.85)


def _paint_nose(canvas: Canvas, person: Person, features: Features) -> None:
    (x, y), size = features.nose, person.nose_size
    depth = HEAD_METRES - head_depth(person) - 0.025
    shade = tone(person.skin, 0.76)
    canvas.glow(x - 0.05 * person.side, y - 0.1, 0.075, 0.24, shade, 0.4)
    canvas.glow(x + 0.015 * person.side, y - 0.1, 0.05, 0.22, tone(person.skin, 1.3), 0.4)
    warm = mix(person.skin, rgb("c4574a"), 0.18)

    def paint(px: Array, py: Array) -> Array:
        return mix(
            warm, shade, np.clip(0.25 + (py - y) * 7.0 / size - (px - x) * person.side * 2.5, 0.0, 1.0)
        )

    half, height = 0.105 * size, 0.06 * size
    canvas.fill(ellipse(x, y, half, height), paint, Part.NOSE, depth)
    canvas.glow(x + 0.03 * person.side, y - 0.025, 0.045, 0.04, tone(person.skin, 1.4), 0.6)
    for side in (-1.0, 1.0):
        canvas.tint(
            ellipse(x + 0.5 * half * side, y + 0.6 * height, 0.024, 0.015), tone(person.skin, 0.45), 0.8
        )


def _paint_mouth(canvas: Canvas, person: Person, features: Features) -> None:
    (x, y), half = features.mouth, person.mouth_width
    depth = HEAD_METRES - head_depth(person) - 0.01
    lips, full = person.lips, 0.05 * person.lip_fullness
    dark_lip = tone(lips, 0.82)
    canvas.glow(x, y + 0.12, 0.16, 0.05, tone(person.skin, 0.72), 0.45)

    def lip(shape: Shape, colour: Colour) -> None:
        canvas.fill(shape, colour, Part.MOUTH, depth)

    if person.expression == "smiling" and person.teeth:
        open_ = 0.15
        lip(lens(x, y - 0.06, half + 0.025, -0.008, open_ + full + 0.03), lips)
        inner = lens(x, y - 0.05, half - 0.01, 0.012, open_ + 0.01)
        canvas.tint(inner, _MOUTH)
        canvas.tint(intersect(inner, ellipse(x, y + 0.1, 0.1, 0.05)), _TONGUE)
        canvas.tint(lens(x, y - 0.05, half - 0.02, 0.014, 0.085), _WHITE)
    elif person.expression == "smiling":
        lip(lens(x, y - 0.05, half + 0.02, 0.055 - full, 0.1 + full), lips)
        canvas.tint(arc(x, y + 0.035, half + 0.04, 0.095, 0.02, taper=0.6), tone(dark_lip, 0.55))
    elif person.expression == "surprised":
        lip(ellipse(x, y + 0.07, 0.12 + 0.2 * full, 0.125 + full), lips)
        inner = ellipse(x, y + 0.07, 0.12 - 0.4 * full, 0.125)
        canvas.tint(inner, _MOUTH)
        canvas.tint(intersect(inner, ellipse(x, y + 0.17, 0.085, 0.06)), _TONGUE)
        canvas.tint(intersect(inner, ellipse(x, y - 0.06, 0.08, 0.04)), _WHITE)
    elif person.expression == "sad":
        lip(lens(x, y + 0.08, half - 0.01, -0.13 - 0.4 * full, -0.055 + full), lips)
        canvas.tint(arc(x, y - 0.01, half + 0.01, -0.09, 0.019, taper=0.6), tone(dark_lip, 0.55))
    else:
        lip(lens(x, y, half, -0.9 * full, 1.3 * full), lips)
        canvas.tint(lens(x, y, half, -0.9 * full, 0.004), dark_lip)
        canvas.tint(arc(x, y, half + 0.01, -0.006, 0.016, taper=0.5), tone(dark_lip, 0.55))


def _paint_eye(canvas: Canvas, person: Person, x: float, y: float, narrow: float, side: float) -> None:
    wide = {"surprised": 1.3, "smiling": 0.85, "sad": 0.82}.get(person.expression, 1.0)
    half = 0.135 * person.eye_size * narrow
    top, bottom = -0.092 * person.eye_size * wide, 0.062 * person.eye_size * wide
    y = y - side * person.eye_slant * 0.5
    shape = lens(x, y, half, top, bottom)
    depth = HEAD_METRES - head_depth(person) + 0.01
    canvas.fill(shape, _WHITE, Part.EYE, depth)
    # The eyeball looks at the viewer, more or less.
    ix, iy = x + 0.025 * person.gaze + 0.01 * person.yaw, y + 0.35 * (top + bottom)
    radius = 0.073 * person.eye_size
    canvas.tint(intersect(shape, disc(ix, iy, radius)), tone(person.iris, 0.75))
    canvas.tint(intersect(shape, disc(ix, iy + 0.01, 0.75 * radius)), tone(person.iris, 1.12))
    canvas.tint(intersect(shape, disc(ix, iy, 0.45 * radius)), _DARK)
    canvas.tint(intersect(shape, disc(ix + 0.03 * person.side, iy - 0.028, 0.024)), _WHITE, 0.95)
    lid = mix(tone(person.skin, 0.4), _DARK, 0.6)
    lashes = subtract(lens(x, y + 0.006, half * 1.1, top - 0.026, bottom), lens(x, y + 0.012, half, top, 4.0))
    canvas.fill(lashes, lid, Part.EYE, depth)


def _paint_brow(canvas: Canvas, person: Person, x: float, y: float, narrow: float, side: float) -> None:
    lift = {"surprised": 0.075, "smiling": 0.015, "sad": 0.01}.get(person.expression, 0.0)
    # `slope` > 0 lowers the right end: sad brows rise towards the middle of the face.
    slope = side * {"sad": 0.055, "surprised": 0.0}.get(person.expression, 0.0)
    bend = {"sad": 0.005, "surprised": 0.05}.get(person.expression, 0.028)
    colour = mix(tone(person.hair, 0.72), person.skin, 0.1)
    depth = HEAD_METRES - head_depth(person) - 0.005
    height = y - 0.165 * (0.85 + 0.15 * person.eye_size) - lift - bend
    shape = arc(x + 0.01 * side, height, 0.15 * narrow, -bend, person.brow_width, slope=slope, taper=0.55)
    canvas.fill(shape, colour, Part.BROW, depth)
