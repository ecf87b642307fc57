"""``vqgan evaluate samples`` and ``statistics``, in the features of a small network of random weights."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.bad_images import OK, write_bad_images
from tests.evaluation.networks import inception as inception
from tests.evaluation.networks import save_random
from tests.evaluation.pages import Page, numbers
from tests.metrics.conftest import torch_fidelity as torch_fidelity
from tests.recipes.conftest import Vqgan
from tests.recipes.test_train_ae import offline as offline
from vqgan_cli.core.data.transforms import cover_crop
from vqgan_cli.core.evaluation import features as features_module
from vqgan_cli.core.evaluation.features import FeatureNetwork, load_features

NETWORK = "torchvision:shufflenet_v2_x0_5"  # the least work of all that torchvision has
DISTANCES = ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage")

Pixels = np.ndarray[Any, np.dtype[Any]]
Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random(NETWORK.partition(":")[2], tmp_path_factory.mktemp("weights") / "network.safetensors")


@pytest.fixture(scope="module")
def network(weights: Path) -> FeatureNetwork:
    return load_features(NETWORK, weights)


@pytest.fixture
def evaluate(vqgan: Vqgan, weights: Path) -> Evaluate:
    """The JSON of ``vqgan evaluate ARGUMENTS``, which succeeds."""

    def call(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        done = vqgan("evaluate", *arguments, *in_network(weights), "--json")
        assert done.code == code, done.err
        return json.loads(done.out)

    return call


def in_network(weights: Path) -> list[str]:
    return ["--features", NETWORK, "--weights", str(weights), "--device", "cpu"]


def picture(seed: int, coarse: int, height: int = 32, width: int = 32) -> Pixels:
    """Coloured blotches, the smaller the greater ``coarse`` is."""
    noise = np.random.default_rng(seed).integers(0, 256, (coarse, coarse, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def write(folder: Path, pictures: dict[str, Pixels]) -> Path:
    for name, each in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(folder / name)
    return folder


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Eight samples, four each of ``cat`` and ``dog``; twelve reference images, six each."""
    samples = {f"{'cat' if n < 4 else 'dog'}/{n}.png": picture(n, 4 if n < 4 else 6) for n in range(8)}
    reference = {
        f"{'cat' if n < 6 else 'dog'}/{n}.png": picture(100 + n, 4 if n < 6 else 8) for n in range(12)
    }
    return write(tmp_path / "samples", samples), write(tmp_path / "reference", reference)


def features_of(network: FeatureNetwork, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    pictures = [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))]
    return network(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def test_figures_are_torch_fidelitys(
    sets: tuple[Path, Path], evaluate: Evaluate, network: FeatureNetwork, torch_fidelity: ModuleType
) -> None:
    """Oracle: torch-fidelity's computations on features that the network gave without the command."""
    found = evaluate("samples", "-s", sets[0], "-r", sets[1], "--resamples", "0")
    (a, logits), (b, _) = (features_of(network, each) for each in sets)
    fid = torch_fidelity.metric_fid
    expected = fid.fid_statistics_to_metric(*map(fid.fid_features_to_statistics, (a, b)), False)
    assert found["frechet_distance"]["value"] == pytest.approx(*expected.values(), rel=1e-3)
    expected = torch_fidelity.metric_isc.isc_features_to_metric(logits, splits=1)
    assert found["classifier_score"]["value"] == pytest.approx(expected["inception_score_mean"])
    expected = torch_fidelity.metric_prc.prc_features_to_metric(a, b, verbose=False)
    assert found["precision"]["value"] == pytest.approx(expected["precision"])
    assert found["recall"]["value"] == pytest.approx(expected["recall"])
    x, y = (each.double() for each in (a, b))
    within = [
        ((each @ each.T) / each.shape[1] + 1) ** 3 for each in (x, y)
    ]  # torch-fidelity wants equal numbers
    pairs = [float(each.sum() - each.trace()) / (len(each) * (len(each) - 1)) for each in within]
    between = float((((x @ y.T) / x.shape[1] + 1) ** 3).mean())
    assert found["kernel_distance"]["value"] == pytest.approx(sum(pairs) - 2 * between, rel=1e-3)
    for name in DISTANCES:
        assert (found[name]["images"], found[name]["reference_images"]) == (8, 12)
        assert "confidence_interval_95" not in found[name]
    assert found["classifier_score"]["images"] == 8


@pytest.mark.slow
def test_fid_is_torch_fidelitys(
    sets: tuple[Path, Path],
    vqgan: Vqgan,
    inception: Path,
    torch_fidelity: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Oracle: torch-fidelity from the files to FID, KID, Inception score, precision and recall, with weights of
    Inception's layout, whose hash takes the place of the published one.
    """
    monkeypatch.setattr(
        features_module, "INCEPTION_SHA256", hashlib.sha256(inception.read_bytes()).hexdigest()
    )
    samples, reference = sets
    for path in sorted(reference.rglob("*.png"))[8:]:  # for KID's subsets as many as there are samples
        path.unlink()
    done = vqgan(
        "evaluate", "samples", "-s", samples, "-r", reference, "--features", "fid", "--weights", inception,
        "--resamples", "0", "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    expected = torch_fidelity.calculate_metrics(
        input1=str(samples), input2=str(reference), samples_find_deep=True, feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception), fid=True, kid=True, isc=True, prc=True, kid_subsets=1,
        kid_subset_size=8, isc_splits=1, cuda=False, cache=False, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    for ours, theirs in (
        ("frechet_distance", "frechet_inception_distance"), ("kernel_distance", "kernel_inception_distance_mean"),
        ("classifier_score", "inception_score_mean"), ("precision", "precision"), ("recall", "recall"),
    ):  # fmt: skip
        assert found[ours]["value"] == pytest.approx(expected[theirs], rel=1e-3), ours
    done = vqgan(
        "evaluate", "samples", "-s", samples, "-r", samples, "--features", "fid", "--weights", inception,
        "--resamples", "0", "--device", "cpu", "-o", "report",
    )  # fmt: skip
    assert all(name in Page(Path("report/report.html")).text for name in ("FID", "KID", "Inception score"))


def test_a_set_and_itself(sets: tuple[Path, Path], evaluate: Evaluate, network: FeatureNetwork) -> None:
    """Identity: Frechet distance 0, everything precise, recalled and covered, and each image its own nearest."""
    found = evaluate("samples", "-s", sets[1], "-r", sets[1], "--resamples", "0")
    variance = float(features_of(network, sets[1])[0].var(0).sum())
    assert found["frechet_distance"]["value"] < 1e-9 * variance
    assert [found[name]["value"] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert found["density"]["value"] == pytest.approx(1)
    assert all(each["sample"] == each["nearest"][0]["image"] for each in found["nearest_training_images"])


def test_reference_is_prepared_as_the_samples_are(
    sets: tuple[Path, Path], evaluate: Evaluate, tmp_path: Path
) -> None:
    """Oracle: the same reference, resized and cropped beforehand."""
    large = {f"{n}.png": picture(n, 5, 50, 70 + n) for n in range(8)}
    small = {name: cover_crop(each, 32, 32)[0] for name, each in large.items()}
    first, second = (
        evaluate("samples", "-s", sets[0], "-r", write(tmp_path / name, pictures), "--resamples", "0")
        for name, pictures in (("large", large), ("small", small))
    )
    assert first["preparation"] == "resized and centre-cropped to 32x32 (height x width)"
    assert all(first[name] == second[name] for name in (*DISTANCES, "preparation", "training_spacing"))


def test_samples_of_several_sizes(
    sets: tuple[Path, Path], vqgan: Vqgan, evaluate: Evaluate, weights: Path
) -> None:
    write(sets[0], {"dog/large.png": picture(3, 4, 40, 40)})
    done = vqgan("evaluate", "samples", "-s", sets[0], "-r", sets[1], *in_network(weights))
    assert (done.code, done.out) == (1, "")
    assert "'dog/large.png' is 40x40, the first 32x32 (height x width)" in done.err
    assert "--size HEIGHTxWIDTH" in done.err
    found = evaluate("samples", "-s", sets[0], "-r", sets[1], "--size", "16x24", "--resamples", "0")
    assert found["images"] == 9
    assert "16x24" in found["preparation"]


def test_intervals(sets: tuple[Path, Path], evaluate: Evaluate) -> None:
    """Every figure has one that holds its value; a seed decides them, and nothing else."""
    arguments = ("samples", "-s", sets[0], "-r", sets[1], "--resamples", "20")
    found = evaluate(*arguments)
    figures = {name: each for name, each in found.items() if isinstance(each, dict)}
    assert set(figures) == {*DISTANCES, "classifier_score", "nearest_training_distance", "training_spacing"}
    for name, figure in figures.items():
        low, high = figure["confidence_interval_95"]
        assert low <= figure["value"] <= high, name
    assert figures["frechet_distance"]["confidence_interval_95"][0] >= 0
    assert found == evaluate(*arguments)
    other = evaluate(*arguments, "--seed", "1")
    assert other["frechet_distance"]["value"] == found["frechet_distance"]["value"]
    assert other["frechet_distance"] != found["frechet_distance"]
    assert len(numbers(found)) == len(numbers(other))


def test_classes(sets: tuple[Path, Path], evaluate: Evaluate) -> None:
    """Oracle: the folder of each class against its own, by themselves."""
    found = evaluate("samples", "-s", sets[0], "-r", sets[1], "--resamples", "5")
    assert [each["name"] for each in found["classes"]] == ["cat", "dog"]
    for each in found["classes"]:
        alone = evaluate(
            "samples", "-s", sets[0] / each["name"], "-r", sets[1] / each["name"], "--resamples", "5"
        )
        assert alone["classes"] == []
        for name in DISTANCES:
            assert each[name]["images"] == 4
        for name in ("frechet_distance", "kernel_distance"):  # batches that differ are rounded differently
            assert each[name]["value"] == pytest.approx(alone[name]["value"], rel=1e-3)
        assert each["precision"]["value"] is None, "four images have no five neighbours"


def test_folder_of_generate(
    sets: tuple[Path, Path], evaluate: Evaluate, tmp_path: Path, vqgan: Vqgan
) -> None:
    """The contact sheet is no sample, and samples have the classes that they were drawn by."""
    folder = write(tmp_path / "drawn", {f"{n}.png": picture(n, 4) for n in range(4)})
    write(folder, {"sheet.png": picture(0, 4, 64, 64)})
    images = [
        {"file": f"{n}.png", "index": n, "seed": 0, "size": [32, 32], "label": 7, "class_name": "Dog"}
        for n in range(4)
    ]
    description = {"finished": True, "settings": {}, "images": images}
    (folder / "samples.json").write_text(json.dumps(description))
    found = evaluate("samples", "-s", folder, "-r", sets[1], "--resamples", "0")
    assert found["images"] == 4
    assert [(each["label"], each["name"]) for each in found["classes"]] == [(7, "Dog")]
    assert found["classes"][0]["frechet_distance"]["reference_images"] == 6
    (folder / "samples.json").write_text(json.dumps(description | {"finished": False}))
    done = vqgan("evaluate", "samples", "-s", folder, "-r", sets[1])
    assert done.code == 1
    assert "not finished" in done.err


def test_copies_show(sets: tuple[Path, Path], evaluate: Evaluate, weights: Path, tmp_path: Path) -> None:
    """A sample that is a training image is the nearest of all, at distance 0; the report shows both pictures."""
    train = write(tmp_path / "train", {f"{n}.png": picture(500 + n, 4) for n in range(6)})
    shutil.copy(train / "3.png", sets[0] / "dog/copy.png")
    found = evaluate(
        "samples", "-s", sets[0], "-r", sets[1], "--train", train, "--resamples", "0", "-o", "report"
    )
    first, second, *_ = found["nearest_training_images"]
    assert first["sample"] == "dog/copy.png"
    assert first["nearest"][0]["image"] == "3.png"
    assert first["nearest"][0]["distance"] < 1e-3 < second["nearest"][0]["distance"]
    assert len(first["nearest"]) == 3
    assert found["nearest_training_distance"]["reference_images"] == 6
    page = Page(Path("report/report.html"))
    shown = page.pictures()[0]
    assert np.array_equal(shown[:, :32], shown[:, 34:66]), "the copy and what it was copied from"
    assert np.array_equal(shown[:, :32], picture(503, 4))
    assert "shufflenet_v2_x0_5" in page.text
    assert "FID" not in page.text
    assert "Inception" not in page.text
    assert json.loads(Path("report/metrics.json").read_text()) == found


@pytest.mark.fault(19, "evaluate")
def test_bad_images(
    sets: tuple[Path, Path], evaluate: Evaluate, vqgan: Vqgan, weights: Path, tmp_path: Path
) -> None:
    """Left out by name, of samples and of reference, exit 3; a set with nothing else is one message."""
    (sets[0] / "cat/torn.png").write_bytes((sets[0] / "cat/0.png").read_bytes()[:60])
    (sets[1] / "dog/empty.png").touch()
    found = evaluate("samples", "-s", sets[0], "-r", sets[1], "--resamples", "0", code=3)
    assert [each["name"] for each in found["failed"]] == ["cat/torn.png", "dog/empty.png"]
    assert (found["images"], found["reference_images"]) == (8, 12)
    expected = write_bad_images(tmp_path / "bad")
    for name, reason in expected.items():
        if reason == OK:
            (tmp_path / "bad" / name).unlink()
    done = vqgan("evaluate", "samples", "-s", sets[0], "-r", "bad", *in_network(weights))
    assert done.code == 1
    assert "can be read" in done.err
    assert "Traceback" not in done.err


@pytest.mark.fault(26, "evaluate")
def test_out_of_reach(sets: tuple[Path, Path], vqgan: Vqgan, offline: Path) -> None:
    """One message: which file, its hash, where to put it, and the other way."""
    done = vqgan("evaluate", "samples", "-s", sets[0], "-r", sets[1], "--device", "cpu")
    assert (done.code, done.out) == (1, "")
    assert (
        "weights-inception-2015-12-05-6726825d.pth, which is not cached and cannot be downloaded" in done.err
    )
    assert features_module.INCEPTION_SHA256 in done.err
    assert f"into {offline}" in done.err
    assert "--features torchvision:NAME --weights FILE" in done.err
    assert done.err.count("error:") == 1


@pytest.fixture
def statistics(sets: tuple[Path, Path], evaluate: Evaluate) -> Path:
    made = evaluate("statistics", "--data", sets[1], "-o", "kept.npz", "--keep-features")
    assert (made["statistics"], made["images"], made["size"]) == ("kept.npz", 12, [32, 32])
    return Path("kept.npz").absolute()


def test_statistics_in_place_of_images(
    sets: tuple[Path, Path], statistics: Path, evaluate: Evaluate, vqgan: Vqgan, weights: Path
) -> None:
    """Oracle: the images themselves, for every figure; for mean and covariance alone, the Frechet distance."""
    of_images = evaluate("samples", "-s", sets[0], "-r", sets[1], "--resamples", "5")
    kept = evaluate("samples", "-s", sets[0], "-r", statistics, "--resamples", "5")
    for name in (*DISTANCES, "classes", "classifier_score", "training_spacing", "nearest_training_images"):
        assert kept[name] == of_images[name], name
    assert kept["reference"] == str(sets[1])
    assert kept["reference_statistics"] == str(statistics)

    evaluate("statistics", "--data", sets[1], "-o", "small.npz")
    with np.load("small.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"description", "mean", "covariance"}
    small = evaluate("samples", "-s", sets[0], "-r", "small.npz", "--resamples", "5")
    assert small["frechet_distance"]["value"] == pytest.approx(
        of_images["frechet_distance"]["value"], rel=1e-6
    )
    assert not {*DISTANCES[1:], "training_spacing"} & small.keys()
    done = vqgan(
        "evaluate", "samples", "-s", sets[0], "-r", "small.npz", *in_network(weights), "--resamples", "0"
    )
    assert "keeps no features" in done.err
    assert "--keep-features" in done.err


def test_statistics_of_something_else(
    sets: tuple[Path, Path], statistics: Path, vqgan: Vqgan, weights: Path, tmp_path: Path
) -> None:
    """Other features, weights or sizes are refused by name, before a picture goes through the network."""
    other = save_random("mobilenet_v3_small", tmp_path / "other.safetensors")
    changed = save_random(NETWORK.partition(":")[2], tmp_path / "changed.safetensors", seed=1)
    write(tmp_path / "large", {f"{n}.png": picture(n, 4, 40, 48) for n in range(6)})
    cases = [
        (
            ["-s", sets[0], "--features", "torchvision:mobilenet_v3_small", "--weights", other],
            f"of features '{NETWORK}', and the samples' are 'torchvision:mobilenet_v3_small'",
        ),
        (["-s", sets[0], *in_network(changed)], "of other weights of"),
        (["-s", "large", *in_network(weights)], "of images of 32x32, and the samples are 40x48"),
        (
            ["-s", sets[0], *in_network(weights), "--size", "16"],
            "of images of 32x32, and the samples are 16x16",
        ),
    ]
    for arguments, message in cases:
        done = vqgan("evaluate", "samples", "-r", statistics, *arguments)
        assert (done.code, done.out) == (1, "")
        assert message in done.err
        assert str(statistics) in done.err
        assert "hint:" in done.err
        assert "features of samples" not in done.err


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("executed"),)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def save(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, each in content.items():
            archive.writestr(name, each)


def array(values: Any, *, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values), allow_pickle=pickled)
    return file.getvalue()


def claiming(shape: tuple[int, ...], kind: str) -> bytes:
    """An array that holds nothing of what its header promises."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


HOSTILE: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "pickled": lambda good: good | {"mean.npy": array([Malicious()], pickled=True)},
    "huge": lambda good: good | {"features.npy": claiming((1 << 40, 1 << 20), "<f4")},
    "no mean": lambda good: {name: each for name, each in good.items() if name != "mean.npy"},
    "no description": lambda good: good | {"description.npy": array(np.zeros(3, np.uint8))},
    "other covariance": lambda good: good | {"covariance.npy": array(np.eye(5))},
    "other type": lambda good: good | {"mean.npy": array(np.ones(1024, np.int64))},
    "not finite": lambda good: good | {"mean.npy": array(np.full(1024, np.nan))},
    "not symmetric": lambda good: good | {"covariance.npy": array(np.triu(np.ones((1024, 1024))))},
    "other labels": lambda good: good | {"labels.npy": array(np.zeros(5, np.int64))},
}


@pytest.mark.parametrize(
    "name", [*HOSTILE, "compressed", "truncated", "flipped", "text", "another program's"]
)
def test_statistics_that_must_not_be_believed(
    name: str, sets: tuple[Path, Path], statistics: Path, vqgan: Vqgan, weights: Path, tmp_path: Path
) -> None:
    """One message that names the file and says how to make a good one; nothing is executed."""
    path = tmp_path / "given.npz"
    good = statistics.read_bytes()
    if name in HOSTILE:
        save(path, HOSTILE[name](members(statistics)))
    elif name == "compressed":
        save(path, members(statistics), zipfile.ZIP_DEFLATED)
    elif name == "another program's":
        np.savez(path, mu=np.zeros(4), sigma=np.eye(4))
    else:
        middle = len(good) // 2
        broken = {"truncated": good[:middle], "text": b"mean: 0"}
        path.write_bytes(broken.get(name, good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]))
    done = vqgan("evaluate", "samples", "-s", sets[0], "-r", path, *in_network(weights))
    assert (done.code, done.out) == (1, "")
    assert f"{str(path)!r} is no file of vqgan evaluate statistics, or is damaged" in done.err
    assert "make one: vqgan evaluate statistics" in done.err
    assert "Traceback" not in done.err
    assert not Path("executed").exists()


def test_statistics_that_cannot_be_written(
    sets: tuple[Path, Path], statistics: Path, vqgan: Vqgan, weights: Path, tmp_path: Path
) -> None:
    """Found before any work: another suffix, a file that exists, a folder that is none; --force replaces."""
    (tmp_path / "file").touch()
    for out, code, message in (
        ("kept.npy", 2, "does not end in .npz"),
        ("kept.npz", 1, "exists"),
        ("file/kept.npz", 1, "cannot write"),
    ):
        done = vqgan("evaluate", "statistics", "--data", sets[1], "-o", out, *in_network(weights))
        assert (done.code, done.out) == (code, "")
        assert message in done.err
        assert "features of" not in done.err
    before = statistics.read_bytes()
    done = vqgan(
        "evaluate", "statistics", "--data", sets[0], "-o", "kept.npz", "--force", *in_network(weights)
    )
    assert (done.code, done.out) == (0, "kept.npz\n")
    assert statistics.read_bytes() != before


def test_a_part_of_each(sets: tuple[Path, Path], evaluate: Evaluate, vqgan: Vqgan, weights: Path) -> None:
    """Limits spread over a sorted source, so that classes stay; built-in pictures have none of their own."""
    found = evaluate(
        "samples", "-s", sets[0], "-r", sets[1], "--limit", "4", "--reference-limit", "6", "--resamples", "0"
    )
    assert (found["images"], found["reference_images"]) == (4, 6)
    assert [each["frechet_distance"]["images"] for each in found["classes"]] == [2, 2]
    found = evaluate(
        "samples", "-s", sets[0], "-r", "synthetic:faces", "--reference-limit", "7", "--resamples", "0"
    )
    assert found["reference_images"] == 7
