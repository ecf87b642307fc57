"""A tokenizer that needs no training, and the command line inside the process of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.recipes.forked import Forked
from tests.recipes.launching import Launcher
from tests.recipes.tiny_run import TINY as TINY_RUN
from tests.recipes.tiny_run import TINY_TRANSFORMER, Trainer
from vqgan_cli.core.config import ExperimentConfig, TokenizerConfig

if TYPE_CHECKING:
    from vqgan_cli.core.models.tokenizer import Tokenizer

TINY = TokenizerConfig(
    channels=32,
    channel_multipliers=(1, 1),
    res_blocks=1,
    attention_resolutions=(),
    z_channels=16,
    codebook_size=300,  # one byte does not hold it
    codebook_dim=4,
)


@dataclass(frozen=True)
class SavedTokenizer:
    """A model file, and the module whose weights it holds, never loaded from it: an oracle for those that are."""

    path: Path
    module: Tokenizer


class Done(NamedTuple):
    """Exit code, stdout and stderr of one command."""

    code: int
    out: str
    err: str


Vqgan = Callable[..., Done]
Fork = Callable[..., Forked]


def save_tiny(path: Path, *, seed: int = 0, kind: str = "image", **changes: int) -> SavedTokenizer:
    """A tokenizer of random weights, f = 2, K = 300, trained "at" 32x32, whose codebook lies where the vectors do."""
    import torch

    from vqgan_cli.core.artifacts import save_tokenizer
    from vqgan_cli.core.models.tokenizer import Tokenizer

    data = {"size": 32, "kind": kind}
    loss = (
        {"reconstruction": "cross-entropy", "perceptual": {"kind": "none"}} if kind == "segmentation" else {}
    )
    config = ExperimentConfig.model_validate(
        {"data": data, "tokenizer": TINY.model_dump() | changes, "train_ae": loss}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Tokenizer(config.tokenizer).eval().requires_grad_(False)
        vectors = module.features(torch.rand(8, config.tokenizer.in_channels, 32, 32) * 2 - 1)
        codebook = module.quantizer.embedding.weight  # type: ignore[union-attr]
        codebook.copy_(torch.randn(codebook.shape) * vectors.std((0, 2, 3)) + vectors.mean((0, 2, 3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tokenizer(path, module.state_dict(), config, {"steps": 7})
    return SavedTokenizer(path, module)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SavedTokenizer:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model.safetensors")


@pytest.fixture(scope="session")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> SavedTokenizer:
    """f = 8: 16 codes of an image of 32x32."""
    folder = tmp_path_factory.mktemp("coarse")
    return save_tiny(folder / "model.safetensors", channel_multipliers=(1, 1, 1, 1))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def vqgan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vqgan:
    """Runs ``vqgan ARGUMENTS`` in ``tmp_path`` without a new process, whose imports would take seconds."""
    from vqgan_cli.cli.app import run
    from vqgan_cli.cli.console import console

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(console, "quiet", False)  # as --quiet or an error of an earlier call left it
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Fork]:
    """Starts ``vqgan ARGUMENTS`` in ``tmp_path``, in a process of its own that need not import it first."""
    started: list[Forked] = []

    def start(*arguments: str | Path, env: dict[str, str] | None = None) -> Forked:
        started.append(Forked(arguments, tmp_path, env or {}))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train/`` and ``val/``, with ten and four pictures of noise in two classes."""
    folder = tmp_path_factory.mktemp("photos")
    for part, count in (("train", 10), ("val", 4)):
        for number in range(count):
            pixels = np.random.default_rng((count, number)).integers(0, 256, (24, 32, 3), np.uint8)
            path = folder / part / ("cat", "dog")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(scope="session")
def trainer(request: pytest.FixtureRequest, coarse: SavedTokenizer, photos: Path) -> Trainer:
    """The command that the test is parametrised by, on ten photos: an epoch is two and a half steps of four."""
    data = ("--data", str(photos / "train"), "--val", str(photos / "val"))
    if request.param == "train-ae":
        return Trainer("train-ae", data, {**TINY_RUN, "data.cache": "none"})
    return Trainer("train-transformer", (*data, "--ae", str(coarse.path)), TINY_TRANSFORMER)


@pytest.fixture
def launch(tmp_path: Path) -> Launcher:
    """Runs ``vqgan ARGUMENTS`` in ``tmp_path`` in two processes."""
    return Launcher(tmp_path)
