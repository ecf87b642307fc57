from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.bad_images import OK, write_bad_images
from vqgan_cli.core.data.failures import ReadFailures
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.sources import FileSource, ImageSource, SyntheticSource
from vqgan_cli.core.data.splitting import split
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.errors import DataError, ImageError, UsageError


def draw(path: Path, value: int = 0, size: tuple[int, int] = (8, 10)) -> Path:
    """A gray picture of (height, width) pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)
    return path


def keys(source: ImageSource) -> list[str]:
    return [source.key(index) for index in range(len(source))]


def test_a_folder_is_read_in_natural_order_and_without_what_is_hidden(tmp_path: Path) -> None:
    names = ["b.png", "img2.png", "img10.PNG", "a/x.jpeg", "a/y.webp", "a b/z.png"]
    for number, name in enumerate(names):
        draw(tmp_path / name, number)
    for name in (".hidden.png", ".git/x.png", "__MACOSX/x.png", "a/._x.png"):
        draw(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(str(tmp_path))
    assert keys(source) == ["a/x.jpeg", "a/y.webp", "a b/z.png", "b.png", "img2.png", "img10.PNG"]
    assert [int(source.read(index)[0, 0, 0]) for index in (3, 4, 5)] == [0, 1, 2]
    assert source.size(0) == (8, 10)
    assert source.classes == ()
    assert source.label(0) == -1


def test_a_tree_of_class_folders(tmp_path: Path) -> None:
    for name in ("cat10/a.png", "cat2/b.png", "cat2/deeper/c.png", "dog/d.png"):
        draw(tmp_path / name)
    (tmp_path / "empty").mkdir()
    source = open_source(str(tmp_path))
    assert source.classes == ("cat2", "cat10", "dog")
    labels = {source.key(index): source.label(index) for index in range(len(source))}
    assert labels == {"cat2/b.png": 0, "cat2/deeper/c.png": 0, "cat10/a.png": 1, "dog/d.png": 2}
    draw(tmp_path / "loose.png")
    assert open_source(str(tmp_path)).classes == ()


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_links_and_loops(tmp_path: Path) -> None:
    """Oracle: every real folder once, real ones first; nothing from outside by way of a parent."""
    photos, outside = tmp_path / "photos", tmp_path / "outside"
    draw(photos / "b" / "1.png")
    draw(outside / "2.png")
    draw(tmp_path / "neighbour.png")
    (photos / "a-link-to-b").symlink_to("b", target_is_directory=True)
    (photos / "b" / "loop").symlink_to("..", target_is_directory=True)
    (photos / "up").symlink_to("../..", target_is_directory=True)
    (photos / "out").symlink_to("../outside", target_is_directory=True)
    (outside / "back").symlink_to("../photos", target_is_directory=True)
    (photos / "file.png").symlink_to("b/1.png")
    (photos / "broken").symlink_to("nowhere")
    os.mkfifo(photos / "pipe.png")
    assert keys(open_source(str(photos))) == ["b/1.png", "file.png", "out/2.png"]
    (tmp_path / "entry").symlink_to("photos", target_is_directory=True)
    assert keys(open_source(str(tmp_path / "entry"))) == ["b/1.png", "file.png", "out/2.png"]


def test_every_bad_file_is_part_of_the_folder_and_fails_alone(tmp_path: Path) -> None:
    expected = write_bad_images(tmp_path)
    source = open_source(str(tmp_path))
    assert sorted(keys(source)) == sorted(expected)
    failures = ReadFailures()
    for index in range(len(source)):
        try:
            source.read(index)
        except ImageError as error:
            failures.add(error.path, error.reason)
    assert {Path(path).name for path, _ in failures} == {
        name for name, is_ok in expected.items() if is_ok != OK
    }


def test_a_list_of_paths(tmp_path: Path) -> None:
    draw(tmp_path / "sub" / "b.png", 1)
    draw(tmp_path / "sub" / "a with space.png", 2)
    absolute = draw(tmp_path / "else where" / "ü.png", 3)
    lines = ["\ufeff# comment", "", "b.png\r", "  a with space.png", str(absolute), "missing.png"]
    (tmp_path / "sub" / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    source = open_source(str(tmp_path / "sub" / "list.txt"))
    assert keys(source) == ["sub/b.png", "sub/a with space.png", "else where/ü.png", "sub/missing.png"]
    assert [int(source.read(index)[0, 0, 0]) for index in range(3)] == [1, 2, 3]
    with pytest.raises(ImageError, match=r"missing.png.*does not exist"):
        source.read(3)


def test_lists_that_cannot_be_meant(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.png\nb.png\n")
    with pytest.raises(DataError, match=r"none of the 2 files .*a\.png") as caught:
        open_source(str(path))
    assert "relative" in str(caught.value.hint)
    path.write_text("A line of prose, longer than the name of a file can be. " * 10)
    with pytest.raises(DataError, match="none of the 1 files"):
        open_source(str(path))
    path.write_text("# nothing\n\n")
    with pytest.raises(DataError, match="lists no paths"):
        open_source(str(path))
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(DataError, match="neither an image nor a text file"):
        open_source(str(path))


def test_globs(tmp_path: Path) -> None:
    for name in ("x/1.png", "x/2.jpg", "x/.hidden/3.png", "y/deep/10.png", "y/deep/9.png", "z.png", "z.txt"):
        draw(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).touch()
    (tmp_path / "x" / "loop").symlink_to("..", target_is_directory=True)
    assert keys(open_source(f"{tmp_path}/**/*.png")) == ["x/1.png", "y/deep/9.png", "y/deep/10.png", "z.png"]
    assert keys(open_source(f"{tmp_path}/?/*.*")) == ["1.png", "2.jpg"]
    assert len(open_source(f"{tmp_path}/**")) == 5
    assert keys(open_source(f"{tmp_path}/[xy]/deep/9*")) == ["9.png"]
    assert keys(open_source(f"{tmp_path}/x/.h*/*.png")) == ["3.png"]
    with pytest.raises(DataError, match="no image matches"):
        open_source(f"{tmp_path}/*.bmp")
    with pytest.raises(DataError, match="no such file or folder"):
        open_source(f"{tmp_path}/nowhere/*.png")


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    draw(tmp_path / "photos [2020]" / "a.png")
    assert keys(open_source(str(tmp_path / "photos [2020]"))) == ["a.png"]


def test_a_single_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert keys(open_source("a.png")) == ["a.png"]
    assert open_source("a.png").read(0).shape == (8, 10, 3)


def test_what_is_missing_is_named_with_the_nearest_name(tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "train" / "a.png")
    with pytest.raises(DataError, match="did you mean 'photos'"):
        open_source(str(tmp_path / "photo"))
    with pytest.raises(DataError, match=r"there is no '.*fotos' \(did you mean 'photos'\?\)"):
        open_source(str(tmp_path / "fotos" / "train"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in folder") as caught:
        open_source(str(tmp_path / "empty"))
    assert "jpeg, png, webp" in str(caught.value.hint)


def test_label_maps(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 7)
    labels = open_source(str(tmp_path), kind="segmentation").read(0)
    assert labels.shape == (8, 10)
    assert (labels == 7).all()


def test_options_reach_the_reader(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(tmp_path / "a.png")
    source = open_source(str(tmp_path), background=(1, 2, 3))
    assert source.read(0)[0, 0].tolist() == [1, 2, 3]
    with pytest.raises(ImageError, match="megapixels"):
        open_source(str(tmp_path), max_megapixels=1e-6).read(0)


def test_fingerprints_follow_names_and_content_not_the_place(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        os.utime(draw(tmp_path / folder / "a.png"), (1e9, 1e9))
    first = open_source(str(tmp_path / "one")).fingerprint
    assert open_source(str(tmp_path / "two")).fingerprint == first
    assert open_source(str(tmp_path / "two"), kind="segmentation").fingerprint != first
    os.utime(tmp_path / "two" / "a.png", (2e9, 2e9))
    assert open_source(str(tmp_path / "two")).fingerprint != first
    draw(tmp_path / "one" / "b.png")
    assert open_source(str(tmp_path / "one")).fingerprint != first
    (tmp_path / "one" / "b.png").unlink()
    assert open_source(str(tmp_path / "one")).fingerprint == first


@pytest.mark.parametrize("name", sorted(SYNTHETIC_SETS))
def test_synthetic_sets(name: str) -> None:
    """Oracle: determinism, and what the set itself says about the drawing."""
    source = open_source(f"synthetic:{name}", synthetic_size=(16, 24), synthetic_length=7, seed=3)
    assert isinstance(source, SyntheticSource)
    assert (len(source), source.size(0), source.key(2)) == (7, (16, 24), f"{name}-000002")
    drawing = SYNTHETIC_SETS[name].draw(3, 2, 16, 24)
    np.testing.assert_array_equal(source.read(2), drawing.image)
    assert source.label(2) == drawing.label
    assert source.classes == SYNTHETIC_SETS[name].classes
    labels = open_source(f"synthetic:{name}", kind="segmentation", synthetic_size=16, seed=3)
    assert labels.read(2).shape == (16, 16)

    held_out = source.held_out(5)
    assert len(held_out) == 5
    assert (held_out.read(2) != source.read(2)).any()
    same = open_source(f"synthetic:{name}", synthetic_size=(16, 24), synthetic_length=7, seed=3)
    assert len({source.fingerprint, held_out.fingerprint, labels.fingerprint}) == 3
    assert same.fingerprint == source.fingerprint


def test_an_unknown_synthetic_set() -> None:
    with pytest.raises(UsageError, match="did you mean 'faces'") as caught:
        open_source("synthetic:face")
    assert "synthetic:faces" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no synthetic set"):
        open_source("synthetic")


def files(count: int) -> FileSource:
    return FileSource("files", Path(), [f"{number}.png" for number in range(count)])


def test_split_partitions_with_about_the_fraction() -> None:
    """Oracle: a binomial share, five standard deviations around it, and determinism."""
    train, validation = split(files(2000), 0.1, 10_000, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(2000))
    assert abs(len(validation) - 200) < 5 * np.sqrt(2000 * 0.1 * 0.9)
    np.testing.assert_array_equal(split(files(2000), 0.1, 10_000, seed=0)[1], validation)
    assert (np.diff(validation) > 0).all()
    other = split(files(2000), 0.1, 10_000, seed=1)[1]
    assert len(np.intersect1d(other, validation)) < 60


def test_more_files_leave_the_split_of_the_others() -> None:
    small, large = split(files(500), 0.2, 10_000, seed=4)[1], split(files(900), 0.2, 10_000, seed=4)[1]
    np.testing.assert_array_equal(large[large < 500], small)
    capped_small, capped_large = split(files(500), 0.2, 30, seed=4)[1], split(files(900), 0.2, 30, seed=4)[1]
    assert len(capped_small) == len(capped_large) == 30
    assert set(capped_large[capped_large < 500]) <= set(capped_small)


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(1, 0.5, 0), (2, 1e-9, 1), (2, 1.0, 1), (10, 0.0, 0), (10, 1.0, 9), (50, 1e-9, 1)],
)
def test_both_sides_of_a_split_hold_something(count: int, fraction: float, expected: int) -> None:
    train, validation = split(files(count), fraction, 100, seed=0)
    assert (len(train), len(validation)) == (count - expected, expected)


def test_failures_are_counted_once() -> None:
    failures = ReadFailures()
    for path in ("a.png", "b.png", "a.png"):
        failures.add(path, "is empty")
    assert len(failures) == 2
    assert list(failures) == [("a.png", "is empty"), ("b.png", "is empty")]
