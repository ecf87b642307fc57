"""Low resolution: smaller and larger again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.maps.lowres import LowRes, shrink
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS

FACE = SYNTHETIC_SETS["faces"].draw(0, 0, 64, 48).image


def test_box_filter() -> None:
    """Closed form: means of blocks."""
    means = FACE.reshape(16, 4, 12, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrink(FACE, 4, "box") - means).max() <= 1  # Pillow rounds after rows and after columns


def test_sides_that_do_not_divide_are_rounded_up() -> None:
    assert shrink(FACE[:61, :45], 4, "bicubic").shape == (16, 12, 3)


@pytest.mark.parametrize("filter_", ["bicubic", "lanczos", "box"])
def test_a_small_file_is_what_was_computed(tmp_path: Path, filter_: str) -> None:
    """Invariant: reading the small picture gives the map that is computed from the large one."""
    kind = LowRes(MapsConfig.model_validate({"lowres_filter": filter_}))
    write_image(tmp_path / "small.png", shrink(FACE, 4, filter_))
    assert np.array_equal(kind.read(tmp_path / "small.png"), kind.compute(FACE))


def test_a_flat_picture_stays() -> None:
    flat = np.full((32, 32, 3), 93, np.uint8)
    assert np.array_equal(LowRes(MapsConfig()).compute(flat), flat)
