"""``vqgan generate``: which images, of which classes, at which size, and what a second call does."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.recipes.conftest import TINY, Done, Vqgan, save_tiny
from vqgan_cli.core.artifacts import save_transformer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.data.images import to_uint8
from vqgan_cli.core.generation import drawer, rejection, work
from vqgan_cli.core.models.priors import Prior, PriorSpec, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.models.torchvision_compat import import_torchvision
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw

Pixels = np.ndarray[Any, np.dtype[Any]]
PETS = ("n02099601_golden_retriever", "tabby", "Shih-Tzu")


@dataclass(frozen=True)
class SavedTransformer:
    """A model file, its tokenizer's file, and the modules whose weights they hold."""

    path: Path
    tokenizer_path: Path
    prior: Prior
    tokenizer: Tokenizer

    def images(
        self, labels: list[int], first: int = 0, grid: tuple[int, int] = (4, 4), **settings: Any
    ) -> Pixels:
        """Oracle: what the sampler draws and the tokenizer decodes, uint8 [N, H, W, 3]."""
        condition = torch.tensor(labels)[:, None]
        codes = draw(self.prior, condition, grid, SamplingSettings(**settings), first_image=first)
        return to_uint8(self.tokenizer.decode(codes).permute(0, 2, 3, 1).numpy())


def save_transformer_of(
    folder: Path, classes: tuple[str, ...] = PETS, *, dropout: float = 0.1, **sampling: Any
) -> SavedTransformer:
    """Random weights, f = 2, K = 300, grid 4x4; without names of classes it is unconditional."""
    saved = save_tiny(folder / "tokenizer.safetensors")
    config = ExperimentConfig.model_validate(
        {
            "data": {"size": 8},
            "tokenizer": TINY.model_dump(),
            "condition": {"kind": "class" if classes else "none"},
            "transformer": {"layers": 1, "heads": 2, "width": 32},
            "sampling": sampling,
        }
    )
    spec = PriorSpec(
        300,
        (4, 4),
        "class" if classes else "none",
        len(classes),
        null_condition=bool(classes) and dropout > 0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        prior = build_prior(config.transformer, spec).eval().requires_grad_(False)
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))  # so that class and codes matter
    path = folder / "model.safetensors"
    save_transformer(path, prior.state_dict(), saved.module.state_dict(), config, spec, classes, {})
    return SavedTransformer(path, saved.path, prior, saved.module)


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> SavedTransformer:
    return save_transformer_of(tmp_path_factory.mktemp("pets"))


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> SavedTransformer:
    return save_transformer_of(tmp_path_factory.mktemp("faces"), ())


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> SavedTransformer:
    names = tuple(f"n{index:08d}" for index in range(1000))
    return save_transformer_of(tmp_path_factory.mktemp("imagenet"), names)


def generate(vqgan: Vqgan, model: SavedTransformer, *arguments: str | Path) -> Done:
    return vqgan("generate", "--model", model.path, "--device", "cpu", *arguments)


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


def described(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "samples.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_images_of_a_class(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: sampler and tokenizer on the modules."""
    options = {"temperature": 0.9, "top_k": 50, "top_p": 0.95, "guidance": 2.0, "seed": 3}
    done = generate(
        vqgan, pets, "--class", "Golden Retriever", "-n", "3", "--temperature", "0.9", "--top-k", "50",
        "--top-p", "0.95", "--cfg", "2", "--cfg-schedule", "linear", "--seed", "3",
    )  # fmt: skip
    assert (done.code, done.out) == (0, "samples\n")
    assert "3 images, 8x8 (height x width) of class 0 (golden retriever)" in done.err
    assert "codes/s" in done.err
    files = [f"0-golden-retriever-{number:04d}.png" for number in range(3)]
    assert set(contents(tmp_path / "samples")) == {*files, "sheet.png", "samples.json"}
    expected = pets.images([0, 0, 0], guidance_schedule="linear", **options)
    for file, image in zip(files, expected, strict=True):
        assert np.array_equal(read(tmp_path / "samples" / file), image)

    found = described(tmp_path / "samples")
    assert found["finished"]
    assert found["settings"].items() >= (options | {"guidance_schedule": "linear", "stride": 1}).items()
    assert found["settings"]["model"] == str(pets.path)
    assert found["images"][2] == {
        "file": files[2], "index": 2, "seed": 3, "size": [8, 8], "label": 0, "class_name": "golden retriever"
    }  # fmt: skip


def test_several_classes(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    """-n is for each class; images are numbered through, and batches may have several classes."""
    assert generate(vqgan, pets, "--class", "tabby,0", "-n", "2", "--max-batch", "3").code == 0
    images = described(tmp_path / "samples")["images"]
    assert [(image["label"], image["index"]) for image in images] == [(1, 0), (1, 1), (0, 2), (0, 3)]
    for image, pixels in zip(images, pets.images([1, 1, 0, 0]), strict=True):
        assert np.array_equal(read(tmp_path / "samples" / image["file"]), pixels)


def test_classes_take_turns(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Without --class, none has more than one image more than another, and the order depends on the seed."""
    orders = set()
    for seed in range(5):
        generate(vqgan, pets, "-n", "7", "--seed", str(seed), "-o", f"{seed}")
        labels = [image["label"] for image in described(tmp_path / f"{seed}")["images"]]
        assert sorted(Counter(labels).values()) == [2, 2, 3]
        orders.add(tuple(labels))
    assert len(orders) > 1


def test_all_classes(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    assert generate(vqgan, pets, "--class", "all", "-n", "1", "--json").code == 0
    assert [image["label"] for image in described(tmp_path / "samples")["images"]] == [0, 1, 2]


def test_model_without_classes(faces: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    done = generate(vqgan, faces, "-n", "2", "--json")
    assert json.loads(done.out) == {
        "model": str(faces.path),
        "images": ["samples/0000.png", "samples/0001.png"],
        "sheet": "samples/sheet.png",
        "codes": None,
        "failed": [],
    }
    for number, pixels in enumerate(faces.images([0, 0])):
        assert np.array_equal(read(tmp_path / f"samples/{number:04d}.png"), pixels)
    sheet = read(tmp_path / "samples/sheet.png")
    assert sheet.shape == (8, 18, 3)


def test_results_do_not_depend_on_the_batch(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    for batch in ("1", "3", "16"):
        generate(vqgan, pets, "-n", "7", "--max-batch", batch, "-o", batch, "--codes", f"{batch}.npy")
    codes = [np.load(tmp_path / f"{batch}.npy") for batch in ("1", "3", "16")]
    assert (codes[0] == codes[1]).all()
    assert (codes[0] == codes[2]).all()


def test_pictures_are_written_while_the_next_are_drawn(
    pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant: the first picture, whose writing waits for the second to be drawn, does not wait in vain."""
    drawn, waited = threading.Event(), list[bool]()
    pictures, write = drawer.ImageDrawer.pictures, work.write_image
    calls = itertools.count(1)

    def noted(self: drawer.ImageDrawer, codes: np.ndarray) -> list[Pixels]:
        if next(calls) == 2:
            drawn.set()
        return pictures(self, codes)

    def late(path: Path, image: Pixels) -> None:
        waited.append(drawn.wait(timeout=10))
        write(path, image)

    monkeypatch.setattr(drawer.ImageDrawer, "pictures", noted)
    monkeypatch.setattr(work, "write_image", late)
    assert generate(vqgan, pets, "-n", "2", "--max-batch", "1").code == 0
    assert waited == [True] * len(waited)
    assert len(waited) == len(list(tmp_path.glob("samples/*-*.png"))) > 1


@pytest.mark.parametrize("stride", [1, 2])
def test_larger_than_in_training(
    faces: SavedTransformer, vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    """Height before width. While a large image is drawn, a preview shows what is there, gray where nothing is."""
    previews: list[Pixels] = []
    write = drawer.write_image

    def keep(path: Path, image: Pixels) -> None:
        previews.append(image)
        write(path, image)

    monkeypatch.setattr(drawer, "_PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(drawer, "_PREVIEW_SHARE", 1e9)
    monkeypatch.setattr(drawer, "write_image", keep)
    assert generate(vqgan, faces, "-n", "2", "--size", "12x20", "--stride", str(stride)).code == 0
    expected = faces.images([0, 0], grid=(6, 10), stride=stride)
    for number in range(2):
        assert np.array_equal(read(tmp_path / f"samples/{number:04d}.png"), expected[number])
    assert not (tmp_path / "samples/preview.png").exists()
    assert len(previews) > 10
    gray = [(preview == 128).all(2).sum() for preview in previews]
    assert gray[0] == 4 * (60 - stride)
    assert np.array_equal(previews[-1], expected[1])


def test_the_models_own_settings_are_the_default(vqgan: Vqgan, tmp_path: Path) -> None:
    own = {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "guidance": 1.5, "guidance_schedule": "cosine"}
    model = save_transformer_of(tmp_path / "own", **own)
    generate(vqgan, model, "--class", "1", "-n", "1")
    assert described(tmp_path / "samples")["settings"].items() >= own.items()
    assert np.array_equal(read(tmp_path / "samples/1-tabby-0000.png"), model.images([1], **own)[0])
    generate(vqgan, model, "--class", "1", "-n", "1", "-o", "other", "--greedy", "--cfg", "1")
    greedy = model.images([1], temperature=0)[0]
    assert np.array_equal(read(tmp_path / "other/1-tabby-0000.png"), greedy)


def test_codes_decode_to_the_images(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: `vqgan decode` of the codes gives the same pictures, by the tokenizer that the model holds."""
    generate(vqgan, pets, "-n", "5", "--codes", "out/codes.npy", "--size", "8x12")
    codes = open_codes(tmp_path / "out/codes.npy")
    codes.validate()
    images = described(tmp_path / "samples")["images"]
    assert codes.names == [image["file"] for image in images]
    assert codes.labels.tolist() == [image["label"] for image in images]
    assert codes.metadata is not None
    assert codes.metadata.classes == ("golden retriever", "tabby", "Shih-Tzu")
    assert vqgan("decode", "out/codes.npy", "--ae", pets.tokenizer_path, "--device", "cpu").code == 0
    for image in images:
        assert np.array_equal(
            read(tmp_path / "decoded" / image["file"]), read(tmp_path / "samples" / image["file"])
        )


def test_a_second_call_draws_what_is_missing(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Determinism: the folder is the same, byte for byte; what is there is not written again."""
    arguments = ("--class", "all", "-n", "3", "--max-batch", "2", "--codes", "codes.npy")
    generate(vqgan, pets, *arguments)
    before = contents(tmp_path / "samples") | contents(tmp_path)
    kept = (tmp_path / "samples/0-golden-retriever-0000.png").stat().st_mtime_ns
    done = generate(vqgan, pets, *arguments)
    assert done.code == 0
    assert "9 of them are there already" in done.err
    assert "drawing" not in done.err
    for name in (
        "0-golden-retriever-0002.png",
        "2-Shih-Tzu-0001.png",
        "codes.npy",
        "codes.json",
        "sheet.png",
    ):
        next(tmp_path.rglob(name)).unlink()
    done = generate(vqgan, pets, *arguments)
    assert "7 of them are there already" in done.err
    assert contents(tmp_path / "samples") | contents(tmp_path) == before
    assert (tmp_path / "samples/0-golden-retriever-0000.png").stat().st_mtime_ns == kept


def test_other_settings_need_another_folder_or_force(
    pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path
) -> None:
    generate(vqgan, pets, "--class", "1", "-n", "2")
    before = contents(tmp_path / "samples")
    done = generate(vqgan, pets, "--class", "1", "-n", "2", "--temperature", "0.5", "--max-batch", "4")
    assert done.code == 1
    assert "samples of another call: temperature 0.5 not 1.0" in done.err
    assert "max_batch" not in done.err
    assert "--force" in done.err
    assert contents(tmp_path / "samples") == before
    assert generate(vqgan, pets, "--class", "0", "-n", "1", "--force").code == 0
    assert set(contents(tmp_path / "samples")) == {"0-golden-retriever-0000.png", "sheet.png", "samples.json"}

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/1-tabby-0000.png").touch()
    done = generate(vqgan, pets, "--class", "1", "-o", "mine")
    assert done.code == 1
    assert "'mine/1-tabby-0000.png' exists" in done.err


def test_codes_of_another_call_are_not_replaced(pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.zeros((1, 4, 4), np.uint16))
    done = generate(vqgan, pets, "--codes", "codes.npy")
    assert done.code == 1
    assert "'codes.npy' exists" in done.err
    assert generate(vqgan, pets, "--codes", "codes.npy", "--force", "-n", "2").code == 0
    assert len(open_codes(tmp_path / "codes.npy")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--class", "3"), "class 3: the model has 3 classes, 0 to 2"),
        (("--class", "taby"), "no class 'taby' (did you mean 'tabby'?)"),
        (("--size", "9x8"), "the nearest sizes (height x width) are 8x8 and 10x8"),
        (("--size", "big"), "'big' is no size"),
        (("--greedy", "--temperature", "1"), "--greedy and --temperature exclude each other"),
        (("--keep", "0.5"), "--keep needs a model of ImageNet's 1,000 classes"),
        (("--keep", "0"), "--keep 0 is not above 0 and at most 1"),
        (("--top-p", "0"), "--top-p: 0.0 is not a number above 0 and at most 1"),
        (("--scorer", "x"), "--scorer chooses among candidates, which takes --keep"),
        (("--codes", "codes"), "does not end in .npy"),
        (("--size", "16", "--stride", "9"), "stride 9"),
        (("-n", "0"), "--images"),
    ],
)
def test_wrong_usage(
    pets: SavedTransformer, vqgan: Vqgan, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = generate(vqgan, pets, *arguments)
    assert done.code == 2
    assert message in done.err
    assert generate(vqgan, pets, "-n", "1").code == 0  # nothing is in the way of a better call


def test_what_a_model_was_not_trained_for(faces: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    for arguments, message in (
        (("--class", "0"), "class 0: this model was trained without classes"),
        (("--cfg", "2"), "guidance 2: this model has no classes to be guided to"),
    ):
        done = generate(vqgan, faces, *arguments)
        assert done.code == 2
        assert message in done.err
    model = save_transformer_of(tmp_path / "plain", dropout=0)
    done = generate(vqgan, model, "--cfg", "2")
    assert done.code == 2
    assert "guidance 2: this model was trained without leaving classes out" in done.err
    assert "condition.dropout" in done.err
    done = vqgan("generate", "--model", model.tokenizer_path)
    assert done.code == 1
    assert "not a transformer" in done.err


def test_newest_transformer_is_the_default(vqgan: Vqgan, tmp_path: Path) -> None:
    done = vqgan("generate", "--device", "cpu")
    assert done.code == 1
    assert "no trained transformer under 'runs'" in done.err
    assert "vqgan train-transformer" in done.err
    save_transformer_of(tmp_path / "runs" / "mine")
    done = vqgan("generate", "--device", "cpu", "-n", "1")
    assert done.code == 0
    assert "no --model given: taking the newest transformer, runs/mine/model.safetensors" in done.err


def test_rejection(imagenet: SavedTransformer, vqgan: Vqgan, tmp_path: Path, shared: Path) -> None:
    """Oracle: all candidates drawn at once and scored by torchvision's network."""
    weights = shared / "weights/squeezenet1_0.safetensors"
    if not weights.is_file():
        pytest.skip(f"no {weights}")
    classes = ("golden retriever", "5")
    arguments = ("-n", "2", "--keep", "0.25", "--max-batch", "3", "--scorer", weights, "--codes", "codes.npy")
    done = generate(vqgan, imagenet, "--class", ",".join(classes), *arguments)
    assert done.code == 0, done.err
    assert "4 images, the best of 16" in done.err

    models = import_torchvision().models
    network = models.squeezenet1_0().eval()
    network.load_state_dict(load_file(weights))
    images = described(tmp_path / "samples")["images"]
    for position, label in enumerate((207, 5)):
        first = 8 * position
        pixels = imagenet.images([label] * 8, first)
        tensors = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        with torch.no_grad():
            logits = network(models.SqueezeNet1_0_Weights.DEFAULT.transforms()(tensors))
        scores = logits.softmax(1)[:, label]
        for image, best in zip(
            images[2 * position :], scores.argsort(descending=True)[:2].tolist(), strict=False
        ):
            assert (image["label"], image["index"]) == (label, first + best)
            assert image["score"] == pytest.approx(scores[best].item(), rel=1e-3)
            assert np.array_equal(read(tmp_path / "samples" / image["file"]), pixels[best])

    before = contents(tmp_path / "samples")
    assert generate(vqgan, imagenet, "--class", ",".join(classes), *arguments).code == 0
    assert not (tmp_path / "samples/.candidates").exists()
    (tmp_path / "samples" / images[3]["file"]).unlink()
    assert generate(vqgan, imagenet, "--class", ",".join(classes), *arguments).code == 0
    assert contents(tmp_path / "samples") == before


def test_rejection_goes_on_within_a_class(
    imagenet: SavedTransformer, vqgan: Vqgan, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Determinism: stopped by a signal after two batches of the second class, and repeated, it is the same folder."""
    weights = shared / "weights/squeezenet1_0.safetensors"
    if not weights.is_file():
        pytest.skip(f"no {weights}")
    arguments = ("--class", "1,2", "-n", "2", "--keep", "0.2", "--max-batch", "2", "--scorer", weights)
    generate(vqgan, imagenet, *arguments, "-o", "whole")
    add, added = rejection.BestCandidates.add, list[int]()

    def add_and_stop(best: rejection.BestCandidates, first: int, *candidates: Any) -> None:
        add(best, first, *candidates)
        added.append(first)
        if len(added) == 7:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(rejection.BestCandidates, "add", add_and_stop)
    done = generate(vqgan, imagenet, *arguments)
    assert done.code == 130
    assert "repeat the same command" in done.err
    assert generate(vqgan, imagenet, *arguments).code == 0
    assert added == list(range(0, 20, 2))
    assert contents(tmp_path / "samples") == contents(tmp_path / "whole")


def test_contact_sheet_of_many(faces: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    """64 pictures at most, from the first to the last."""
    generate(vqgan, faces, "-n", "70", "--max-batch", "70")
    sheet = read(tmp_path / "samples/sheet.png")
    assert sheet.shape == (8 * 10 - 2, 8 * 10 - 2, 3)
    assert np.array_equal(sheet[:8, :8], read(tmp_path / "samples/0000.png"))
    assert np.array_equal(sheet[-8:, -8:], read(tmp_path / "samples/0069.png"))
