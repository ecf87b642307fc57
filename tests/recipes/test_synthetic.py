"""Built-in pictures with their maps as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.recipes.conftest import Vqgan
from vqgan_cli.core.config import DataConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.pairs import open_pairs
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS


def test_maps_are_a_training_set_of_pairs(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the maps of the drawings themselves; key points are rounded."""
    done = vqgan("synthetic", "faces", "-n", "3", "--size", "48x32", "--maps", "all", "-o", "pairs")
    assert done.code == 0, done.err
    config = DataConfig()
    drawn_by = SYNTHETIC_SETS["faces"]
    for kind in ("segmentation", "depth", "edges", "keypoints"):
        pairs = open_pairs(str(tmp_path / "pairs"), config, kind)
        assert len(pairs) == 3
        for index in range(3):
            drawing = drawn_by.draw(0, index, 48, 32)
            expected = build_map_kind(kind, config.maps).from_drawing(drawing, drawn_by)
            assert np.array_equal(pairs.read(index), drawing.image)
            tolerance = 3 if kind == "keypoints" else 0
            assert np.abs(pairs.maps.read(index).astype(float) - expected).max() <= tolerance


@pytest.mark.parametrize(("maps", "reason"), [("lowres", "is computed"), ("depht", "did you mean 'depth'")])
def test_maps_that_are_not_there(vqgan: Vqgan, maps: str, reason: str) -> None:
    done = vqgan("synthetic", "faces", "-n", "1", "--maps", maps)
    assert done.code == 2
    assert reason in done.err
