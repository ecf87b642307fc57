"""Pickles that would run a program, given to every command that takes a model or weights."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.interop.hostile import HOSTILE, run_by_torch, system
from tests.recipes.conftest import Vqgan
from tests.recipes.test_bad_images import CPU
from tests.recipes.test_conditions import train as train_transformer
from tests.recipes.test_generate import SavedTransformer
from tests.recipes.test_generate import imagenet as imagenet
from tests.recipes.tiny_run import settings
from tests.recipes.tiny_run import train as train_ae

FORMATS = {
    "zip": HOSTILE["os.system"],
    "older": HOSTILE["os.system, older format"],
    "bare": lambda path, canary: path.write_bytes(pickle.dumps(system(canary))),
}


@pytest.fixture
def inputs(tmp_path: Path) -> None:
    """What the commands would work on: a picture, and codes."""
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "photo.png")
    np.save(tmp_path / "codes.npy", np.zeros((1, 4, 4), np.uint16))


def spoil(path: Path, form: str = "zip") -> Path:
    """Put a hostile file at a path; returns its canary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    canary = path.with_name("canary")
    FORMATS[form](path, canary)
    return canary


def assert_harmless(path: Path, canary: Path) -> None:
    """Oracle: a canary, which Python's own unpickler makes from the same file."""
    assert not canary.exists()
    if path.read_bytes().startswith(pickle.PROTO + b"\x04"):
        pickle.loads(path.read_bytes())
    else:
        run_by_torch(
            shutil.copy(path, path.with_suffix(".pt"))
        )  # by the name .safetensors it would read no pickle
    assert canary.exists()


USES = {
    "encode": ["encode", "photo.png", "-o", "new.npy", "--ae", "MODEL"],
    "decode": ["decode", "codes.npy", "--ae", "MODEL"],
    "generate": ["generate", "-m", "MODEL"],
    "upscale": ["upscale", "photo.png", "-m", "MODEL"],
    "train-ae": [*train_ae("run", 1), "--init-from", "MODEL"],
    "train-transformer": train_transformer(Path("MODEL"), "run", 1, "--data", "photo.png"),
}


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", [pytest.param(use, marks=pytest.mark.fault(18, use)) for use in USES])
def test_a_pickle_is_no_model(name: str, form: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """As a file, and as the model of a folder: refused by name, with the command that reads such files safely."""
    for given, path in (("last.ckpt", "last.ckpt"), ("folder", "folder/model.safetensors")):
        canary = spoil(tmp_path / path, form)
        done = vqgan(*[given if word in ("MODEL", Path("MODEL")) else word for word in USES[name]], *CPU)
        assert (done.code, done.out) == (1, "")
        assert f"'{path}' is a pickle" in done.err
        assert "vqgan import FILE" in done.err
        assert done.err.count("error:") == 1
        assert_harmless(tmp_path / path, canary)
        canary.unlink()


@pytest.mark.fault(18, "import")
@pytest.mark.parametrize("kind", HOSTILE)
def test_import_executes_nothing(kind: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """Each of the corpus from the command line; ``tests/interop/test_hostile.py`` shows that every one is hostile."""
    canary = tmp_path / "canary"
    HOSTILE[kind](tmp_path / "last.ckpt", canary)
    done = vqgan("import", "last.ckpt", "-o", "model")
    assert (done.code, done.out) == (1, "")
    assert "'last.ckpt'" in done.err
    assert "internal error" not in done.err
    assert not canary.exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(
    "stage",
    [pytest.param(each, marks=pytest.mark.fault(18, each)) for each in ("train-ae", "train-transformer")],
)
def test_a_pickle_is_no_run(stage: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """--resume takes a folder; a checkpoint of another project is sent where it can be read."""
    canary = spoil(tmp_path / "last.ckpt")
    done = vqgan(stage, "last.ckpt", "--resume", *CPU)
    assert (done.code, done.out) == (2, "")
    assert "'last.ckpt' is a file, and a run is a folder" in done.err
    assert "vqgan import" in done.err
    assert_harmless(tmp_path / "last.ckpt", canary)


@pytest.mark.fault(18, "train-ae")
def test_a_pickle_in_a_checkpoint(vqgan: Vqgan, tmp_path: Path) -> None:
    """In place of the weights, with a manifest that agrees: refused like a damaged one, and the one before is taken."""
    assert vqgan(*train_ae("run", 2, train_ae__checkpoint_every=1)).code == 0
    newest = tmp_path / "run/checkpoints/step-00000002"
    canary = spoil(newest / "tokenizer.safetensors")
    manifest = json.loads((newest / "manifest.json").read_text())
    manifest["tokenizer.safetensors"] = hashlib.sha256(
        (newest / "tokenizer.safetensors").read_bytes()
    ).hexdigest()
    (newest / "manifest.json").write_text(json.dumps(manifest))
    done = vqgan("train-ae", "--resume", "--out", "run", "--steps", "3", *CPU)
    assert done.code == 0, done.err
    assert "passed over" in done.err
    assert "resumed from 'run/checkpoints/step-00000001' at step 1" in done.err
    assert not canary.exists()


@pytest.mark.fault(18, "train-ae")
@pytest.mark.parametrize("kind", ["os.system", "os.system, older format", "among the weights", "eval"])
def test_a_pickle_is_no_classifier(kind: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """Weights of the perceptual loss come as pickles from torchvision, and are read by the reader of imports."""
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.new("RGB", (32, 32), (number, 30, 90)).save(tmp_path / f"photos/{number}.png")
    path, canary = tmp_path / "vgg.pth", tmp_path / "canary"
    HOSTILE[kind](path, canary)
    weights = settings(train_ae__perceptual__kind="lpips", train_ae__perceptual__weights="vgg.pth")
    done = vqgan(*train_ae("run", 1), "--data", "photos", *weights)
    assert (done.code, done.out) == (1, "")
    assert "cannot read the weights 'vgg.pth'" in done.err
    assert "nothing of it was executed" in done.err
    assert not canary.exists()
    run_by_torch(path)
    assert canary.exists()


@pytest.mark.fault(18, "generate")
def test_a_pickle_is_no_scorer(vqgan: Vqgan, tmp_path: Path, imagenet: SavedTransformer) -> None:
    """The classifier that --keep chooses by."""
    canary = spoil(tmp_path / "resnet.pth")
    done = vqgan("generate", "-m", imagenet.path, "--keep", "0.5", "--scorer", "resnet.pth", *CPU)
    assert (done.code, done.out) == (1, "")
    assert "cannot read the weights 'resnet.pth'" in done.err
    assert_harmless(tmp_path / "resnet.pth", canary)
