"""Every command, twice: the same seed gives the same files, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_generate import SavedTransformer, save_transformer_of
from tests.recipes.test_upscale import save_model
from tests.recipes.tiny_run import train
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> SavedTransformer:
    return save_transformer_of(tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def upscaler(coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("upscaler") / "model.safetensors", coarse)


@pytest.fixture
def photos(tmp_path: Path) -> None:
    """``photos/``, and ``codes.npy`` of anything."""
    (tmp_path / "photos").mkdir()
    for index in range(3):
        drawing = SYNTHETIC_SETS["faces"].draw(0, index, 32, 32)
        Image.fromarray(drawing.image).save(tmp_path / f"photos/{index}.png")
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).integers(0, 300, (3, 4, 4), np.uint16))


def contents(path: Path) -> dict[str, bytes]:
    """What a command wrote, without what depends on the clock."""
    found = {}
    for file in [path, path.with_suffix(".json")] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            name = file.relative_to(path.parent).as_posix().removeprefix(path.stem)
            found[name] = file.read_bytes()
    return found


COMMANDS = {
    "encode": ["encode", "photos", "--ae", "TOKENIZER", "-o", "OUT.npy"],
    "encode at its own size": ["encode", "photos", "--native", "--ae", "TOKENIZER", "-o", "OUT.npy"],
    "decode": ["decode", "codes.npy", "--ae", "TOKENIZER", "-o", "OUT"],
    "generate": ["generate", "-m", "GENERATOR", "--class", "all", "-n", "2", "--cfg", "2", "-o", "OUT"],
    "generate larger": ["generate", "-m", "GENERATOR", "--class", "1", "-n", "2", "--size", "12x20", "-o", "OUT"],
    "generate a completion": [
        "generate", "-m", "GENERATOR", "--class", "0", "--complete", "photos/0.png", "--known", "left:0.5", "--blend",
        "-o", "OUT",
    ],
    "upscale": ["upscale", "photos", "-m", "UPSCALER", "--samples", "2", "--consistent", "-o", "OUT"],
    "export": ["export", "TOKENIZER", "--to", "diffusers", "-o", "OUT"],
    "export a pickle": ["export", "TOKENIZER", "--to", "taming", "-o", "OUT"],
    "synthetic": ["synthetic", "scenes", "-n", "3", "--size", "32", "--maps", "all", "-o", "OUT"],
}  # fmt: skip


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("name", COMMANDS)
def test_twice_the_same_files(
    name: str, tiny: SavedTokenizer, generator: SavedTransformer, upscaler: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Determinism: all that two calls write is equal."""
    models = {"TOKENIZER": str(tiny.path), "GENERATOR": str(generator.path), "UPSCALER": str(upscaler)}
    written = []
    for out in ("first", "second"):
        words = [models.get(word, word.replace("OUT", out)) for word in COMMANDS[name]]
        device = [] if words[0] in ("export", "synthetic") else ["--device", "cpu"]
        done = vqgan(*words, *device)
        assert done.code == 0, done.err
        written.append(contents(tmp_path / words[-1]))
    assert written[0]
    assert written[0] == written[1]


@pytest.mark.parametrize("target", ["diffusers", "taming"])
def test_import_twice_the_same_model(
    target: str, coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Determinism: models and reports are equal."""
    assert vqgan("export", coarse.path, "--to", target, "-o", "theirs").code == 0
    for out in ("first", "second"):
        source = "theirs" if target == "diffusers" else "theirs/model.ckpt"
        done = vqgan("import", source, "-o", f"{out}/model")  # a model is called as its folder
        assert done.code == 0, done.err
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_training_twice_the_same_model(vqgan: Vqgan, tmp_path: Path) -> None:
    """Determinism: tokenizer and transformer with --deterministic, whose setting the model records."""
    import torch

    try:
        for out in ("first", "second"):
            for words in (
                train(f"{out}/ae", 3, train_ae__log_every=1),
                ["train-transformer", "--preset", "demo", "--device", "cpu", "--ae", f"{out}/ae", "-o", f"{out}/prior",
                 "--steps", "3", "--batch-size", "4", "--set", "train_transformer.max_images=16",
                 "--set", "transformer.layers=1", "--set", "transformer.width=32", "--set", "data.validation_images=4"],
            ):  # fmt: skip
                done = vqgan(*words, "--deterministic")
                assert done.code == 0, done.err
    finally:
        torch.use_deterministic_algorithms(False)
    for part, section in (("ae", "train_ae"), ("prior", "train_transformer")):
        first, second = (tmp_path / out / part / "model.safetensors" for out in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
        config = json.loads(vqgan("info", first, "--json").out)["config"]
        assert config[section]["deterministic"] is True
