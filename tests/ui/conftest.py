"""Models of random weights, and photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.recipes.conftest import _own_cache, save_tiny, vqgan
from tests.recipes.test_generate import save_transformer_of
from tests.recipes.test_upscale import save_model
from vqgan_cli.core.artifacts import save_transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.interactive.workbench import Workbench, load_workbench
from vqgan_cli.core.models.priors import PriorSpec, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["FACES", "_own_cache", "pixels", "vqgan"]

FACES = SYNTHETIC_SETS["faces"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def by_class(folder: Path) -> Workbench:
    """f = 2, 4x4 codes of 300, three classes, named; guidance."""
    return load_workbench(save_transformer_of(folder / "class").path, CPU)


@pytest.fixture(scope="module")
def larger(folder: Path) -> Workbench:
    """f = 8, 4x4 codes; enlarges four times."""
    ae = save_tiny(folder / "lowres/ae.safetensors", channel_multipliers=(1, 1, 1, 1))  # type: ignore[arg-type]
    return load_workbench(save_model(folder / "lowres/model.safetensors", ae), CPU)


@pytest.fixture(scope="module")
def by_map(folder: Path) -> Workbench:
    """f = 8, 4x4 codes; the label of a cell is the code of the condition, named as the parts of synthetic faces."""
    ae = save_tiny(folder / "map/ae.safetensors", channel_multipliers=(1, 1, 1, 1))  # type: ignore[arg-type]
    labels = len(FACES.parts)
    config = ExperimentConfig.model_validate(
        {
            "data": {"size": 32, "source": "synthetic:faces", "maps": {"classes": labels}},
            "tokenizer": ae.module.config.model_dump(),
            "condition": {"kind": "segmentation", "tokenizer": "none"},
            "transformer": {"layers": 1, "heads": 2, "width": 32},
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = build_prior(config.transformer, PriorSpec(300, (4, 4), "codes", labels))
    encoder = MapEncoder(build_map_kind("segmentation", config.data.maps), None, 8)
    path = folder / "map/model.safetensors"
    save_transformer(path, prior.state_dict(), ae.module.state_dict(), config, prior.spec, (), {}, encoder)
    return load_workbench(path, CPU)


@pytest.fixture(scope="module")
def by_edges(folder: Path) -> Workbench:
    """f = 8, 4x4 codes; edges become codes by the same tokenizer."""
    ae = save_tiny(folder / "edges/ae.safetensors", channel_multipliers=(1, 1, 1, 1))  # type: ignore[arg-type]
    return load_workbench(save_model(folder / "edges/model.safetensors", ae, "edges"), CPU)


@pytest.fixture(scope="module")
def by_keypoints(folder: Path) -> Workbench:
    """f = 8, 4x4 codes; drawn limbs become codes by the same tokenizer."""
    ae = save_tiny(folder / "points/ae.safetensors", channel_multipliers=(1, 1, 1, 1))  # type: ignore[arg-type]
    return load_workbench(save_model(folder / "points/model.safetensors", ae, "keypoints"), CPU)


@pytest.fixture(scope="module")
def by_depth(folder: Path) -> Workbench:
    """f = 8, 4x4 codes; depth becomes codes by a tokenizer of its own."""
    ae = save_tiny(folder / "depth/ae.safetensors", channel_multipliers=(1, 1, 1, 1))  # type: ignore[arg-type]
    of_depth = ae.module.config.model_copy(update={"in_channels": 1, "out_channels": 1})
    config = ExperimentConfig.model_validate(
        {
            "data": {"size": 32},
            "tokenizer": ae.module.config.model_dump(),
            "condition": {"kind": "depth", "tokenizer": "own"},
            "transformer": {"layers": 1, "heads": 2, "width": 32},
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        maps = Tokenizer(of_depth).eval().requires_grad_(False)
        prior = build_prior(config.transformer, PriorSpec(300, (4, 4), "codes", 300))
    encoder = MapEncoder(build_map_kind("depth", config.data.maps), maps, 8)
    path = folder / "depth/model.safetensors"
    save_transformer(path, prior.state_dict(), ae.module.state_dict(), config, prior.spec, (), {}, encoder)
    return load_workbench(path, CPU)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Workbench:
    """f = 2, 300 codes, without a transformer."""
    return load_workbench(save_tiny(folder / "ae/model.safetensors").path, CPU)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A face of 48x64 pixels (height x width)."""
    path = tmp_path / "a face & <b>.png"
    Image.fromarray(FACES.draw(0, 0, 48, 64).image).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))
