"""``vqgan info --plan``: the plan of a tiny experiment, carried out."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.recipes.conftest import Vqgan
from tests.recipes.tiny_run import TINY, TINY_TRANSFORMER
from vqgan_cli.core.presets import dump, resolve


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures in each of two classes, 16 to 20 pixels high."""
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (16 + number % 5, 24, 3), np.uint8)
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


@pytest.fixture
def preset(tmp_path: Path) -> str:
    """A tiny experiment for pictures of 32 pixels, in which the discriminator starts halfway."""
    settings = {**TINY, **TINY_TRANSFORMER, "data.size": "32", "tokenizer.channel_multipliers": "[1,1,1]"}
    settings |= {"train_ae.steps": "10", "train_ae.adversarial.start": "5", "train_transformer.steps": "10"}
    config = resolve("demo", [f"{key}={value}" for key, value in settings.items()])
    (tmp_path / "tiny.yaml").write_text(dump(config), encoding="utf-8")
    return "tiny.yaml"


def test_plan_can_be_carried_out(photos: Path, preset: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the commands that it names, typed: they train what it says. Planning itself writes nothing."""
    before = sorted(tmp_path.rglob("*"))
    arguments = ("info", "--plan", "--data", photos, "--preset", preset, "--seconds", "0", "--device", "cpu")
    done = vqgan(*arguments, "--json")
    assert done.code == 0, done.err
    assert sorted(tmp_path.rglob("*")) == before
    found = json.loads(done.out)
    assert (found["kind"], found["data"]["images"], found["data"]["classes"]) == (
        "plan",
        24,
        {"cat": 12, "dog": 12},
    )
    assert (found["image_size"], found["downsampling"], found["grid"]) == (16, 2, 8)
    assert found["condition"] == "class"
    assert [need["gpus"] for need in found["memory"]] == [1, 1, 8, 8, 8, 8]
    assert "memory of the transformer's training on each GPU, on paper" in done.err
    tokenizer, transformer = found["stages"]
    assert (tokenizer["speed"]["steps_measured"], transformer["speed"]["steps_measured"]) == (2, 1)
    assert tokenizer["passes"] == pytest.approx(10 * 4 / 24)
    assert "data.size=16" in tokenizer["command"]
    assert "data.size" not in transformer["command"]  # it has the tokenizer's
    times = [stage["speed"]["seconds"] for stage in found["stages"]]
    assert min(times) > 0
    assert found["seconds"] == pytest.approx(sum(times) + found["encoding_seconds"])

    for stage in found["stages"]:
        words = shlex.split(stage["command"])[1:]
        done = vqgan(*words, "--steps", "1", "--device", "cpu", "--out", f"runs/{words[0]}")
        assert done.code == 0, done.err
    done = vqgan("info", "runs/train-transformer", "--json")
    config = json.loads(done.out)["config"]
    assert config["data"]["size"] == found["image_size"]
    assert config["tokenizer"]["codebook_size"] == found["codebook_size"]

    shown = vqgan(*arguments).out
    assert "8 x 8 = 64 per image (f = 2)" in shown
    assert "2, 12 to 12 images each" in shown
    assert shown.count("vqgan train-") == 2


def test_maps_have_a_training_of_their_own(preset: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: of pictures, of maps with the classes that they show, and of the transformer below them."""
    for number in range(12):
        labels = np.random.default_rng(number).integers(0, 7, (16, 16), np.uint8)
        for folder, picture in (
            ("image", Image.fromarray(labels * 30).convert("RGB")),
            ("segmentation", Image.fromarray(labels)),
        ):
            (tmp_path / "streets" / folder).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / f"streets/{folder}/{number}.png")
    config = resolve(preset, ["condition.kind=segmentation", "data.maps.classes=5"])
    (tmp_path / "streets.yaml").write_text(dump(config), encoding="utf-8")
    done = vqgan(
        "info", "--plan", "-d", "streets", "-p", "streets.yaml", "--seconds", "0", "--device", "cpu", "--json"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["condition"] == "segmentation"
    assert "data.maps.classes=7" in found["settings"]
    names = [stage["command"].partition(" --preset")[0] for stage in found["stages"]]
    assert names == ["vqgan train-ae", "vqgan train-ae --target condition", "vqgan train-transformer"]


def test_wrong_usage(vqgan: Vqgan) -> None:
    """One message each."""
    for arguments, message in (
        (("--plan",), "--plan needs images"),
        (("--data", "photos"), "--data belongs to --plan"),
        (("--preset", "demo"), "--preset belongs to --plan"),
        (("runs/demo-ae", "--plan", "--data", "photos"), "what is 'runs/demo-ae'?"),
        (("--plan", "--data", "synthetic:faces", "--preset", "fases"), "did you mean 'faces'"),
    ):
        done = vqgan("info", *arguments)
        assert done.code == 2, done.err
        assert message in done.err
