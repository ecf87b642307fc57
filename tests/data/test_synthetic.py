"""The built-in picture sets: reproducible, the same at every size, and truthful in their annotations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS, SyntheticSet
from vqgan_cli.core.data.synthetic.base import generator, part_edges
from vqgan_cli.core.data.synthetic.canvas import Canvas, rgb
from vqgan_cli.core.data.synthetic.faces.parts import Part as FacePart
from vqgan_cli.core.data.synthetic.faces.person import EXPRESSIONS, HAIR_KINDS, draw_person
from vqgan_cli.core.data.synthetic.faces.portrait import paint_portrait
from vqgan_cli.core.data.synthetic.scenes.composition import compose
from vqgan_cli.core.data.synthetic.scenes.light import LIGHTS
from vqgan_cli.core.data.synthetic.scenes.view import TERRAINS, draw_view
from vqgan_cli.core.data.synthetic.scenes.view import Part as ScenePart
from vqgan_cli.core.data.synthetic.shapes import Shape, box, disc, ellipse, lens, polygon


@pytest.fixture(params=sorted(SYNTHETIC_SETS))
def each_set(request: pytest.FixtureRequest) -> SyntheticSet:
    return SYNTHETIC_SETS[request.param]


class PaletteCanvas(Canvas):
    """Paints each part in one flat grey above 1, and no shading: what is visible, and nothing else."""

    def fill(self, shape: Shape, paint: Any, part: int, depth: Any) -> None:
        flat = np.full((3, 1, 1), 2 + part, np.float32)
        super().fill(shape, flat, part, depth)

    def tint(self, shape: Shape, paint: Any, opacity: float = 1.0) -> None:
        pass

    def glow(self, *args: Any) -> None:
        pass


def flat_face(index: int, side: int) -> PaletteCanvas:
    canvas = PaletteCanvas(side, side, unit=side / 2, origin=(side / 2, side / 2))
    rng = generator("faces", 0, index)
    paint_portrait(canvas, draw_person(rng, EXPRESSIONS[index % 4], HAIR_KINDS[index % 3]), rng)
    return canvas


def flat_scene(index: int, side: int) -> PaletteCanvas:
    canvas = PaletteCanvas(side, side, unit=side, origin=(side / 2, 0.0))
    compose(canvas, draw_view(generator("scenes", 0, index), TERRAINS[index % 3], tuple(LIGHTS)[index % 4]))
    return canvas


def inner(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels whose eight neighbours belong to the same part."""
    padded = np.pad(labels, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray((windows == labels[:, :, None, None]).all(axis=(2, 3)))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 160), (160, 48), (33, 65), (1, 1)])
def test_any_size(each_set: SyntheticSet, height: int, width: int) -> None:
    """Oracle: the documented shapes, types and ranges."""
    drawing = each_set.draw(3, 5, height, width)
    assert drawing.image.shape == (height, width, 3)
    assert drawing.image.dtype == np.uint8
    for map_, kind in (
        (drawing.segmentation, np.uint8),
        (drawing.edges, np.uint8),
        (drawing.depth, np.float32),
    ):
        assert map_.shape == (height, width)
        assert map_.dtype == kind
    assert drawing.segmentation.max() < len(each_set.parts)
    assert np.isfinite(drawing.depth).all()
    assert drawing.depth.min() > 0
    assert set(np.unique(drawing.edges)) <= {0, 255}


def test_same_seed_and_index_same_picture(each_set: SyntheticSet) -> None:
    """Oracle: determinism, and no two pictures alike."""
    first, again = each_set.draw(1, 2, 64, 64), each_set.draw(1, 2, 64, 64)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.segmentation, again.segmentation)
    assert np.array_equal(first.depth, again.depth)
    assert first.keypoints == again.keypoints
    pictures = {each_set.draw(seed, index, 32, 32).image.tobytes() for seed in range(3) for index in range(8)}
    assert len(pictures) == 24


def test_another_size_is_the_same_picture(each_set: SyntheticSet) -> None:
    """Oracle: area averaging; a picture of twice the size, averaged 2x2, is the picture of this size."""
    for index in range(12):
        small, large = each_set.draw(0, index, 64, 64), each_set.draw(0, index, 128, 128)
        averaged = large.image.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(averaged - small.image).mean() < 1.5
        assert np.mean(large.segmentation[::2, ::2] == small.segmentation) > 0.93
        assert small.keypoints.keys() == large.keypoints.keys()
        for name, point in small.keypoints.items():
            assert large.keypoints[name] == pytest.approx((2 * point[0], 2 * point[1]), abs=1e-3)


def test_a_wide_scene_shows_more_of_the_panorama() -> None:
    """Oracle: invariance; the middle of a wide scene is the square scene."""
    scenes = SYNTHETIC_SETS["scenes"]
    for index in range(6):
        square, wide = scenes.draw(0, index, 64, 64), scenes.draw(0, index, 64, 256)
        middle = slice(96, 160)
        assert np.abs(wide.image[:, middle].astype(int) - square.image).max() <= 3
        assert np.mean(wide.segmentation[:, middle] == square.segmentation) > 0.999
        assert wide.segmentation[:, :96].std() > 0


def test_classes_are_evenly_spread(each_set: SyntheticSet) -> None:
    """Oracle: each run of len(classes) indices is a permutation of the classes; drawing agrees with `label`."""
    count = len(each_set.classes)
    assert 8 <= count <= 12
    blocks = [[each_set.label(7, block * count + k) for k in range(count)] for block in range(4)]
    assert all(sorted(block) == list(range(count)) for block in blocks)
    assert blocks[0] != blocks[1]
    assert [each_set.draw(7, k, 8, 8).label for k in range(count)] == blocks[0]


def test_every_part_occurs(each_set: SyntheticSet) -> None:
    """Oracle: the list of parts is the set of values seen over many pictures."""
    seen: set[int] = set()
    for index in range(72):
        seen.update(np.unique(each_set.draw(0, index, 64, 64).segmentation).tolist())
    assert seen == set(range(len(each_set.parts)))


@pytest.mark.parametrize(
    ("draw_flat", "side"), [(flat_face, 64), (flat_face, 128), (flat_scene, 64), (flat_scene, 128)]
)
def test_the_label_map_is_what_is_visible(draw_flat: Callable[[int, int], PaletteCanvas], side: int) -> None:
    """Oracle: the picture in one flat colour per part; away from borders it must equal the label map's."""
    right, total = 0, 0
    for index in range(24):
        canvas = draw_flat(index, side)
        inside = inner(canvas.labels)
        shown, labels = canvas.image[0][inside], canvas.labels[inside]
        expected = labels + 2.0
        right += int(np.sum(np.where(labels == 0, shown <= 1.02, np.abs(shown - expected) < 0.02)))
        total += labels.size
    assert right / total > 0.995  # the rest: slivers that cover less than half of every pixel


def test_the_picture_changes_at_the_borders_of_parts(each_set: SyntheticSet) -> None:
    """Oracle: contrast; colours step at the label map's borders far more than inside parts."""
    for index in range(12):
        drawing = each_set.draw(0, index, 128, 128)
        colours, labels = drawing.image.astype(np.float32), drawing.segmentation
        step = np.abs(colours[:, 2:] - colours[:, :-2]).mean(axis=2)
        border = labels[:, 2:] != labels[:, :-2]
        assert step[border].mean() > 4 * step[~border].mean()


def test_parts_of_faces_are_the_persons_own() -> None:
    """Oracle: the parameters; a part occurs if the person has it, and its hue is the person's."""
    faces = SYNTHETIC_SETS["faces"]
    for index in range(36):
        drawing = faces.draw(0, index, 96, 96)
        expression, hair = divmod(drawing.label, len(HAIR_KINDS))
        person = draw_person(generator("faces", 0, index), EXPRESSIONS[expression], HAIR_KINDS[hair])
        counts = np.bincount(drawing.segmentation.ravel(), minlength=len(faces.parts))
        assert bool(counts[FacePart.HAT]) == bool(person.hat)
        assert bool(counts[FacePart.GLASSES]) == bool(person.glasses)
        assert bool(counts[FacePart.BEARD]) == (person.beard not in ("", "stubble"))
        assert not counts[FacePart.EARRING] or person.earrings
        assert counts[FacePart.CLOTHES] > 0.01 * drawing.segmentation.size
        own = {FacePart.SKIN: person.skin, FacePart.HAIR: person.hair, FacePart.CLOTHES: person.clothes}
        for part, colour in own.items():
            seen = np.median(drawing.image[drawing.segmentation == part], axis=0) / 255
            assert seen / seen.sum() == pytest.approx(colour.ravel() / colour.sum(), abs=0.05)


def test_edges_are_the_borders_of_the_label_map(each_set: SyntheticSet) -> None:
    """Oracle: a loop over pixels, and a map small enough to write down."""
    assert part_edges(np.array([[0, 0, 1], [0, 2, 1]], np.uint8)).tolist() == [[0, 255, 0], [255, 255, 0]]
    drawing = each_set.draw(0, 1, 24, 40)
    labels = drawing.segmentation
    for i in range(24):
        for j in range(40):
            neighbours = [*labels[i : i + 2, j].tolist(), *labels[i, j : j + 2].tolist()]
            assert drawing.edges[i, j] == 255 * (len(set(neighbours)) > 1)


def test_key_points_of_faces_lie_on_their_parts() -> None:
    """Oracle: the label map under each point, where no hair, beard, hat or glasses can cover it."""
    faces = SYNTHETIC_SETS["faces"]
    covers = {FacePart.HAIR, FacePart.GLASSES, FacePart.HAT, FacePart.BEARD}
    for index in range(36):
        drawing = faces.draw(0, index, 128, 128)

        def part(name: str, drawing: Any = drawing) -> FacePart:
            x, y = drawing.keypoints[name]
            return FacePart(int(drawing.segmentation[int(y), int(x)]))

        assert part("left_eye") in {FacePart.EYE, *covers}
        assert part("right_eye") in {FacePart.EYE, *covers}
        assert part("nose") in {FacePart.NOSE, *covers}
        assert part("crown") in covers
        points = drawing.keypoints
        assert points["left_eye"][0] > points["right_eye"][0], "left is the person's own"
        assert points["mouth_left"][0] > points["mouth_right"][0]
        assert points["nose"][1] < points["chin"][1]


def test_key_points_of_scenes_lie_on_their_parts() -> None:
    """Oracle: the label map under the sun, and the order of top and foot."""
    scenes = SYNTHETIC_SETS["scenes"]
    for index in range(36):
        drawing = scenes.draw(0, index, 128, 256)
        x, y = drawing.keypoints["sun"]
        under = ScenePart(int(drawing.segmentation[int(y), int(x)]))
        assert under in {ScenePart.SUN, ScenePart.MOON, ScenePart.CLOUD, ScenePart.MOUNTAIN, ScenePart.SKY}
        assert drawing.keypoints["horizon_left"][0] == pytest.approx(0)
        assert drawing.keypoints["horizon_right"][0] == pytest.approx(256)
        for foot, top in (("tree_foot", "tree_top"), ("boat_foot", "boat_top"), ("house_left", "house_top")):
            if foot in drawing.keypoints:
                assert drawing.keypoints[top][1] < drawing.keypoints[foot][1]


def test_limbs_join_key_points(each_set: SyntheticSet) -> None:
    """Oracle: the skeleton names only points that occur."""
    named = {name for limb in each_set.skeleton for name in limb}
    seen: set[str] = set()
    for index in range(36):
        seen.update(each_set.draw(0, index, 16, 32).keypoints)
    assert named <= seen


def test_near_parts_are_nearer() -> None:
    """Oracle: the order of things in the world."""
    for index in range(12):
        face = SYNTHETIC_SETS["faces"].draw(0, index, 64, 64)
        away = face.depth[face.segmentation == FacePart.BACKGROUND]
        skin, nose = (face.depth[face.segmentation == part] for part in (FacePart.SKIN, FacePart.NOSE))
        assert nose.max() < np.median(skin) < 1.3 < away.min()
        scene = SYNTHETIC_SETS["scenes"].draw(0, index, 64, 64)
        sky, mountain, ground = (
            scene.depth[scene.segmentation == part]
            for part in (ScenePart.SKY, ScenePart.MOUNTAIN, ScenePart.GROUND)
        )
        assert ground.max() < mountain.min()
        assert mountain.max() < sky.min()
        assert ground.min() < 25


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (disc(0.03, -0.02, 0.5), math.pi * 0.25),
        (ellipse(0.0, 0.1, 0.7, 0.3), math.pi * 0.21),
        (box(0.1, 0.0, 0.4, 0.25), 0.4),
        (polygon((-0.5, 0.4), (0.6, 0.4), (0.0, -0.6)), 0.55),
        (polygon((0.0, -0.6), (0.6, 0.4), (-0.5, 0.4)), 0.55),
        (lens(0.0, 0.0, 0.6, -0.3, 0.2), 0.4),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_covered_area(shape: Shape, area: float, angle: float) -> None:
    """Oracle: closed form; anti-aliased coverage adds up to the shape's area, turned or not."""
    canvas = Canvas(128, 128, unit=64, origin=(64, 64))
    canvas.placed(0.0, 0.0, angle=angle).fill(shape, rgb("ffffff"), 1, 2.0)
    assert canvas.image[0].sum() / 64**2 == pytest.approx(area, rel=0.01)
    assert canvas.labels.sum() / 64**2 == pytest.approx(area, rel=0.02)
    assert np.array_equal(canvas.labels == 1, canvas.image[0] >= 0.5)
    assert np.array_equal(canvas.labels == 1, canvas.depth == 2.0)


def test_details_leave_labels_and_depth() -> None:
    """Oracle: the definition; tints and glows change colours only."""
    canvas = Canvas(32, 32, unit=16, origin=(16, 16))
    canvas.fill(disc(0.0, 0.0, 0.9), rgb("336699"), 3, 5.0)
    image, labels, depth = canvas.image.copy(), canvas.labels.copy(), canvas.depth.copy()
    canvas.tint(disc(0.2, 0.0, 0.4), rgb("ffffff"), 0.5)
    canvas.glow(-0.3, 0.0, 0.4, 0.3, rgb("ff0000"), 0.5)
    assert not np.array_equal(canvas.image, image)
    assert np.array_equal(canvas.labels, labels)
    assert np.array_equal(canvas.depth, depth)
