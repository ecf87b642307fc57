"""Label maps: what counts as a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps.segmentation import Segmentation, label_colors
from vqgan_cli.core.errors import ImageError, UsageError

LABELS = np.random.default_rng(0).integers(0, 12, (20, 30)).astype(np.uint8)


@pytest.mark.parametrize(("classes", "kind"), [(12, np.uint8), (400, np.uint16)])
def test_written_and_read(tmp_path: Path, classes: int, kind: type) -> None:
    """Oracle: the map itself."""
    labels = LABELS.astype(kind)
    labels[0, 0] = classes - 1
    segmentation = Segmentation(MapsConfig(classes=classes))
    segmentation.write(tmp_path / "map.png", labels)
    assert np.array_equal(segmentation.read(tmp_path / "map.png"), labels)


def test_ignored_pixels_become_the_last_class_and_get_their_label_back(tmp_path: Path) -> None:
    """Oracle: the map with 12 in place of 255."""
    labels = LABELS.copy()
    labels[:5] = 255
    Image.fromarray(labels).save(tmp_path / "map.png")
    segmentation = Segmentation(MapsConfig(classes=12, ignore_label=255))
    read = segmentation.read(tmp_path / "map.png")
    assert np.array_equal(read, np.where(labels == 255, 12, labels))
    segmentation.write(tmp_path / "again.png", read)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), labels)


def test_unknown_class(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "map.png")
    with pytest.raises(ImageError, match="has class 11; there are 5 classes, 0 to 4"):
        Segmentation(MapsConfig(classes=5)).read(tmp_path / "map.png")


def test_ignore_label_needs_the_classes() -> None:
    with pytest.raises(UsageError, match="needs the number of classes"):
        Segmentation(MapsConfig(ignore_label=255))


def test_colours_tell_neighbours_apart() -> None:
    """Invariant: 30 classes, 30 colours; a colour does not depend on the other classes of a map."""
    colours = label_colors(np.arange(30)[None])[0]
    assert len({tuple(colour) for colour in colours}) == 30
    assert np.array_equal(label_colors(np.arange(5)[None])[0], colours[:5])


def test_real_label_maps(shared: Path) -> None:
    """Oracle: CamVid has 12 classes."""
    segmentation = Segmentation(MapsConfig(classes=12))
    for path in sorted((shared / "data/camvid/val/segmentation").iterdir())[:5]:
        assert segmentation.read(path).shape == (180, 240)
