"""Portraits: expression x hair, with everything else varied."""

from __future__ import annotations

from vqgan_cli.core.data.synthetic.base import Drawing, balanced_label, generator
from vqgan_cli.core.data.synthetic.canvas import Canvas
from vqgan_cli.core.data.synthetic.faces.parts import Part
from vqgan_cli.core.data.synthetic.faces.person import EXPRESSIONS, HAIR_KINDS, draw_person
from vqgan_cli.core.data.synthetic.faces.portrait import paint_portrait

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
        keypoints = paint_portrait(canvas, person, rng)
        return Drawing(canvas.pixels(), label, canvas.labels, canvas.depth, keypoints)
