"""A person in front of a backdrop, painted from back to front."""

from __future__ import annotations

import numpy as np

from vqgan_cli.core.data.synthetic.canvas import Canvas
from vqgan_cli.core.data.synthetic.faces.attire import paint_body, paint_glasses, paint_hat
from vqgan_cli.core.data.synthetic.faces.backdrop import paint_backdrop
from vqgan_cli.core.data.synthetic.faces.hair import paint_back_hair, paint_front_hair
from vqgan_cli.core.data.synthetic.faces.head import (
    Features,
    paint_beard,
    paint_ears,
    paint_features,
    paint_head,
)
from vqgan_cli.core.data.synthetic.faces.person import Person

__all__ = ["paint_portrait"]


def paint_portrait(
    canvas: Canvas, person: Person, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Paint the whole picture; `rng` scatters the backdrop. Returns the key points in pixels."""
    body = canvas.placed(person.x, person.y, scale=person.scale)
    head = body.placed(0.0, 0.0, angle=person.roll)
    paint_backdrop(canvas, person, rng)
    paint_back_hair(head, person)
    paint_body(body, person)
    paint_ears(head, person)
    paint_head(head, person)
    paint_beard(head, person)
    paint_features(head, person)
    paint_front_hair(head, person)
    paint_glasses(head, person)
    paint_hat(head, person)
    return _keypoints(person, head, body)


def _keypoints(person: Person, head: Canvas, body: Canvas) -> dict[str, tuple[float, float]]:
    features = Features(person)
    (right_eye, _), (left_eye, _) = features.eyes
    (mouth_x, mouth_y), half = features.mouth, person.mouth_width
    return {
        "left_eye": head.pixel(left_eye, features.eye_y),
        "right_eye": head.pixel(right_eye, features.eye_y),
        "nose": head.pixel(*features.nose),
        "mouth_left": head.pixel(mouth_x + half, mouth_y),
        "mouth_right": head.pixel(mouth_x - half, mouth_y),
        "left_ear": head.pixel(person.head_width, 0.1),
        "right_ear": head.pixel(-person.head_width, 0.1),
        "chin": head.pixel(0.4 * features.dx, 0.04 + person.head_height),
        "crown": head.pixel(0.0, -0.1 - person.head_height),
        "neck": body.pixel(0.0, 0.86),
        "left_shoulder": body.pixel(0.85, 1.15),
        "right_shoulder": body.pixel(-0.85, 1.15),
    }
