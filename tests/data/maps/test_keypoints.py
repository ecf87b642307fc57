"""Key points: files, and limbs as they are drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps.keypoints import Keypoints, draw_limbs, keypoints_json, read_points
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.errors import ImageError

FACES = SYNTHETIC_SETS["faces"]


def swapped(name: str) -> str:
    exchange = {"left": "right", "right": "left"}
    return "_".join(exchange.get(part, part) for part in name.split("_"))


def test_mirroring_exchanges_left_and_right() -> None:
    """Oracle: the limbs of mirrored points under the names of the other side."""
    drawing = FACES.draw(0, 1, 96, 80)
    plain = draw_limbs([drawing.keypoints], FACES.skeleton, 96, 80, 0.03)
    mirrored = {swapped(name): (80 - x, y) for name, (x, y) in drawing.keypoints.items()}
    expected = draw_limbs([mirrored], FACES.skeleton, 96, 80, 0.03)
    result = Keypoints(MapsConfig()).mirror(plain)
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert np.abs(plain[:, ::-1].astype(int) - expected).max() > 100


def test_a_limb_is_as_wide_as_asked() -> None:
    """Closed form: a level limb of 10 pixels between two points of the middle; its ends are round."""
    drawn = draw_limbs([{"neck": (20.0, 50.0), "nose": (80.0, 50.0)}], [("neck", "nose")], 100, 100, 0.1)
    lit = drawn.max(axis=2) > 0
    assert lit[:, 50].sum() == 10
    assert np.array_equal(np.flatnonzero(lit[50])[[0, -1]], [15, 84])
    assert (drawn[..., 0] == drawn[..., 2]).all()


@pytest.mark.parametrize("scale", [2, 3])
def test_at_any_size(scale: int) -> None:
    """Invariant: larger limbs, averaged over blocks, are the small ones."""
    points = {name: (x, y) for name, (x, y) in FACES.draw(0, 2, 64, 64).keypoints.items()}
    small = draw_limbs([points], FACES.skeleton, 64, 64, 0.05)
    large = draw_limbs(
        [{name: (x * scale, y * scale) for name, (x, y) in points.items()}],
        FACES.skeleton, 64 * scale, 64 * scale, 0.05,
    )  # fmt: skip
    blocks = large.reshape(64, scale, 64, scale, 3).mean(axis=(1, 3))
    assert np.abs(blocks - small).mean() < 2


def test_points_outside_and_absent_ones() -> None:
    drawn = draw_limbs([{"nose": (-50.0, -50.0), "neck": (-60.0, -80.0)}], FACES.skeleton, 32, 32, 0.05)
    assert not drawn.any()


def test_written_and_read(tmp_path: Path) -> None:
    """Oracle: the limbs of the drawing itself."""
    drawing = FACES.draw(0, 3, 64, 48)
    (tmp_path / "a.json").write_text(json.dumps(keypoints_json(drawing, FACES)))
    kind = Keypoints(MapsConfig())
    direct = kind.from_drawing(drawing, FACES)
    assert (
        np.abs(kind.read(tmp_path / "a.json").astype(int) - direct).max() <= 3
    )  # places are rounded to 0.01
    kind.write(tmp_path / "a.png", direct)
    assert np.array_equal(kind.read(tmp_path / "a.png"), direct)


def test_several_people_and_a_skeleton_beside(tmp_path: Path) -> None:
    (tmp_path / "skeleton.json").write_text('[["a", "b"]]')
    people = [{"a": [1, 2], "b": None}, {"a": [3.5, 4], "b": [5, 6]}]
    (tmp_path / "two.json").write_text(json.dumps({"size": [8, 9], "people": people}))
    points = read_points(tmp_path / "two.json")
    assert points == ((8, 9), [{"a": (1, 2)}, {"a": (3.5, 4), "b": (5, 6)}], [("a", "b")])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no JSON"),
        ("[]", "no JSON object"),
        ('{"points": {}}', 'no "size"'),
        ('{"size": [8, "9"], "points": {}}', 'no "size"'),
        ('{"size": [8, 9]}', 'neither "points"'),
        ('{"size": [8, 9], "points": {"a": [1]}, "skeleton": []}', r"has \[1\] for 'a'"),
        ('{"size": [8, 9], "points": {}}', "no skeleton.json beside it"),
        ('{"size": [8, 9], "points": {}, "skeleton": [["a"]]}', "no list of pairs"),
        ('{"size": [80000, 90000], "points": {}, "skeleton": []}', "above the limit"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ImageError, match=reason):
        Keypoints(MapsConfig()).read(tmp_path / "bad.json")
