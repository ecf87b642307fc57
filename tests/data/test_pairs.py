"""Pictures and maps that belong together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqgan_cli.core.config import DataConfig, MapKindName
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.pairs import open_pairs
from vqgan_cli.core.errors import DataError

CONFIG = DataConfig(size=16)


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (value, 0, 0)).save(path)


def labels(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16), value).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six pictures and their label maps, whose value is the number of the picture."""
    for number in range(6):
        picture(tmp_path / f"image/{number % 2}/p{number}.jpg", number)
        labels(tmp_path / f"segmentation/{number % 2}/p{number}.png", number)
    return tmp_path


def test_folders_are_matched_by_path_without_suffix(root: Path) -> None:
    """Oracle: the value of each map is the number in the name of its picture."""
    pairs = open_pairs(str(root), CONFIG, "segmentation")
    assert len(pairs) == 6
    assert not pairs.unmatched
    for index in range(6):
        assert pairs.maps.read(index)[0, 0] == int(pairs.key(index)[-5])
    assert pairs.classes == ("0", "1")


def test_files_without_partner_are_left_out_and_named(root: Path) -> None:
    (root / "segmentation/0/p2.png").unlink()
    labels(root / "segmentation/1/extra.png")
    pairs = open_pairs(str(root), CONFIG, "segmentation")
    assert len(pairs) == len(pairs.maps) == 5
    assert pairs.unmatched == ("image/0/p2.jpg", "segmentation/1/extra.png")
    assert all(pairs.maps.read(i)[0, 0] == int(pairs.key(i)[-5]) for i in range(5))


def test_nothing_matches(root: Path) -> None:
    for file in (root / "segmentation").rglob("*.png"):
        file.rename(file.with_name(f"x{file.name}"))
    with pytest.raises(DataError, match=r"no picture .* has a segmentation map of its name"):
        open_pairs(str(root), CONFIG, "segmentation")


def test_two_pictures_of_one_name(root: Path) -> None:
    picture(root / "image/0/p0.png")
    with pytest.raises(DataError, match="share the name '0/p0'"):
        open_pairs(str(root), CONFIG, "segmentation")


def test_no_maps_at_all(root: Path) -> None:
    with pytest.raises(DataError, match=r"no depth maps for its pictures: there is no .*depth'"):
        open_pairs(str(root), CONFIG, "depth")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_tables(root: Path, form: str) -> None:
    """Oracle: the order and the pairs of the table, paths relative to it."""
    rows = [(f"image/{n % 2}/p{n}.jpg", f"segmentation/{n % 2}/p{n}.png") for n in (4, 1, 3)]
    if form == "csv":
        text = "image,segmentation\n" + "\n".join(",".join(row) for row in rows)
    else:
        text = "\n".join(json.dumps({"image": a, "segmentation": b}) for a, b in rows)
    (root / f"pairs.{form}").write_text(text)
    pairs = open_pairs(str(root / f"pairs.{form}"), CONFIG, "segmentation")
    assert [int(pairs.maps.read(i)[0, 0]) for i in range(3)] == [4, 1, 3]
    assert [int(pairs.key(i)[-5]) for i in range(3)] == [4, 1, 3]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image,depth\na.png,b.png", "pair 1: there is no path under 'segmentation'"),
        ("image,segmentation\n", "lists no pairs"),
        ("segmentation\nc.png", "pair 1: there is no path under 'image'"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        open_pairs(str(tmp_path / "pairs.csv"), CONFIG, "segmentation")


@pytest.mark.parametrize("kind", ["segmentation", "depth", "edges", "keypoints", "lowres"])
def test_synthetic_sets_have_every_kind(kind: MapKindName) -> None:
    """Invariant: picture and map are of one drawing, so that both sides have the same names; validation differs."""
    pairs = open_pairs("synthetic:faces", CONFIG, kind)
    held_out = pairs.held_out(10)
    assert held_out is not None
    assert pairs.key(3) == pairs.maps.key(3)
    assert pairs.maps.finish(pairs.maps.read(3)).shape[:2] == (16, 16)
    assert held_out.fingerprint != pairs.fingerprint


def test_edges_are_computed_from_plain_photos_or_read_from_their_folder(root: Path) -> None:
    square = np.zeros((16, 16, 3), np.uint8)
    square[4:12, 4:12] = 255
    computed = open_pairs(str(root / "image"), CONFIG, "edges")
    assert computed.maps.finish(square).any()
    for number in range(6):
        labels(root / f"edges/{number % 2}/p{number}.png", 255)
    given = open_pairs(str(root), CONFIG, "edges")
    assert given.maps.finish(given.maps.read(0)).all()


def test_sources_of_a_paired_folder(root: Path) -> None:
    """Invariant: each kind of data finds its own folder; folders of kinds are not taken for classes."""
    write_image(root / "depth.png", np.full((16, 16), 9, np.uint16))
    images = open_source(str(root))
    assert len(images) == 6
    assert images.classes == ("0", "1")
    assert len(open_source(str(root), kind="segmentation")) == 6
    assert len(open_source(str(root), kind="edges")) == 6  # computed
    with pytest.raises(DataError, match="has no folder 'depth', only image, segmentation"):
        open_source(str(root), kind="depth")


def test_a_folder_called_synthetic_is_a_folder(tmp_path: Path) -> None:
    """Pictures are never taken for label maps."""
    picture(tmp_path / "synthetic-photos/a.png")
    with pytest.raises(DataError, match="no segmentation maps for its pictures"):
        open_pairs(str(tmp_path / "synthetic-photos"), CONFIG, "segmentation")


def test_the_skeleton_beside_key_points_is_no_map(tmp_path: Path) -> None:
    picture(tmp_path / "image/a.png")
    (tmp_path / "keypoints").mkdir()
    (tmp_path / "keypoints/a.json").write_text('{"size": [16, 16], "points": {"x": [1, 1], "y": [9, 9]}}')
    (tmp_path / "keypoints/skeleton.json").write_text('[["x", "y"]]')
    pairs = open_pairs(str(tmp_path), CONFIG, "keypoints")
    assert not pairs.unmatched
    assert pairs.maps.read(0).any()
    assert len(open_source(str(tmp_path), kind="keypoints")) == 1


def test_fingerprints_follow_either_side(root: Path) -> None:
    before = open_pairs(str(root), CONFIG, "segmentation").fingerprint
    assert before == open_pairs(str(root), CONFIG, "segmentation").fingerprint
    Image.new("L", (20, 20), 9).save(root / "segmentation/0/p0.png")
    assert before != open_pairs(str(root), CONFIG, "segmentation").fingerprint


def test_one_column_of_a_table(root: Path) -> None:
    """Oracle: the order of the table; edges are computed where it has no column of them."""
    (root / "pairs.csv").write_text("image,segmentation\nimage/1/p3.jpg,segmentation/1/p3.png\n")
    assert open_source(str(root / "pairs.csv")).key(0) == "p3.jpg"
    assert open_source(str(root / "pairs.csv"), kind="segmentation").read(0)[0, 0] == 3
    assert (
        open_pairs(str(root / "pairs.csv"), CONFIG, "edges").maps.finish(np.zeros((9, 9, 3), np.uint8)).any()
        == 0
    )
    with pytest.raises(DataError, match="no path under 'depth'"):
        open_source(str(root / "pairs.csv"), kind="depth")
