"""Views of an image that are encoded."""

from __future__ import annotations

import numpy as np
import pytest

from vqgan_cli.core.errors import DataError
from vqgan_cli.core.training.code_sets import Augmentation, views

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_flip_mirrors_the_centre() -> None:
    """Oracle: the crop written out."""
    centre = IMAGE[:, 10:50]
    only = views(IMAGE, 40, "none")
    assert len(only) == 1
    assert np.array_equal(only[0][0], centre)
    assert np.array_equal(views(IMAGE, 40, "flip")[1][0], centre[:, ::-1])


@pytest.mark.parametrize("image", [IMAGE, IMAGE[:, :40]])
def test_ten_crops(image: np.ndarray) -> None:
    """Invariant: ten different squares; the second five mirror the first."""
    found = [square for square, _ in views(image, 20, "ten-crop")]
    assert len(found) == 10
    assert {view.shape for view in found} == {(20, 20, 3)}
    assert all(np.array_equal(a[:, ::-1], b) for a, b in zip(found[:5], found[5:], strict=True))
    assert len({view.tobytes() for view in found}) == 10


@pytest.mark.parametrize("augmentation", ["none", "flip", "ten-crop"])
def test_a_map_is_cut_and_mirrored_as_its_picture(augmentation: Augmentation) -> None:
    """Invariant: of a map that is the picture itself, every square is that of the picture."""
    found = views(IMAGE, 20, augmentation, IMAGE)
    assert all(of_map is not None and np.array_equal(square, of_map) for square, of_map in found)


def test_a_map_of_another_size_is_brought_to_that_of_its_picture() -> None:
    """Oracle: a label map at a third of the size, of two halves; the middle of the picture is their border."""
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 15:] = 1
    [(_, of_map)] = views(IMAGE, 40, "none", labels)
    assert of_map is not None
    assert np.array_equal(of_map, np.repeat([[0, 1]], 40, axis=0).repeat(20, axis=1))


def test_a_map_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match="its map is 40x40"):
        views(IMAGE, 20, "none", np.zeros((40, 40), np.uint8))


def test_crops_know_where_they_come_from() -> None:
    """Closed form: five crops of a picture of twice their size, of a map that counts its pixels."""
    places = np.arange(40 * 60).reshape(40, 60)
    found = [of_map for _, of_map in views(IMAGE, 20, "ten-crop", places, side=40)]
    corners = [(0, 0), (0, 40), (20, 0), (20, 40), (10, 20)]
    for (top, left), of_map in zip(corners, found[:5], strict=True):
        assert of_map is not None
        assert np.array_equal(of_map, places[top : top + 20, left : left + 20])
