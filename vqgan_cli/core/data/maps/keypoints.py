"""Key points: named points of people or things, drawn as coloured limbs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vqgan_cli.core.data.images import IMAGE_SUFFIXES, read_image, write_image
from vqgan_cli.core.data.maps.base import Array, MapKind, UInt8
from vqgan_cli.core.data.synthetic import Drawing, SyntheticSet
from vqgan_cli.core.errors import ImageError

__all__ = ["Keypoints", "Points", "draw_limbs", "keypoints_json", "read_points"]

Place = tuple[float, float]
Limb = tuple[str, str]

_SKELETON = "skeleton.json"
_LEAST_WIDTH = 1.5  # pixels
_FARTHEST = 1e6  # pixels: a point may lie outside its picture, but the squares of distances must not overflow


class Points(NamedTuple):
    """What a file of key points holds.

    Attributes:
        size: (height, width) of the picture in pixels.
        people: for each its points by name, (x, y) in pixels from the upper left corner; absent if not visible.
        skeleton: pairs of names that a limb joins.
    """

    size: tuple[int, int]
    people: list[dict[str, Place]]
    skeleton: list[Limb]


class Keypoints(MapKind):
    """uint8 [H, W, 3]: limbs on black. Limbs of left and right have colours with red and blue exchanged, limbs of the
    middle as much red as blue, so that a mirror image with exchanged channels is the map of the mirrored person.
    """

    name = "keypoints"
    suffixes = (".json", *IMAGE_SUFFIXES)
    companions = (_SKELETON,)

    @property
    def signature(self) -> str:
        """See `MapKind.signature`."""
        return f"keypoints {self.config.limb_width}"

    def read(self, path: Path, *, max_megapixels: float = 200.0) -> Array:
        """The drawn limbs of a ``.json`` of points, or a picture that was drawn before."""
        if path.suffix.lower() != ".json":
            return read_image(path, max_megapixels=max_megapixels, background=(0, 0, 0))
        points = read_points(path)
        height, width = points.size
        if height * width > max_megapixels * 1e6:
            raise ImageError(
                path, f"is for {height}x{width} pixels: above the limit of {max_megapixels:g} megapixels"
            )
        return draw_limbs(points.people, points.skeleton, height, width, self.config.limb_width)

    def from_drawing(self, drawing: Drawing, drawn_by: SyntheticSet) -> Array:
        """The drawing's own points and the set's skeleton."""
        height, width = drawing.image.shape[:2]
        return draw_limbs([drawing.keypoints], drawn_by.skeleton, height, width, self.config.limb_width)

    def mirror(self, array: Array) -> Array:
        """Mirrored, left and right exchanged."""
        return array[:, ::-1, ::-1]

    def picture(self, array: Array) -> UInt8:
        """As it is."""
        return array

    def write(self, path: Path, array: Array) -> None:
        """As a picture."""
        write_image(path, array)


def draw_limbs(
    people: Sequence[Mapping[str, Place]],
    skeleton: Sequence[Limb],
    height: int,
    width: int,
    limb_width: float,
) -> UInt8:
    """Limbs as lines with round ends, anti-aliased, uint8 [height, width, 3]; of those that cross, each channel shows
    the brighter: an order would differ between the sides.

    Args:
        people: points by name, (x, y) in pixels; a limb of which an end is absent is not drawn.
        skeleton: the limbs.
        height: pixels.
        width: pixels.
        limb_width: as a share of the short side; no less than 1.5 pixels are drawn.
    """
    canvas = np.zeros((height, width, 3), np.float32)
    radius = max(limb_width * min(height, width), _LEAST_WIDTH) / 2
    colours = _colours(skeleton)
    for points in people:
        for limb in skeleton:
            if limb[0] in points and limb[1] in points:
                _stroke(canvas, points[limb[0]], points[limb[1]], radius, colours[limb])
    return np.rint(canvas).clip(0, 255).astype(np.uint8)


def read_points(path: Path) -> Points:
    """Read ``{"size": [H, W], "points": {"nose": [x, y], ...}}``, or with ``"people": [{...}, ...]`` for several.

    The limbs are ``"skeleton": [["nose", "neck"], ...]`` in the file, or in ``skeleton.json`` beside it.

    Raises:
        ImageError: the file or the skeleton is missing or malformed.
    """
    found = _read_json(path)
    if not isinstance(found, dict):
        raise ImageError(path, "is no JSON object of key points")
    size = found.get("size")
    if not (
        isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    ):
        raise ImageError(path, f'has no "size": [height, width] in pixels, but {size!r}')
    people = found.get("people", [found["points"]] if "points" in found else None)
    if not isinstance(people, list) or not all(isinstance(each, dict) for each in people):
        raise ImageError(path, 'has neither "points": {name: [x, y]} nor "people": a list of such')
    skeleton = found.get("skeleton")
    if skeleton is None:
        beside = path.with_name(_SKELETON)
        if not beside.exists():
            raise ImageError(path, f'has no "skeleton", and there is no {beside.name} beside it')
        skeleton = _read_json(beside)
    if not isinstance(skeleton, list) or not all(
        isinstance(limb, list) and len(limb) == 2 and all(isinstance(end, str) for end in limb)
        for limb in skeleton
    ):
        raise ImageError(path, "has a skeleton that is no list of pairs of names")
    return Points(
        (size[0], size[1]),
        [
            {name: _place(path, name, place) for name, place in points.items() if place is not None}
            for points in people
        ],
        [(first, second) for first, second in skeleton],
    )


def keypoints_json(drawing: Drawing, drawn_by: SyntheticSet) -> dict[str, Any]:
    """The points of a drawing, as `read_points` takes them."""
    return {
        "size": list(drawing.image.shape[:2]),
        "points": {name: [round(x, 2), round(y, 2)] for name, (x, y) in drawing.keypoints.items()},
        "skeleton": [list(limb) for limb in drawn_by.skeleton],
    }


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImageError(path, f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ImageError(path, f"is no JSON: {error}") from None


def _place(path: Path, name: str, place: Any) -> Place:
    if (
        isinstance(place, list)
        and len(place) == 2
        and all(isinstance(value, int | float) and abs(value) <= _FARTHEST for value in place)
    ):
        return float(place[0]), float(place[1])
    raise ImageError(path, f"has {place!r} for {name!r} in place of [x, y]")


def _side(name: str) -> str:
    """``left``, ``right`` or nothing, from a name such as ``left_ear`` or ``mouth_left``."""
    return next(
        (side for side in ("left", "right") if name.startswith(f"{side}_") or name.endswith(f"_{side}")), ""
    )


def _unsided(limb: Limb) -> Limb:
    """The limb on either side, under one name."""
    first, second = sorted(
        name.removeprefix("left_").removeprefix("right_").removesuffix("_left").removesuffix("_right")
        for name in limb
    )
    return first, second


def _colours(skeleton: Sequence[Limb]) -> dict[Limb, tuple[float, float, float]]:
    """A colour per limb: shades tell limbs apart, the exchange of red and blue tells left from right."""
    names = sorted({_unsided(limb) for limb in skeleton})
    colours = {}
    for limb in skeleton:
        green = 40 + 215 * (names.index(_unsided(limb)) * 0.61803 % 1)
        sides = {_side(name) for name in limb} - {""}
        if sides == {"left"}:
            colours[limb] = (255.0, green, 60.0)
        elif sides == {"right"}:
            colours[limb] = (60.0, green, 255.0)
        else:
            colours[limb] = (200.0, green, 200.0)
    return colours


def _stroke(canvas: Array, a: Place, b: Place, radius: float, colour: tuple[float, float, float]) -> None:
    """Draw a line into float32 [H, W, 3]; pixel centres lie at (0.5, 0.5)."""
    height, width = canvas.shape[:2]
    top, bottom = (round(each) for each in (min(a[1], b[1]) - radius - 2, max(a[1], b[1]) + radius + 2))
    left, right = (round(each) for each in (min(a[0], b[0]) - radius - 2, max(a[0], b[0]) + radius + 2))
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    y = np.arange(rows.start, rows.stop)[:, None] + 0.5 - a[1]
    x = np.arange(columns.start, columns.stop)[None] + 0.5 - a[0]
    ex, ey = b[0] - a[0], b[1] - a[1]
    along = ((x * ex + y * ey) / max(ex * ex + ey * ey, 1e-9)).clip(0, 1)
    distance = np.hypot(x - along * ex, y - along * ey)
    coverage = (radius + 0.5 - distance).clip(0, 1).astype(np.float32)[..., None]
    part = canvas[rows, columns]
    np.maximum(part, coverage * np.array(colour, np.float32), out=part)
