"""Landscapes: terrain x light, with everything else varied."""

from __future__ import annotations

from vqgan_cli.core.data.synthetic.base import Drawing, balanced_label, generator
from vqgan_cli.core.data.synthetic.canvas import Canvas
from vqgan_cli.core.data.synthetic.scenes.composition import compose
from vqgan_cli.core.data.synthetic.scenes.light import LIGHTS
from vqgan_cli.core.data.synthetic.scenes.view import TERRAINS, Part, draw_view

__all__ = ["Scenes"]

_SEASONS = tuple(LIGHTS)


class Scenes:
    """One panorama per picture: its height is the picture's, and a wider picture shows more to both sides.

    Key points are landmarks; those that a landscape does not have are absent.
    """

    name = "scenes"
    description = "landscapes with mountains, lakes and villages by day, sunset, night and in winter"
    classes: tuple[str, ...] = tuple(f"{terrain}, {light}" for terrain in TERRAINS for light in _SEASONS)
    parts: tuple[str, ...] = tuple(part.name.lower() for part in Part)
    skeleton: tuple[tuple[str, str], ...] = (
        ("horizon_left", "horizon_right"),
        ("tree_foot", "tree_top"),
        ("house_left", "house_right"),
        ("house_left", "house_top"),
        ("house_right", "house_top"),
        ("boat_foot", "boat_top"),
    )

    def label(self, seed: int, index: int) -> int:
        """The class of scene `index`: every 12 consecutive scenes hold each class once."""
        return balanced_label(self.name, seed, index, len(self.classes))

    def draw(self, seed: int, index: int, height: int, width: int) -> Drawing:
        """Draw scene `index` at `height` x `width` pixels."""
        label = self.label(seed, index)
        terrain, light = divmod(label, len(_SEASONS))
        view = draw_view(generator(self.name, seed, index), TERRAINS[terrain], _SEASONS[light])
        canvas = Canvas(height, width, unit=height, origin=(width / 2, 0.0))
        landmarks = compose(canvas, view)
        points = {name: canvas.pixel(x, y) for name, (x, y) in landmarks.items()}
        return Drawing(canvas.pixels(), label, canvas.labels, canvas.depth, points)
