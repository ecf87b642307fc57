"""Depth maps: metres to [-1, 1] and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.maps.depth import Depth
from vqgan_cli.core.errors import ImageError

MILLIMETRES = np.array([[0, 1000, 2000], [3000, 4000, 5000]] * 5, np.uint16).repeat(5, axis=1)


def test_each_map_by_its_own_range(tmp_path: Path) -> None:
    """Closed form: 1 to 5 m become -0.9 to 1; 0 is unknown."""
    write_image(tmp_path / "depth.png", MILLIMETRES)
    read = Depth(MapsConfig()).read(tmp_path / "depth.png")
    assert read.dtype == np.float32
    expected = np.where(MILLIMETRES == 0, -1, -0.9 + 1.9 * (MILLIMETRES / 1000 - 1) / 4)
    np.testing.assert_allclose(read, expected, atol=1e-6)


def test_a_fixed_range(tmp_path: Path) -> None:
    """Closed form: 2 to 4 m; what is nearer or farther is clamped. Written again, it is metres."""
    depth = Depth(MapsConfig(depth_range=(2, 4)))
    write_image(tmp_path / "depth.png", MILLIMETRES)
    read = depth.read(tmp_path / "depth.png")
    expected = -0.9 + 1.9 * (MILLIMETRES / 1000 - 2).clip(0, 2) / 2
    np.testing.assert_allclose(read, np.where(MILLIMETRES == 0, -1, expected), atol=1e-6)
    depth.write(tmp_path / "again.png", read)
    again = np.asarray(Image.open(tmp_path / "again.png"))
    assert np.array_equal(again, np.where(MILLIMETRES == 0, 0, MILLIMETRES.clip(2000, 4000)))


def test_without_unknown_depth(tmp_path: Path) -> None:
    """Closed form: 0 to 5 m become -1 to 1."""
    write_image(tmp_path / "depth.png", MILLIMETRES)
    read = Depth(MapsConfig(depth_unknown=None)).read(tmp_path / "depth.png")
    np.testing.assert_allclose(read, MILLIMETRES / 2500 - 1, atol=1e-6)


@pytest.mark.parametrize("unknown", [0.0, None])
def test_written_and_read(tmp_path: Path, unknown: float | None) -> None:
    """Invariant: a relative map is read back as it was, within a 16-bit step."""
    depth = Depth(MapsConfig(depth_unknown=unknown))
    write_image(tmp_path / "depth.png", MILLIMETRES)
    read = depth.read(tmp_path / "depth.png")
    depth.write(tmp_path / "again.png", read)
    np.testing.assert_allclose(depth.read(tmp_path / "again.png"), read, atol=5e-5)


def test_npy_is_in_metres(tmp_path: Path) -> None:
    """Oracle: the same map in millimetres; NaN is unknown."""
    metres = np.where(MILLIMETRES == 0, np.nan, MILLIMETRES / 1000)
    np.save(tmp_path / "depth.npy", metres)
    write_image(tmp_path / "depth.png", MILLIMETRES)
    depth = Depth(MapsConfig())
    np.testing.assert_allclose(
        depth.read(tmp_path / "depth.npy"), depth.read(tmp_path / "depth.png"), atol=1e-6
    )


def test_flat_depth_lies_in_the_middle(tmp_path: Path) -> None:
    """Closed form: halfway between -0.9 and 1."""
    write_image(tmp_path / "depth.png", np.full((10, 10), 700, np.uint16))
    np.testing.assert_allclose(Depth(MapsConfig()).read(tmp_path / "depth.png"), 0.05, atol=1e-6)


def test_files_that_are_no_depth(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "colour.png")
    Image.new("L", (10, 10), 5).save(tmp_path / "lossy.jpg")
    Image.new("L", (10, 10), 0).save(tmp_path / "empty.png")
    np.save(tmp_path / "three.npy", np.zeros((4, 4, 3)))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    for name, reason in {
        "colour.png": "is RGB: a depth map has one channel",
        "lossy.jpg": "does not keep exact depth",
        "empty.png": "no pixel of known depth",
        "three.npy": r"holds float64 \[4, 4, 3\]",
        "objects.npy": "no plain .npy array",
        "absent.png": "does not exist",
    }.items():
        with pytest.raises(ImageError, match=reason):
            Depth(MapsConfig()).read(tmp_path / name)


def test_real_depth(shared: Path) -> None:
    """Invariant: the nearest known point is -0.9, the farthest 1, holes are -1."""
    for path in sorted((shared / "data/rgbd/val/depth").iterdir())[:3]:
        read = Depth(MapsConfig()).read(path)
        assert read.max() == 1
        assert np.isclose(read[read > -1].min(), -0.9)
        assert np.array_equal(read == -1, np.asarray(Image.open(path)) == 0)
