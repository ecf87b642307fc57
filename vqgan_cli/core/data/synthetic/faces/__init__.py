"""Portraits: expression x hair, with everything else varied."""

from __future__ import annotations

from vqgan_cli.core.data.synthetic.base import Drawing, balanced_label, generator
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
from vqgan_cli.core.data.synthetic.faces.parts import Part
from vqgan_cli.core.data.synthetic.faces.person import EXPRESSIONS, HAIR_KINDS, Person, draw_person

__all__ = ["Faces"]


class Faces:
    """One person per picture, looking at the viewer; the shorter side of the picture frames the head.

    Left and right in the names of key points are the person's own, as in COCO: the left eye is seen on the
    right.
    """

    name = "faces"
    description = "portraits with varied people, expressions, hair, glasses and hats"
    classes: tuple[str, ...] = tuple(
        f"{expression}, {hair} hair" for expression in EXPRESSIONS for hair in HAIR_KINDS
    )
    parts: tuple[str, ...] = tuple(part.name.lower() for part in Part)
    skeleton: tuple[tuple[str, str], ...] = (
        ("left_ear", "left_eye"),
        ("left_eye", "nose"),
        ("nose", "right_eye"),
        ("right_eye", "right_ear"),
        ("nose", "mouth_left"),
        ("nose", "mouth_right"),
        ("mouth_left", "mouth_right"),
        ("mouth_left", "chin"),
        ("mouth_right", "chin"),
        ("chin", "neck"),
        ("neck", "left_shoulder"),
        ("neck", "right_shoulder"),
    )

    def label(self, seed: int, index: int) -> int:
        """The class of face `index`: every 12 consecutive faces hold each class once."""
        return balanced_label(self.name, seed, index, len(self.classes))

    def draw(self, seed: int, index: int, height: int, width: int) -> Drawing:
        """Draw face `index` at `height` x `width` pixels."""
        label = self.label(seed, index)
        rng = generator(self.name, seed, index)
        expression, hair = divmod(label, len(HAIR_KINDS))
        person = draw_person(rng, EXPRESSIONS[expression], HAIR_KINDS[hair])

        canvas = Canvas(height, width, unit=min(height, width) / 2, origin=(width / 2, height / 2))
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
        return Drawing(canvas.pixels(), label, canvas.labels, canvas.depth, _keypoints(person, head, body))


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
