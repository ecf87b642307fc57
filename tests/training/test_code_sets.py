"""Views of an image that are encoded."""

from __future__ import annotations

import numpy as np
import pytest

from vqgan_cli.core.training.code_sets import views

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_flip_mirrors_the_centre() -> None:
    """Oracle: the crop written out."""
    centre = IMAGE[:, 10:50]
    only = views(IMAGE, 40, "none")
    assert len(only) == 1
    assert np.array_equal(only[0], centre)
    assert np.array_equal(views(IMAGE, 40, "flip")[1], centre[:, ::-1])


@pytest.mark.parametrize("image", [IMAGE, IMAGE[:, :40]])
def test_ten_crops(image: np.ndarray) -> None:
    """Invariant: ten different squares; the second five mirror the first."""
    found = views(image, 20, "ten-crop")
    assert len(found) == 10
    assert {view.shape for view in found} == {(20, 20, 3)}
    assert all(np.array_equal(a[:, ::-1], b) for a, b in zip(found[:5], found[5:], strict=True))
    assert len({view.tobytes() for view in found}) == 10
