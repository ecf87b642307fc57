"""The folder in which the examples of docstrings and of docs/python.md run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqgan_cli.core.artifacts import load_tokenizer, save_tokenizer, save_transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig, MapsConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.notebook import read_images
from vqgan_cli.core.models.priors import PriorSpec, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.recipes.encode import EncodeOptions, encode
from vqgan_cli.core.reporting import Reporter

CLASSES = ("blue", "red")
CONFIG = {
    "data": {"size": 16},
    "tokenizer": {
        "channels": 32,
        "channel_multipliers": [1, 1],
        "res_blocks": 1,
        "attention_resolutions": [],
        "mid_attention": False,
        "z_channels": 16,
        "codebook_size": 64,
        "codebook_dim": 4,
    },
    "condition": {"kind": "class"},
    "transformer": {"layers": 1, "heads": 2, "width": 32},
}


def _draw_photos(folder: Path) -> None:
    """24 of each class: a bright disc at one of 16 places on a ground of its colour."""
    rows, columns = np.mgrid[:20, :24]
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(24):
            rng = np.random.default_rng((label, number))
            y, x = 5 + 3 * rng.integers(0, 4, 2)
            picture = np.zeros((20, 24, 3))
            picture[..., 2 * (1 - label)] = 160
            picture[(rows - y) ** 2 + (columns - x) ** 2 < 20] = 230
            Image.fromarray(picture.astype(np.uint8)).save(folder / name / f"{number}.png")


def _tokenizer(config: ExperimentConfig, photos: torch.Tensor) -> Tokenizer:
    """Of random weights; its codes are vectors of the photos far from each other, so that they tell pictures apart."""
    tokenizer = Tokenizer(config.tokenizer).eval().requires_grad_(False)
    vectors = tokenizer.features(photos).permute(0, 2, 3, 1).flatten(0, 2)
    chosen = [0]
    distance = torch.full((len(vectors),), torch.inf)
    for _ in range(config.tokenizer.codebook_size - 1):
        distance = torch.minimum(distance, (vectors - vectors[chosen[-1]]).square().sum(1))
        chosen.append(int(distance.argmax()))
    tokenizer.quantizer.embedding.weight.copy_(vectors[chosen])  # type: ignore[union-attr]
    return tokenizer


def _save_transformer(
    path: Path,
    config: ExperimentConfig,
    tokenizer: Tokenizer,
    spec: PriorSpec,
    maps: MapEncoder | None = None,
) -> None:
    prior = build_prior(config.transformer, spec)
    for parameter in prior.parameters():
        parameter.data.mul_(5)  # far from uniform, so that a seed and a condition make a difference
    path.parent.mkdir()
    classes = CLASSES if spec.condition_size == len(CLASSES) else ()
    save_transformer(
        path, prior.state_dict(), tokenizer.state_dict(), config, spec, classes, {"step": 0}, maps
    )


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photos/`` by class, ``photo.png``, ``codes.npy``, and in ``runs/`` models of random weights: ``my-ae``,
    ``my-transformer`` (by class), ``of-imagenet`` (by its 1,000 classes) and ``by-edges``.
    """
    folder = tmp_path_factory.mktemp("place with spaces")
    _draw_photos(folder / "photos")
    Image.open(folder / "photos/red/3.png").resize((16, 16)).save(folder / "photo.png")
    config = ExperimentConfig.model_validate(CONFIG)
    torch.manual_seed(0)
    tokenizer = _tokenizer(config, read_images(folder / "photos", size=16))
    (folder / "runs/my-ae").mkdir(parents=True)
    path = folder / "runs/my-ae/model.safetensors"
    mark = save_tokenizer(path, tokenizer.state_dict(), config, {"step": 0})
    spec = PriorSpec(64, (8, 8), "class", 2, null_condition=True)
    _save_transformer(folder / "runs/my-transformer/model.safetensors", config, tokenizer, spec)
    spec = PriorSpec(64, (8, 8), "class", 1000, null_condition=True)
    _save_transformer(folder / "runs/of-imagenet/model.safetensors", config, tokenizer, spec)
    by_edges = ExperimentConfig.model_validate(CONFIG | {"condition": {"kind": "edges", "tokenizer": "same"}})
    maps = MapEncoder(build_map_kind("edges", MapsConfig()), load_tokenizer(path), 2, mark)
    spec = PriorSpec(64, (8, 8), "codes", 64)
    _save_transformer(folder / "runs/by-edges/model.safetensors", by_edges, tokenizer, spec, maps)
    options = EncodeOptions(str(folder / "photos"), folder / "codes.npy", path, device="cpu")
    encode(options, Reporter())
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the current folder."""
    monkeypatch.chdir(place)
    return place
