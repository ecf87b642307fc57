"""``vqgan evaluate likelihood`` on models of random weights."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluation.pages import Page, numbers
from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_generate import SavedTransformer, save_transformer_of
from tests.recipes.test_train_transformer import train
from tests.recipes.test_upscale import save_model
from tests.recipes.tiny_run import log
from vqgan_cli.core.artifacts import load_transformer, save_transformer
from vqgan_cli.core.evaluation.likelihood_data import AskedCodes, codes_of_file
from vqgan_cli.core.recipes import evaluate_likelihood as likelihood

PETS = ("n02099601_golden_retriever", "tabby", "Shih-Tzu")
FOLDERS = ("Shih-Tzu", "golden_retriever", "tabby")  # in the order of the data; labels 2, 0, 1 of the model


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> SavedTransformer:
    return save_transformer_of(tmp_path_factory.mktemp("pets"), PETS)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Seven pictures of 8x8, the training size, three of the first class and two of the others."""
    for number in range(7):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        path = tmp_path / "pictures" / FOLDERS[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "pictures"


def evaluate(vqgan: Vqgan, model: Path, *arguments: str | Path) -> dict[str, Any]:
    """The JSON of a call that succeeds."""
    done = vqgan("evaluate", "likelihood", "--model", model, "--json", "--device", "cpu", *arguments)
    assert done.code == 0, done.err
    return json.loads(done.out)


def tensors(folder: Path) -> torch.Tensor:
    """All pictures of a folder in the order of their paths, as the module takes them."""
    arrays = [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_figures_are_those_of_the_module(
    pets: SavedTransformer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: mean cross entropy of the module's own teacher-forced logits; classes go by name; the batch changes
    nothing.
    """
    found = evaluate(vqgan, pets.path, "--data", pictures, "--batch-size", "3", "-o", "report")
    codes = pets.tokenizer.encode(tensors(pictures)).flatten(1)
    labels = torch.tensor([2, 2, 2, 0, 0, 1, 1])[:, None]
    logits = pets.prior(codes[:, :-1], labels)
    nats = -logits.log_softmax(-1).gather(2, codes[..., None])[..., 0].double().numpy()  # [7, 16]
    assert found["nats_per_code"]["value"] == pytest.approx(nats.mean(), abs=1e-5)
    low, high = found["nats_per_code"]["confidence_interval_95"]
    assert nats.mean(1).min() <= low < nats.mean() < high <= nats.mean(1).max()
    assert found["bits_per_pixel"]["value"] == pytest.approx(nats.mean() / math.log(2) / 4, abs=1e-5)
    assert found["perplexity"]["value"] == pytest.approx(math.exp(nats.mean()), rel=1e-5)
    assert found["accuracy"]["value"] == pytest.approx((logits.argmax(-1) == codes).double().mean())
    assert found["nats_per_code_uniform"]["value"] == pytest.approx(math.log(300))
    shares = np.bincount(codes.flatten()) / codes.numel()
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    assert found["nats_per_code_by_frequency"]["value"] == pytest.approx(entropy)
    assert np.allclose(found["by_position"], nats.mean(0).reshape(4, 4), atol=1e-5)
    by_class = found["by_class"]
    assert {name: each["images"] for name, each in by_class.items()} == dict(
        zip(FOLDERS, (3, 2, 2), strict=True)
    )
    assert by_class["golden_retriever"]["value"] == pytest.approx(nats[3:5].mean(), abs=1e-5)
    together = sum(each["value"] * each["images"] for each in by_class.values())
    assert together / 7 == pytest.approx(found["nats_per_code"]["value"])

    with (tmp_path / "report/images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [
        path.relative_to(pictures).as_posix() for path in sorted(pictures.rglob("*.png"))
    ]
    assert [float(row["nats_per_code"]) for row in rows] == pytest.approx(nats.mean(1), abs=1e-5)
    assert json.loads((tmp_path / "report/metrics.json").read_text()) == found
    page = Page(tmp_path / "report/report.html")
    assert all(repr(number) in page.text for number in numbers(found))
    shown = page.pictures()
    assert len(shown) == 1 + 7 + 7
    darkest = np.abs(shown[0].astype(int) - (68, 1, 84)).sum(-1).argmin()
    assert darkest == np.argmin(found["by_position"])


def test_codes_in_place_of_images(pets: SavedTransformer, pictures: Path, vqgan: Vqgan) -> None:
    """Oracle: the same images with --data; a limit takes the first; another tokenizer's codes are refused."""
    done = vqgan("encode", pictures, "--ae", pets.tokenizer_path, "--device", "cpu", "--size", "8")
    assert done.code == 0, done.err
    of_images = evaluate(vqgan, pets.path, "--data", pictures)
    of_codes = evaluate(vqgan, pets.path, "--codes", "codes.npy")
    assert of_codes.pop("data") == "codes.npy"
    assert of_images.pop("data") == str(pictures)
    assert of_codes == of_images
    first = evaluate(vqgan, pets.path, "--codes", "codes.npy", "--limit", "3")
    assert list(first["by_class"]) == ["Shih-Tzu"]
    assert first["nats_per_code"]["value"] == pytest.approx(of_images["by_class"]["Shih-Tzu"]["value"])

    description = json.loads(Path("codes.json").read_text())
    description["metadata"]["fingerprint"] = "0" * 64
    Path("codes.json").write_text(json.dumps(description))
    done = vqgan("evaluate", "likelihood", "--model", pets.path, "--codes", "codes.npy")
    assert done.code == 1
    assert "was made by another tokenizer" in done.err


def test_codes_of_some_images(
    pets: SavedTransformer, pictures: Path, vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the same images among all; which are asked for is no matter of where they stand in the file."""
    done = vqgan("encode", pictures, "--ae", pets.tokenizer_path, "--device", "cpu", "--size", "8")
    assert done.code == 0, done.err

    def by_name(report: str) -> dict[str, float]:
        evaluate(vqgan, pets.path, "--codes", "codes.npy", "-o", report)
        with (tmp_path / report / "images.csv").open() as file:
            return {row["name"]: float(row["nats_per_code"]) for row in csv.DictReader(file)}

    def some(*arguments: Any) -> AskedCodes:
        asked, chosen = codes_of_file(*arguments), np.array([6, 1, 4])
        names = [asked.names[image] for image in chosen]
        return AskedCodes(asked.name, asked.codes.part(chosen), names, asked.conditions[chosen])

    everything = by_name("all")
    monkeypatch.setattr(likelihood, "codes_of_file", some)
    found = by_name("some")
    assert list(found) == [list(everything)[image] for image in (6, 1, 4)]
    assert found == pytest.approx({name: everything[name] for name in found}, abs=1e-6)


def test_model_that_knows_nothing(
    pets: SavedTransformer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Closed form: with weights of zero all 300 codes are equally likely, everywhere and for sure."""
    info = load_transformer(pets.path).info
    zeros = {name: torch.zeros_like(each) for name, each in pets.prior.state_dict().items()}
    path = tmp_path / "zeros.safetensors"
    save_transformer(path, zeros, pets.tokenizer.state_dict(), info.config, pets.prior.spec, PETS, {})
    found = evaluate(vqgan, path, "--data", pictures)
    nats = found["nats_per_code"]
    assert [nats["value"], *nats["confidence_interval_95"]] == pytest.approx([math.log(300)] * 3, rel=1e-6)
    assert found["perplexity"]["value"] == pytest.approx(300, rel=1e-5)
    assert np.allclose(found["by_position"], math.log(300))


def test_validation_of_a_training_is_the_same(
    coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the log of a training that was judged by the same images."""
    done = vqgan(*train(coarse.path, "run", 4, "--data", pictures, "--val", pictures))
    assert done.code == 0, done.err
    validated = next(line for line in reversed(log(tmp_path / "run")) if "validation/loss" in line)
    found = evaluate(vqgan, tmp_path / "run", "--data", pictures)
    assert found["nats_per_code"]["value"] == pytest.approx(validated["validation/loss"], abs=1e-5)
    assert found["bits_per_pixel"]["value"] == pytest.approx(validated["validation/bits_per_pixel"], abs=1e-6)
    assert found["accuracy"]["value"] == pytest.approx(validated["validation/accuracy"])


def test_maps(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the module's logits below the codes of the same maps, here the low resolution of each picture."""
    model = load_transformer(save_model(tmp_path / "lowres.safetensors", coarse))
    assert model.map_encoder is not None
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"pictures/{number}.png")
    found = evaluate(vqgan, tmp_path / "lowres.safetensors", "--data", "pictures")
    images = tensors(tmp_path / "pictures")
    arrays = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "pictures").iterdir())]
    maps = model.map_encoder.encode([model.map_encoder.map_kind.compute(each) for each in arrays])
    codes = model.tokenizer.encode(images).flatten(1)
    logits = model.prior(codes[:, :-1], torch.from_numpy(maps).flatten(1))
    nats = -logits.log_softmax(-1).gather(2, codes[..., None])
    assert found["nats_per_code"]["value"] == pytest.approx(float(nats.mean()), abs=1e-5)
    assert found["by_class"] == {}

    done = vqgan("evaluate", "likelihood", "--model", "lowres.safetensors", "--codes", "codes.npy")
    assert done.code == 2
    assert "draws by lowres maps, and a codes file has none" in done.err


def test_bad_images_and_classes(pets: SavedTransformer, pictures: Path, vqgan: Vqgan) -> None:
    """Invariant: bad files are named, counted, and left out, also where the codes come from the cache."""
    good = evaluate(vqgan, pets.path, "--data", pictures)
    (pictures / "golden_retriever/0.png").write_text(
        "no picture"
    )  # comes before others, whose places move up
    for _ in range(2):
        done = vqgan("evaluate", "likelihood", "--model", pets.path, "--data", pictures, "--json")
        assert done.code == 3, done.err
        found = json.loads(done.out)
        assert found["failed"] == [
            {
                "name": "golden_retriever/0.png",
                "reason": "is no image of a known format, or its header is damaged",
            }
        ]
        assert "1 image left out:\n  'golden_retriever/0.png': is no image" in done.err
        assert found["nats_per_code"] == good["nats_per_code"]

    (pictures / "tabby").rename(pictures / "cat")
    done = vqgan("evaluate", "likelihood", "--model", pets.path, "--data", pictures)
    assert done.code == 2
    assert "has a class 'cat', which the model does not know" in done.err
    assert "it has 3 classes: golden retriever, tabby, Shih-Tzu" in done.err


def test_labels_from_a_file(pets: SavedTransformer, pictures: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the same images in folders."""
    (tmp_path / "flat").mkdir()
    rows = []
    for path in sorted(pictures.rglob("*.png")):
        (tmp_path / "flat" / path.name).write_bytes(path.read_bytes())
        rows.append(f"{path.name},{path.parent.name}")
    done = vqgan("evaluate", "likelihood", "--model", pets.path, "--data", "flat")
    assert done.code == 2
    assert "'flat' has no classes" in done.err
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = evaluate(vqgan, pets.path, "--data", "flat", "--labels", "labels.csv")
    expected = evaluate(vqgan, pets.path, "--data", pictures)
    assert found["by_class"].keys() == expected["by_class"].keys()
    assert found["nats_per_code"]["value"] == pytest.approx(expected["nats_per_code"]["value"])


def test_wrong_usage(pets: SavedTransformer, vqgan: Vqgan) -> None:
    """One message each, before any work."""
    for arguments in ((), ("--data", "photos", "--codes", "codes.npy")):
        done = vqgan("evaluate", "likelihood", "--model", pets.path, *arguments)
        assert done.code == 2
        assert "name images with --data, or a codes file with --codes" in done.err
    np.save("codes.npy", np.zeros((2, 5, 4), np.uint16))
    done = vqgan("evaluate", "likelihood", "--model", pets.path, "--codes", "codes.npy")
    assert done.code == 1
    assert "'codes.json' is missing" in done.err
