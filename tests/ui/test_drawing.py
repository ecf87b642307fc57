"""Images while they are drawn, by class, by maps, completed and enlarged: the same as those of the commands."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.recipes.conftest import Vqgan
from tests.ui.conftest import FACES, pixels
from vqgan_cli.core.errors import ImageError, StoppedError, UsageError
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.background import StopButton, shown_by
from vqgan_cli.core.interactive.commands import generate_command
from vqgan_cli.core.interactive.drawing import View, draw, draw_all
from vqgan_cli.core.interactive.enlarging import enlarge_by_model, made_small
from vqgan_cli.core.interactive.maps import (
    given_map,
    label_palette,
    labels_of,
    painted_map,
    painted_mask,
    read_labels,
)
from vqgan_cli.core.interactive.workbench import TOOLS, Workbench, read_photo


def last(bench: Workbench, request: Request, label: int | None = None) -> View:
    *_, view = draw(bench, request, label, StopButton())
    assert view.finished
    return view


def views(bench: Workbench, request: Request, label: int | None = None) -> list[View]:
    seen: list[View] = []
    draw_all(bench, request, label, StopButton(), seen.append, seconds=0)
    return seen


@pytest.mark.parametrize(
    ("request_", "label"),
    [
        (Request(images=3, seed=5), None),
        (Request(images=2, seed=1, temperature=0.7, top_k=40, top_p=0.9, guidance=2.0), 1),
        (Request(images=1, size=(12, 16), stride=2), 2),
    ],
)
def test_images_are_those_of_the_command_that_the_page_shows(
    by_class: Workbench, request_: Request, label: int | None, tmp_path: Path, vqgan: Vqgan
) -> None:
    view = last(by_class, request_, label)
    words = shlex.split(generate_command(by_class, request_, label))
    assert words[0] == "vqgan"
    assert vqgan(*words[1:], "-o", "out").code == 0
    files = sorted(path for path in (tmp_path / "out").glob("*.png") if path.name != "sheet.png")
    theirs = sorted(pixels(path).tobytes() for path in files)
    assert sorted(picture.tobytes() for picture in view.pictures) == theirs
    assert view.names == ["tabby"] * 2 or label != 1


def test_previews_change_nothing_and_are_gray_where_nothing_is_drawn(
    by_class: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqgan_cli.core.interactive.drawing.PREVIEW_SHARE", 1e9)
    request = Request(images=2, seed=3)
    *early, end = views(by_class, request, 0)
    assert [view.done for view in early] == list(range(2, 33, 2))
    quiet: list[View] = []
    draw_all(by_class, request, 0, StopButton(), quiet.append, seconds=1e9)
    assert len(quiet) == 2  # the first code, and the end
    assert np.array_equal(quiet[-1].pictures, end.pictures)
    for view in early:
        drawn = view.done // 2
        for picture in view.pictures:
            gray = (picture == 128).all(-1).reshape(4, 2, 4, 2).all((1, 3)).flatten()
            assert gray[drawn:].all()
            assert not gray[:drawn].any()


def test_stop_ends_it_between_two_codes(by_class: Workbench) -> None:
    stop, seen = StopButton(), []

    def show(view: View) -> None:
        seen.append(view)
        stop.press()

    with pytest.raises(StoppedError):
        draw_all(by_class, Request(images=2), 0, stop, show)
    assert len(seen) == 1
    with pytest.raises(StoppedError):  # pressed while waiting
        list(draw(by_class, Request(), 0, stop))


def test_who_looks_away_stops_the_work() -> None:
    stop = StopButton()

    def work(show: object) -> None:
        show(1)  # type: ignore[operator]
        while not stop.pending():
            pass

    looking = shown_by(work, stop)
    assert next(looking) == 1
    looking.close()
    assert stop.pending()


def test_errors_of_the_work_reach_who_looks(by_class: Workbench) -> None:
    with pytest.raises(UsageError, match="not a multiple"):
        last(by_class, Request(size=(9, 8)))
    with pytest.raises(UsageError, match="million pixels"):
        last(by_class, Request(size=(4096, 4096)))


def test_completed_photo_keeps_what_was_not_painted(
    by_class: Workbench, photo: Path, tmp_path: Path, vqgan: Vqgan
) -> None:
    picture = read_photo(by_class, photo, 8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    paint = np.zeros((80, 110), np.bool_)
    paint[70:, 50:60] = True
    known = painted_mask(paint, tmp_path, picture.shape[:2])
    assert picture.shape == (8, 10, 3)
    assert np.argwhere(pixels(known) == 0).tolist() == [[7, 4], [7, 5]]
    request = Request(images=1, complete=tmp_path / "photo.png", known=str(known), blend=True)
    view = last(by_class, request, 0)
    done = vqgan(
        *("generate", "--model", by_class.info.path, "--class", "0", "-n", "1", "--complete", "photo.png"),
        *("--known", known, "--blend", "-o", "out"),
    )
    assert done.code == 0, done.err
    (theirs,) = (path for path in (tmp_path / "out").glob("*.png") if path.name != "sheet.png")
    assert np.array_equal(view.pictures[0], pixels(theirs))
    assert np.array_equal(view.pictures[0][:3], picture[:3])
    with pytest.raises(UsageError, match="nothing to draw"):
        painted_mask(np.zeros((4, 4), np.bool_), tmp_path, (8, 8))


def test_painted_colours_are_labels_whatever_their_edges(by_map: Workbench) -> None:
    palette = label_palette(len(by_map.label_names))
    table = np.array(palette)

    def mixed(one: int, other: int) -> tuple[int, int]:
        """The label that half of each is nearest to, and how near."""
        apart = np.abs((table[one] + table[other]) // 2 - table).max(1)
        return int(apart.argmin()), int(apart.min())

    pairs = [(one, other) for one in range(len(table)) for other in range(one)]
    inner, outer = next((i, o) for i, o in pairs if mixed(i, o)[0] not in (i, o) and mixed(i, o)[1] > 24)
    labels = np.full((16, 16), outer, np.uint8)
    labels[4:12, 4:12] = inner
    painted = table.astype(np.uint8)[labels]
    assert np.array_equal(labels_of(painted, palette), labels)
    painted[4, 4:12] = (table[inner] + table[outer]) // 2  # as a smooth edge
    found = labels_of(painted, palette)
    assert set(np.unique(found)) == {inner, outer}
    assert np.array_equal(np.delete(found, 4, 0), np.delete(labels, 4, 0))
    assert len(set(label_palette(200))) == 200


def test_painted_map_draws_what_its_file_would(by_map: Workbench, tmp_path: Path, vqgan: Vqgan) -> None:
    assert by_map.label_names == list(FACES.parts)
    palette = label_palette(len(by_map.label_names))
    labels = FACES.draw(1, 0, 32, 32).segmentation
    Image.fromarray(labels).save(tmp_path / "labels.png")
    painted = np.array(palette, np.uint8)[read_labels(by_map, tmp_path / "labels.png")]
    made = painted_map(by_map, painted.repeat(8, 0).repeat(8, 1), tmp_path, 32)
    assert np.array_equal(pixels(made.path), labels)
    view = last(by_map, Request(images=1, condition=str(made.path), size=made.size))
    words = ("generate", "--model", by_map.info.path, "--condition", "labels.png", "-o", "out")
    assert vqgan(*words).code == 0
    (theirs,) = (path for path in (tmp_path / "out").glob("*.png") if path.name != "sheet.png")
    assert np.array_equal(view.pictures[0], pixels(theirs))
    Image.fromarray(np.full((32, 32), 77, np.uint8)).save(tmp_path / "odd.png")
    with pytest.raises(ImageError, match="class 77"):
        read_labels(by_map, tmp_path / "odd.png")


def test_map_of_a_photo_is_computed(larger: Workbench, photo: Path, tmp_path: Path) -> None:
    made = given_map(larger, photo, tmp_path, 32, of_photo=True)
    assert made.size == (32, 40)
    assert made.of_photo
    assert made.picture.shape == (32, 40, 3)
    view = last(larger, Request(images=1, condition=str(made.path), from_images=True, size=made.size))
    assert view.pictures[0].shape == (32, 40, 3)


def test_enlarged_picture_is_that_of_the_command(
    larger: Workbench, photo: Path, tmp_path: Path, vqgan: Vqgan
) -> None:
    small = made_small(larger, pixels(photo))
    assert small.shape == (8, 10, 3)
    Image.fromarray(small).save(tmp_path / "small.png")
    *early, end = enlarge_by_model(larger, small, Request(seed=4), StopButton(), consistent=True)
    assert all(view.picture is None for view in early)
    assert (
        vqgan(
            *(
                "upscale",
                "small.png",
                "-o",
                "big.png",
                "--model",
                larger.info.path,
                "--seed",
                "4",
                "--consistent",
            )
        ).code
        == 0
    )
    assert np.array_equal(end.picture, pixels(tmp_path / "big.png"))
    assert end.bicubic is not None
    assert end.bicubic.shape == (32, 40, 3)
    assert end.consistency > 30


def test_each_model_has_the_tools_that_it_can_use(
    tokenizer: Workbench, by_class: Workbench, by_map: Workbench, larger: Workbench
) -> None:
    tools = [[t for t in TOOLS if not bench.missing(t)] for bench in (tokenizer, by_class, by_map, larger)]
    assert tools == [
        ["reconstruct"],
        ["reconstruct", "generate", "complete"],
        ["reconstruct", "condition"],
        ["reconstruct", "condition", "complete", "upscale"],
    ]
