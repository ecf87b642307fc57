"""What only the transformer does with several processes: share its weights, and images that are encoded once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.recipes.conftest import SavedTokenizer
from tests.recipes.launching import Launcher
from tests.recipes.test_train_transformer import pictures, train  # noqa: F401
from vqgan_cli.core.artifacts import load_transformer
from vqgan_cli.core.training.checkpoints import Checkpoint, load_newest


@pytest.mark.slow
def test_shared_weights_train_the_same_model(
    launch: Launcher,
    coarse: SavedTokenizer,
    pictures: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Oracle: the same run with whole weights on each process, up to rounding. Resumed halfway, it ends the same."""

    def run(*arguments: str | Path) -> str:
        done = launch(*arguments)
        assert done.code == 0, done.err
        return done.err

    def last(name: str) -> Checkpoint:
        return load_newest(tmp_path / name / "checkpoints")[0]

    still = {"transformer__embedding_dropout": 0, "transformer__residual_dropout": 0}
    for name, sharding in (("plain", "none"), ("shared", "full")):
        command = train(
            coarse.path, name, 6, "--data", pictures, train_transformer__sharding=sharding, **still
        )
        assert ("2 processes, which share the weights" in run(*command)) == (sharding == "full")
    halfway = ("--resume", "shared/checkpoints/step-00000004")
    run("train-transformer", *halfway, "--out", "resumed", "--device", "cpu")
    plain, shared, resumed = map(last, ("plain", "shared", "resumed"))
    for part in ("prior", "average", "optimizer"):
        assert plain.tensors[part].keys() == shared.tensors[part].keys()
        for name, value in plain.tensors[part].items():
            torch.testing.assert_close(shared.tensors[part][name], value, rtol=1e-4, atol=1e-5)
            assert torch.equal(shared.tensors[part][name], resumed.tensors[part][name])
    assert load_transformer(tmp_path / "shared").prior.spec.grid == (4, 4)
    assert list((tmp_path / "shared/samples").iterdir())


@pytest.mark.slow
def test_two_runs_at_once_encode_the_same_images_once(
    coarse: SavedTokenizer,
    pictures: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """One run encodes while the other waits and then reads the cache; neither is in the other's way."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "vqgan_cli", *map(str, train(coarse.path, name, 1, "--data", pictures))],
            cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        for name in ("first", "second")
    ]  # fmt: skip
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("encoding: codes of" in text for text in said) == 1
