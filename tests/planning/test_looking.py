"""What is found out about a set of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqgan_cli.core.errors import DataError
from vqgan_cli.core.planning.looking import look_at


def write(path: Path, height: int, width: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def test_number_sizes_classes_and_colour(tmp_path: Path) -> None:
    """Oracle: what was written; a file that is none is named."""
    for number in range(3):
        write(tmp_path / f"cat/{number}.png", 40, 30)
    write(tmp_path / "dog/0.png", 90, 100, "L")
    (tmp_path / "dog/1.png").write_text("no picture")
    facts = look_at(str(tmp_path))
    assert (facts.images, facts.looked_at) == (5, 5)
    assert [name for name, _ in facts.unreadable] == ["dog/1.png"]
    assert facts.short_side == (30, 30, 90)
    assert facts.sizes == [((40, 30), 0.75), ((90, 100), 0.25)]
    assert facts.classes == {"cat": 3, "dog": 2}
    assert facts.gray_share == 0.25
    assert (facts.maps, facts.labels, facts.endless) == ((), 0, False)


def test_maps_beside_the_pictures(tmp_path: Path) -> None:
    """Oracle: what was written."""
    write(tmp_path / "image/0.png", 32, 32)
    labels = np.zeros((32, 32), np.uint8)
    labels[3, 4] = 6
    (tmp_path / "segmentation").mkdir()
    Image.fromarray(labels).save(tmp_path / "segmentation/0.png")
    facts = look_at(str(tmp_path))
    assert (facts.maps, facts.labels) == (("segmentation",), 7)


def test_endless_set() -> None:
    """Invariant: it has classes and colour, and counts as one of any size."""
    facts = look_at("synthetic:faces")
    assert facts.endless
    assert len(facts.classes) == 12
    assert facts.gray_share == 0


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "0.png").touch()
    with pytest.raises(DataError, match=r"'0\.png' is empty"):
        look_at(str(tmp_path))
