"""``vqgan evaluate reconstruction`` on tokenizers of random weights."""

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

from tests.data.bad_images import OK, write_bad_images
from tests.evaluation.pages import Page, numbers
from tests.recipes.conftest import SavedTokenizer, Vqgan, save_tiny
from vqgan_cli.core.artifacts import save_tokenizer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.evaluation.features import load_features
from vqgan_cli.core.evaluation.paired_features import PairedFeatures
from vqgan_cli.core.models.perceptual import features_distance
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.pretrained import read_weights
from vqgan_cli.core.reporting import Reporter

Pixels = np.ndarray[Any, np.dtype[Any]]


def command(model: SavedTokenizer, data: Path | str, *more: str | Path) -> list[str | Path]:
    """The words of a call, without networks but those that ``more`` names."""
    words: list[str | Path] = [
        "evaluate",
        "reconstruction",
        "--ae",
        model.path,
        "--data",
        data,
        "--device",
        "cpu",
    ]
    for option in ("--perceptual", "--features"):
        words += [] if option in more else [option, "none"]
    return [*words, *more]


def evaluate(vqgan: Vqgan, model: SavedTokenizer, data: Path | str, *more: str | Path) -> dict[str, Any]:
    """The JSON of a call that succeeds."""
    done = vqgan(*command(model, data, *more), "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def through_files(vqgan: Vqgan, model: SavedTokenizer, data: Path, *more: str) -> Path:
    """The folder of what encode and decode make of images."""
    done = vqgan("encode", data, "--ae", model.path, "--device", "cpu", "-o", "codes.npy", "--force", *more)
    assert done.code == 0, done.err
    done = vqgan("decode", "codes.npy", "--ae", model.path, "--device", "cpu", "-o", "decoded", "--keep-size")
    assert done.code == 0, done.err
    return Path("decoded")


def files(folder: Path) -> list[Pixels]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))]


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Five smooth pictures of 32x32, the training size, so that nothing is resized."""
    (tmp_path / "squares").mkdir()
    for number in range(5):
        coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"squares/{number}.png")
    return tmp_path / "squares"


def test_figures_are_those_of_encode_and_decode(
    tiny: SavedTokenizer, squares: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the definitions, on the files that encode and decode write; the batch changes nothing."""
    found = evaluate(vqgan, tiny, squares, "-o", "report", "--batch-size", "2")
    originals, decoded = files(squares), files(through_files(vqgan, tiny, squares, "--batch-size", "2"))
    errors = [np.square(a.astype(float) - b).mean() for a, b in zip(originals, decoded, strict=True)]
    psnr = [10 * math.log10(255**2 / error) for error in errors]
    assert found["psnr"]["value"] == pytest.approx(np.mean(psnr), abs=1e-4)
    low, high = found["psnr"]["confidence_interval_95"]
    assert min(psnr) <= low <= np.mean(psnr) <= high <= max(psnr)
    l1 = np.mean(
        [np.abs(a.astype(float) - b).mean() / 127.5 for a, b in zip(originals, decoded, strict=True)]
    )
    assert found["l1"]["value"] == pytest.approx(l1, abs=0.5 / 127.5)  # that of the files is rounded
    assert "perceptual_distance" not in found

    codes = np.load(tmp_path / "codes.npy")
    counts = np.bincount(codes.reshape(-1), minlength=300)
    shares = counts[counts > 0] / counts.sum()
    entropy = -(shares * np.log2(shares)).sum()
    assert found["codes_never_used"]["value"] == (counts == 0).sum()
    assert found["codebook_usage"]["value"] == pytest.approx((counts > 0).mean())
    assert found["perplexity"]["value"] == pytest.approx(2**entropy)
    assert found["bits_per_pixel"]["value"] == pytest.approx(math.log2(300) / 4)
    assert found["bits_per_pixel_entropy_coded"]["value"] == pytest.approx(entropy / 4)
    assert found["bits_per_pixel_raw"]["value"] == 24
    assert found["codes_used"]["value"] == pytest.approx(np.mean([len(np.unique(each)) for each in codes]))
    assert {figure["images"] for figure in found.values() if isinstance(figure, dict)} == {5}

    with (tmp_path / "report/images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"{number}.png" for number in range(5)]
    assert [float(row["psnr"]) for row in rows] == pytest.approx(psnr, abs=1e-4)


def test_report_holds_everything_and_fetches_nothing(
    tiny: SavedTokenizer, squares: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: metrics.json, which is what --json prints; pictures are those of encode and decode, the worst first."""
    found = evaluate(vqgan, tiny, squares, "-o", "report")
    assert json.loads((tmp_path / "report/metrics.json").read_text()) == found
    page = Page(tmp_path / "report/report.html")
    assert all(repr(number) in page.text for number in numbers(found))
    pictures = page.pictures()
    originals, decoded = files(squares), files(through_files(vqgan, tiny, squares))
    errors = [np.square(a.astype(float) - b).mean() for a, b in zip(originals, decoded, strict=True)]
    worst_first = sorted(range(5), key=lambda number: -errors[number])
    for picture, number in zip(pictures, worst_first + worst_first[::-1], strict=True):
        assert np.array_equal(picture[:, :32], originals[number])
        assert np.abs(picture[:, -32:].astype(int) - decoded[number]).max() <= 1  # batches differ

    done = vqgan(*command(tiny, squares, "-o", "report"))
    assert done.code == 1
    assert "report/report.html' exists" in done.err


@pytest.mark.fault(19, "evaluate")
@pytest.mark.fault(20, "evaluate")
def test_bad_images_are_named_and_left_out(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the table of what each file must be refused for; also one that is too small once it is rounded to f."""
    expected = write_bad_images(tmp_path / "bad")
    Image.new("RGB", (11, 40)).save(tmp_path / "bad/small.png")
    expected["small.png"] = "becomes 40x8 (height x width): SSIM"
    done = vqgan(*command(coarse, "bad", "--native", "--json", "-o", "report"))
    assert done.code == 3, done.err
    found = json.loads(done.out)
    failed = {each["name"]: each["reason"] for each in found["failed"]}
    assert failed.keys() == {name for name, reason in expected.items() if reason != OK}
    assert all(expected[name] in reason for name, reason in failed.items())
    assert found["images"] == found["psnr"]["images"] == len(expected) - len(failed)
    assert f"{len(failed)} images left out" in done.err
    assert f"{len(failed)} could not be used" in Page(tmp_path / "report/report.html").text

    (tmp_path / "only").mkdir()
    (tmp_path / "only/empty.png").touch()
    done = vqgan(*command(coarse, "only"))
    assert done.code == 1
    assert "none of the 1 images of 'only' can be read: 'empty.png' is empty" in done.err


def test_label_maps(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: sets of pixels of the files that decode writes. What pictures have, label maps are refused."""
    model = save_tiny(tmp_path / "labels.safetensors", kind="segmentation", in_channels=5, out_channels=5)
    (tmp_path / "maps").mkdir()
    for number in range(4):
        labels = np.random.default_rng(number).integers(0, 5, (4, 4), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(labels).save(tmp_path / f"maps/{number}.png")
    found = evaluate(vqgan, model, "maps", "-o", "report")
    truth = np.stack(files(tmp_path / "maps"))
    decoded = np.stack(files(through_files(vqgan, model, tmp_path / "maps")))
    assert found["accuracy"]["value"] == pytest.approx((truth == decoded).mean())
    iou = {
        str(label): ((truth == label) & (decoded == label)).sum()
        / ((truth == label) | (decoded == label)).sum()
        for label in range(5)
    }
    assert found["iou_by_class"] == pytest.approx(iou)
    assert found["mean_iou"]["value"] == pytest.approx(np.mean(list(iou.values())))
    assert found["bits_per_pixel_raw"]["value"] == 8
    assert not {"psnr", "ssim", "l1"} & found.keys()
    page = Page(tmp_path / "report/report.html")
    assert all(repr(number) in page.text for number in numbers(found))
    assert len(page.pictures()) == 8

    for option, name in (("--perceptual", "alex"), ("--features", "fid"), ("--weights", "a.pth")):
        done = vqgan(*command(model, "maps", option, name))
        assert done.code == 2
        assert f"{option} compares pictures" in done.err
        assert "is a tokenizer of segmentation maps" in done.err


def test_depth(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the errors of the maps that decode writes, 16 bits over the range from near to far, where it is known."""
    plain = save_tiny(tmp_path / "plain.safetensors")
    architecture = plain.module.config.model_copy(update={"in_channels": 1, "out_channels": 1})
    torch.manual_seed(0)
    model = SavedTokenizer(tmp_path / "depth.safetensors", Tokenizer(architecture))
    config = ExperimentConfig.model_validate(
        {
            "data": {"size": 32, "kind": "depth"},
            "tokenizer": architecture.model_dump(),
            "train_ae": {"perceptual": {"kind": "none"}},
        }
    )
    save_tokenizer(model.path, model.module.state_dict(), config, {})
    (tmp_path / "maps").mkdir()
    for number in range(3):
        depth = np.random.default_rng(number).integers(1000, 3000, (32, 32)).astype(np.uint16)
        depth[0, :2] = 1000, 3000  # the range of each
        depth[4:9, 4:9] = 0
        Image.fromarray(depth).save(tmp_path / f"maps/{number}.png")
    found = evaluate(vqgan, model, "maps")
    truth = np.stack(files(tmp_path / "maps")).astype(float)
    decoded = np.stack(files(through_files(vqgan, model, tmp_path / "maps"))).astype(float)
    shares = np.clip(decoded - 1, 0, None) / 65534  # 1 is near, 65535 is far; 0, unknown, counts as near
    errors = np.abs((truth - 1000) / 2000 - shares)[truth > 0]
    assert found["depth_error"]["value"] == pytest.approx(errors.mean(), abs=1e-4)
    assert found["known_accuracy"]["value"] == pytest.approx(((truth > 0) == (decoded > 0)).mean())
    assert "depth_error_metres" not in found


def test_perceptual_distance_is_that_of_the_network(
    tiny: SavedTokenizer, squares: Path, shared: Path, vqgan: Vqgan
) -> None:
    """Oracle: the network itself, on the reconstructions of the module."""
    weights = shared / "weights/squeezenet1_0.safetensors"
    found = evaluate(vqgan, tiny, squares, "--perceptual", f"squeezenet1_0:{weights}")
    network = features_distance("squeezenet1_0", read_weights(weights), logits=False)
    images = torch.from_numpy(np.stack(files(squares))).permute(0, 3, 1, 2).float() / 127.5 - 1
    distance = network(tiny.module.decode(tiny.module.encode(images)), images)
    assert found["perceptual_distance"]["value"] == pytest.approx(float(distance.mean()), rel=1e-3)


def test_network_that_was_asked_for_must_be_there(tiny: SavedTokenizer, squares: Path, vqgan: Vqgan) -> None:
    """Weights that are named and absent are an error, not figures that are left out."""
    for options, hint in (
        (("--perceptual", "alex:absent.pth"), "--perceptual none"),
        (("--features", "torchvision:squeezenet1_0", "--weights", "absent.pth"), "absent.pth"),
    ):
        done = vqgan(*command(tiny, squares, *options))
        assert (done.code, done.out) == (1, "")
        assert "absent.pth" in done.err
        assert hint in done.err


def test_frechet_distance_is_that_of_the_decoded_files(
    tiny: SavedTokenizer, squares: Path, shared: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the distance by its definition, of the originals and of what encode and decode write; named after the
    network, and 0 with no doubt where pairs are equal.
    """
    weights = shared / "weights/squeezenet1_0.safetensors"
    named = ("--features", "torchvision:squeezenet1_0", "--weights", weights)
    found = evaluate(vqgan, tiny, squares, *named, "-o", "report")
    network = load_features("torchvision:squeezenet1_0", weights)
    first, second = (
        network(torch.from_numpy(np.stack(files(folder))).permute(0, 3, 1, 2)).features.double().numpy()
        for folder in (squares, through_files(vqgan, tiny, squares))
    )
    root = np.sqrt(np.linalg.eigvals(np.cov(first.T) @ np.cov(second.T)).real.clip(0)).sum()
    means = np.square(first.mean(0) - second.mean(0)).sum()
    expected = means + np.trace(np.cov(first.T) + np.cov(second.T)) - 2 * root
    assert found["features"] == "torchvision:squeezenet1_0"
    assert found["frechet_distance"]["value"] == pytest.approx(expected, rel=0.01)
    low, high = found["frechet_distance"]["confidence_interval_95"]
    assert 0 <= low < found["frechet_distance"]["value"] < high
    assert found["frechet_distance"]["reference_images"] == 5
    assert "Frechet distance (squeezenet1_0)" in Page(tmp_path / "report/report.html").text

    paired = PairedFeatures(network, 4)
    same = np.stack(files(squares))[:4]
    for part in (same[:3], same[3:]):
        paired.add(part, part, torch.device("cpu"))
    figure = paired.figure(10, torch.device("cpu"), Reporter())
    assert figure.value == pytest.approx(0, abs=1e-6)
    assert figure.interval == pytest.approx((0, 0), abs=1e-2)


def test_endless_set_shows_images_that_training_does_not(tiny: SavedTokenizer, vqgan: Vqgan) -> None:
    """Oracle: the validation images of the same set, drawn by their own source, written to files."""
    held_out = open_source("synthetic:faces", synthetic_size=32).held_out(3)
    assert held_out is not None
    Path("drawn").mkdir()
    for index in range(3):
        Image.fromarray(held_out.read(index)).save(f"drawn/{index}.png")
    drawn = evaluate(vqgan, tiny, "drawn")
    assert evaluate(vqgan, tiny, "synthetic:faces", "--limit", "3")["psnr"] == drawn["psnr"]


def test_without_json_a_line_per_figure(tiny: SavedTokenizer, squares: Path, vqgan: Vqgan) -> None:
    """Oracle: the same call with --json."""
    found = evaluate(vqgan, tiny, squares)
    done = vqgan(*command(tiny, squares))
    lines = dict(line.split("\t", 1) for line in done.out.splitlines())
    low, high = found["psnr"]["confidence_interval_95"]
    assert lines["psnr"] == f"{found['psnr']['value']}\t{low}\t{high}\t5"
    assert lines["bits_per_pixel_raw"] == "24\t\t\t5"
