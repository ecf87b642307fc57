"""``vqgan upscale`` on tiny models."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import ROOT
from tests.recipes.conftest import SavedTokenizer, Vqgan
from vqgan_cli.core.artifacts import save_transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.maps import build_map_kind, enlarge, shrink
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.models.priors import PriorSpec, build_prior

FACES = SYNTHETIC_SETS["faces"]


def save_model(path: Path, ae: SavedTokenizer, kind: str = "lowres", grid: tuple[int, int] = (4, 4)) -> Path:
    """A prior of random weights over a grid of codes, factor 4, with its condition by the same tokenizer."""
    config = ExperimentConfig.model_validate(
        {
            "data": {"size": 32},
            "tokenizer": ae.module.config.model_dump(),
            "condition": {"kind": kind, "tokenizer": "same"},
            "transformer": {"layers": 1, "heads": 2, "width": 32},
        }
    )
    spec = PriorSpec(300, grid, "codes", 300)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    prior = build_prior(config.transformer, spec)
    encoder = MapEncoder(build_map_kind(kind, config.data.maps), ae.module, ae.module.downsampling)
    save_transformer(path, prior.state_dict(), ae.module.state_dict(), config, spec, (), {}, encoder)
    return path


@pytest.fixture(scope="module")
def model(coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model.safetensors", coarse)


@pytest.fixture
def photo(tmp_path: Path) -> np.ndarray:
    """A small picture, ``photo.png``, and the large one that it is of, ``large/photo.png``."""
    large = FACES.draw(0, 0, 44, 60).image
    (tmp_path / "large").mkdir()
    Image.fromarray(large).save(tmp_path / "large/photo.png")
    small = shrink(large, 4, "bicubic")
    Image.fromarray(small).save(tmp_path / "photo.png")
    return small


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.usefixtures("photo")
def test_any_size_the_same_each_time_and_for_every_batch(model: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Determinism: of a seed, whatever the batch; another seed differs."""
    for name, *more in (("a.png",), ("b.png", "--max-batch", "3"), ("c.png", "--seed", "1")):
        done = vqgan("upscale", "photo.png", "-o", name, "-m", model, "--device", "cpu", *more)
        assert done.code == 0, done.err
        assert done.out.strip() == name
    a, b, c = (read(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    assert a.shape == (44, 60, 3)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.usefixtures("photo")
def test_consistent_and_measured(model: Path, vqgan: Vqgan) -> None:
    """Invariant: --consistent reaches 40 dB against the small picture where a random model is far off."""
    found = []
    for name, *more in (("a.png",), ("b.png", "--consistent")):
        done = vqgan(
            "upscale", "photo.png", "-o", name, "-m", model, "--reference", "large", "--device", "cpu",
            "--perceptual", "vgg:absent.pth", "--json", *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "without the perceptual distance" in done.err
        found.append(json.loads(done.out)["images"][0])
    assert found[0]["consistency_db"] < 25 < 40 < found[1]["consistency_db"]
    assert found[0]["psnr"] < found[1]["psnr"]
    assert found[0]["bicubic_psnr"] == found[1]["bicubic_psnr"]
    assert 0 < found[0]["bicubic_ssim"] <= 1


def test_tokenizer_only(
    model: Path, coarse: SavedTokenizer, photo: np.ndarray, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the bicubic enlargement, grown to the grid by mirroring, through the tokenizer itself."""
    done = vqgan("upscale", "photo.png", "-o", "a.png", "-m", model, "--tokenizer-only", "--device", "cpu")
    assert done.code == 0, done.err
    padded = np.pad(enlarge(photo, 44, 60), ((0, 4), (0, 4), (0, 0)), mode="symmetric")
    image = torch.from_numpy(padded.transpose(2, 0, 1)[None].copy()).float() / 127.5 - 1
    decoded = coarse.module.decode(coarse.module.encode(image))[0].permute(1, 2, 0).numpy()
    expected = np.rint((decoded + 1) * 127.5).clip(0, 255)[:44, :60]
    assert np.abs(read(tmp_path / "a.png") - expected).max() <= 1


@pytest.mark.usefixtures("photo")
def test_twice(model: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: two calls, one after the other."""
    done = vqgan("upscale", "photo.png", "-o", "a.png", "-m", model, "--factor", "16", "--device", "cpu")
    assert done.code == 0, done.err
    assert "16 times larger in 2 passes of 4" in done.err
    vqgan("upscale", "photo.png", "-o", "b.png", "-m", model, "--device", "cpu")
    vqgan("upscale", "b.png", "-o", "c.png", "-m", model, "--device", "cpu")
    assert np.array_equal(read(tmp_path / "a.png"), read(tmp_path / "c.png"))


def test_folder_samples_and_going_on(model: Path, photo: np.ndarray, vqgan: Vqgan, tmp_path: Path) -> None:
    """Bad files are named; a second call makes what is missing and leaves the rest alone."""
    for name in ("a.png", "b.jpg"):
        (tmp_path / "small/deep").mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(tmp_path / f"small/deep/{name}")
    (tmp_path / "small/bad.png").write_text("no picture")
    command = ["upscale", "small", "-o", "out", "-m", model, "--samples", "2", "--device", "cpu"]
    done = vqgan(*command)
    assert done.code == 3, done.err
    assert "skipped 'bad.png'" in done.err
    made = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert made == ["deep/a-00.png", "deep/a-01.png", "deep/b-00.jpg", "deep/b-01.jpg"]
    (tmp_path / "out/deep/a-01.png").unlink()
    before = (tmp_path / "out/deep/b-00.jpg").stat().st_mtime_ns
    assert vqgan(*command).code == 3
    assert (tmp_path / "out/deep/a-01.png").exists()
    assert (tmp_path / "out/deep/b-00.jpg").stat().st_mtime_ns == before


def test_alpha_is_enlarged_too(model: Path, photo: np.ndarray, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: Pillow's bicubic enlargement of the opacity; a jpg says that it cannot hold it."""
    alpha = np.linspace(0, 255, 15).astype(np.uint8)[None].repeat(11, axis=0)
    Image.fromarray(np.dstack([photo, alpha])).save(tmp_path / "clear.png")
    assert vqgan("upscale", "clear.png", "-o", "a.png", "-m", model, "--device", "cpu").code == 0
    expected = Image.fromarray(alpha).resize((60, 44), Image.Resampling.BICUBIC)
    assert np.array_equal(read(tmp_path / "a.png")[..., 3], np.asarray(expected))
    assert (
        "cannot hold alpha"
        in vqgan("upscale", "clear.png", "-o", "a.jpg", "-m", model, "--device", "cpu").err
    )


@pytest.mark.usefixtures("photo")
def test_standard_input_and_output(model: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the same picture by its file."""
    vqgan("upscale", "photo.png", "-o", "a.png", "-m", model, "--device", "cpu")
    done = subprocess.run(
        [sys.executable, "-m", "vqgan_cli", "upscale", "-", "-o", "-", "-m", str(model), "--device", "cpu"],
        input=(tmp_path / "photo.png").read_bytes(), capture_output=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )  # fmt: skip
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(done.stdout))), read(tmp_path / "a.png"))


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["photo.png", "--factor", "3"], "this model enlarges 4 times, or in several passes 16 or 64 times"),
        (["photo.png", "--tokenizer-only", "--samples", "2"], "draws nothing"),
        (["photo.png", "-o", "-", "--samples", "2"], "-o - takes one picture"),
        (["large", "-o", "one.png"], "several pictures need a folder"),
        (["photo.png", "-o", "photo.png"], "exists"),
        (["absent.png"], "no such file or folder"),
        (["photo.png", "--reference", "photo.png"], "is 11x15, and the result 44x60"),
        (["photo.png", "--perceptual", "nothing", "--reference", "large"], "nothing"),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str, model: Path, vqgan: Vqgan) -> None:
    done = vqgan("upscale", "-m", model, "--device", "cpu", *arguments)
    assert done.code in (1, 2)
    assert reason in done.err


@pytest.mark.usefixtures("photo")
def test_models_of_other_conditions(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    save_model(tmp_path / "runs/edges/model.safetensors", coarse, "edges")
    done = vqgan("upscale", "photo.png", "-m", "runs/edges")
    assert done.code == 2
    assert "is a model of condition 'edges'; upscale needs one of lowres" in done.err
    assert "no trained transformer of condition 'lowres'" in vqgan("upscale", "photo.png").err
    save_model(tmp_path / "runs/lowres/model.safetensors", coarse)
    done = vqgan("upscale", "photo.png", "-o", "a.png", "--device", "cpu")
    assert done.code == 0, done.err
    assert "runs/lowres/model.safetensors" in done.err
