"""`Sampler` draws what ``vqgan generate`` draws. Oracle: the files of the command, pixel by pixel and code by code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vqgan_cli import Sampler, VqganError, load_sampler, load_transformer, open_codes
from vqgan_cli.cli.app import run


@pytest.fixture
def by_class(here: Path) -> Sampler:
    return load_sampler(here / "runs/my-transformer")


def generated(
    out: Path, *words: str, model: str = "runs/my-transformer"
) -> tuple[list[str], list[np.ndarray]]:
    """Names and pixels of what the command makes."""
    command = ["generate", "--model", model, "-o", str(out), "--device", "cpu", "--quiet", *words]
    assert run([*command, "--codes", str(out / "codes.npy")]) == 0
    codes = open_codes(out / "codes.npy")
    return codes.names, [np.asarray(Image.open(out / name)) for name in codes.names]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": "red", "images": 3, "seed": 5}, ["--class", "red", "-n", "3", "--seed", "5"]),
        ({"classes": [1, "blue"], "images": 2, "top_k": 9}, ["--class", "1,blue", "-n", "2", "--top-k", "9"]),
        ({"images": 5, "max_batch": 2}, ["-n", "5", "--max-batch", "2"]),
        (
            {"classes": "all", "images": 1, "guidance": 2.0, "temperature": 0.8, "top_p": 0.9},
            ["--class", "all", "-n", "1", "--cfg", "2", "--temperature", "0.8", "--top-p", "0.9"],
        ),
        (
            {"classes": 0, "images": 2, "size": (16, 24), "stride": 2},
            ["--class", "0", "-n", "2", "--size", "16x24", "--stride", "2"],
        ),
        (
            {"classes": 0, "images": 2, "complete": "photo.png", "known": "top:0.5", "blend": True},
            ["--class", "0", "-n", "2", "--complete", "photo.png", "--known", "top:0.5", "--blend"],
        ),
        (
            {"classes": 0, "images": 2, "variations": Path("photo.png"), "strength": 0.3},
            ["--class", "0", "-n", "2", "--variations", "photo.png", "--strength", "0.3"],
        ),
    ],
    ids=["class", "classes", "in-turn", "guided", "large", "complete", "vary"],
)
def test_draws_what_the_command_draws(
    by_class: Sampler, options: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    names, pictures = generated(tmp_path, *words)
    drawn = by_class.draw(**options)
    assert drawn.names == names
    codes = open_codes(tmp_path / "codes.npy")
    assert drawn.labels == codes.labels.tolist()
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(drawn.codes[number], codes[number])
        np.testing.assert_array_equal(np.asarray(drawn[number]), picture)


def test_keeps_the_candidates_that_the_command_keeps(here: Path, squeezenet: Path, tmp_path: Path) -> None:
    """Oracle besides the command's files: the images of the same seed without rejection, among which those kept are."""
    words = ["--class", "207,5", "-n", "2", "--keep", "0.25", "--max-batch", "3", "--seed", "2"]
    names, pictures = generated(tmp_path, *words, "--scorer", str(squeezenet), model="runs/of-imagenet")
    sampler = load_sampler("runs/of-imagenet")
    seen: list[tuple[int, int]] = []
    options: dict[str, Any] = {"classes": [207, 5], "seed": 2, "max_batch": 3}
    drawn = sampler.draw(
        **options, images=2, keep=0.25, scorer=squeezenet, progress=lambda done, of: seen.append((done, of))
    )
    assert (drawn.names, drawn.labels) == (names, [207, 207, 5, 5])
    codes = open_codes(tmp_path / "codes.npy")
    described = json.loads((tmp_path / "samples.json").read_text())["images"]
    assert drawn.scores == [image["score"] for image in described]
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(drawn.codes[number], codes[number])
        np.testing.assert_array_equal(np.asarray(drawn[number]), picture)
    candidates = sampler.draw(**options, images=8)
    assert candidates.scores is None
    for number, image in enumerate(described):
        np.testing.assert_array_equal(drawn.codes[number], candidates.codes[image["index"]])
    assert [image["index"] for image in described] != [0, 1, 8, 9]  # that there was a choice
    assert seen[-1] == (16 * 64, 16 * 64)
    again = sampler.draw(
        **options, images=2, keep=0.25, scorer=squeezenet
    )  # by the classifier that is still there
    assert [each.tobytes() for each in again] == [each.tobytes() for each in drawn]


def test_a_scorer_that_is_none_is_said(here: Path) -> None:
    sampler = load_sampler("runs/of-imagenet")
    for scorer, problem in (
        ("nothing.pth", "no file with weights"),
        ("torchvision:resnet11", "no classifier 'resnet11'"),
    ):
        with pytest.raises(VqganError, match=problem) as caught:
            sampler.draw(keep=0.5, scorer=scorer)
        assert "--" not in f"{caught.value.message} {caught.value.hint}"


def test_draws_by_maps_what_the_command_draws(here: Path, tmp_path: Path) -> None:
    words = ["--condition", "photos/blue", "--from-image", "-n", "1", "--size", "16x16"]
    names, pictures = generated(tmp_path, *words, model="runs/by-edges")
    sampler = load_sampler("runs/by-edges")
    drawn = sampler.draw(condition="photos/blue", from_images=True, images=1, size=(16, 16))
    assert (sampler.classes, drawn.labels, drawn.names) == ([], [None] * 24, names)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, pictures, strict=True))
    assert len({picture.tobytes() for picture in pictures}) > 1


def test_one_sampler_draws_many_times(by_class: Sampler) -> None:
    """Oracle: determinism. A call leaves nothing behind for the next, and another seed gives other images."""
    first, other, again = (by_class.draw(classes=1, images=2, seed=seed) for seed in (3, 4, 3))
    assert [each.tobytes() for each in first] == [each.tobytes() for each in again]
    assert [each.tobytes() for each in first] != [each.tobytes() for each in other]


def test_progress_counts_all_codes(by_class: Sampler) -> None:
    seen: list[tuple[int, int]] = []
    by_class.draw(images=3, max_batch=2, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (3 * 64, 3 * 64)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"classes": "green"}, "no class 'green'"),
        ({"classes": 2}, "2 classes, 0 to 1"),
        ({"images": 0}, "images 0 is below 1"),
        ({"size": (15, 16)}, "not a multiple of this model's f = 2"),
        ({"condition": "photos"}, "trained without maps"),
        ({"complete": "nothing.png", "known": "top:0.5"}, "does not exist"),
        ({"size": (0, 16)}, "no such images"),
        ({"classes": []}, "no classes are named"),
        ({"max_batch": 0}, "max_batch 0 is below 1"),
        ({"seed": -1}, "seed -1 is below 0"),
        ({"stride": 0}, "stride 0 is below 1"),
        ({"temperature": -1}, "^temperature: -1 is not a number of at least 0$"),
        ({"top_p": 0, "top_k": -2}, "^top_k: -2 is not .*; top_p: 0 is not"),
        (
            {"guidance_schedule": "steep"},
            "^guidance_schedule: 'steep' is not one of constant, linear, cosine",
        ),
        ({"variations": "photo.png", "strength": 2}, "strength 2 is not between 0 and 1"),
        ({"complete": "photo.png"}, "complete needs known"),
        ({"complete": "photo.png", "known": "top:0.5", "variations": "photo.png"}, "one photo"),
        ({"complete": "photo.png", "known": "top:2"}, "known part 'top:2': the share"),
        ({"complete": "photo.png", "known": "middle"}, "known part 'middle': no such form"),
        ({"keep": 0.5}, "^keep needs a model of ImageNet's 1,000 classes"),
        ({"keep": 0}, "^keep 0 is not above 0"),
        ({"keep": 0.5, "variations": "photo.png"}, "^keep chooses among images of a class"),
        ({"scorer": "torchvision:resnet101"}, "^scorer chooses among candidates, which takes keep"),
        ({"blend": True}, "blend is for complete"),
        ({"from_images": True}, "from_images is for condition"),
    ],
)
def test_what_cannot_be_drawn_is_said(by_class: Sampler, options: dict[str, Any], problem: str) -> None:
    """In the words of Python: no message and no hint names an option of the command."""
    with pytest.raises(VqganError, match=problem) as caught:
        by_class.draw(**options)
    assert "--" not in f"{caught.value.message} {caught.value.hint}"


def test_a_map_that_cannot_be_read_is_no_image_less(here: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(VqganError, match=r"a\.png"):
        load_sampler("runs/by-edges").draw(condition=tmp_path, images=1)


def test_an_unknown_precision_is_refused(here: Path) -> None:
    with pytest.raises(VqganError, match="'fp8' is not one of fp32, bf16, fp16"):
        Sampler(load_transformer("runs/my-transformer"), precision="fp8")  # type: ignore[arg-type]
