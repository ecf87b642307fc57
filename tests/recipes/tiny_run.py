"""Training commands that take a second, and what their runs leave behind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.conftest import ROOT
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.training.checkpoints import checkpoint_folders, step_of

__all__ = [
    "TINY",
    "TINY_TRANSFORMER",
    "TRAINERS",
    "Trainer",
    "assert_equal_runs",
    "assert_plain",
    "contents",
    "fault",
    "log",
    "newest_step",
    "settings",
    "status",
    "steps",
    "tensors",
    "train",
    "trainers",
]

TINY = {
    "data.size": "16",
    "data.validation_images": "8",
    "tokenizer.channel_multipliers": "[1,1]",
    "tokenizer.attention_resolutions": "[]",
    "tokenizer.z_channels": "16",
    "tokenizer.codebook_size": "32",
    "tokenizer.codebook_dim": "8",
    "train_ae.batch_size": "4",
    "train_ae.warmup_steps": "3",
    "train_ae.log_every": "1",
    "train_ae.validate_every": "4",
    "train_ae.sample_every": "0",
    "train_ae.checkpoint_every": "4",
    "train_ae.adversarial.channels": "8",
    "train_ae.adversarial.layers": "1",
    "train_ae.adversarial.start": "3",
}

TINY_TRANSFORMER = {
    "transformer.layers": "2",
    "transformer.heads": "2",
    "transformer.width": "32",
    "train_transformer.batch_size": "4",
    "train_transformer.warmup_steps": "3",
    "train_transformer.log_every": "1",
    "train_transformer.validate_every": "4",
    "train_transformer.sample_every": "0",
    "train_transformer.checkpoint_every": "4",
}

TRAINERS = ("train-ae", "train-transformer")


def settings(**changes: object) -> list[str]:
    """``--set`` for each key; a key's dots are written as two underscores: ``data__size=32``."""
    changed = {key.replace("__", "."): str(value) for key, value in changes.items()}
    return [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]


@dataclass(frozen=True)
class Trainer:
    """A training command with data and settings, so that one test is one of both commands.

    Attributes:
        command: ``train-ae`` or ``train-transformer``.
        data: the arguments that name what it trains on.
        settings: by dotted key.
    """

    command: str
    data: tuple[str, ...]
    settings: Mapping[str, str]

    @property
    def section(self) -> str:
        """Of the config: ``train_ae`` or ``train_transformer``."""
        return self.command.replace("-", "_")

    def set(self, **changes: object) -> list[str]:
        """As `settings`; a key that begins with no section is of the command's own: ``batch_size=6``."""

        def whole(key: str) -> str:
            return key if key.split("__")[0] in ExperimentConfig.model_fields else f"{self.section}__{key}"

        return settings(**{whole(key): value for key, value in changes.items()})

    def train(self, out: str, steps: int, **changes: object) -> list[str]:
        """The command line of a new run."""
        words = [self.command, "--preset", "demo", "--device", "cpu", *self.data]
        words += ["--out", out, "--steps", str(steps)]
        return [*words, *settings(**self.settings), *self.set(**changes)]

    def resume(self, run: str, *more: str) -> list[str]:
        """The command line that goes on with a run, or from one of its checkpoints."""
        return [self.command, run, "--resume", "--device", "cpu", *more]


def trainers(*rows: int) -> Any:
    """Parametrises a test by ``trainer``: both commands, of which each meets these rows of the table of faults."""
    return pytest.mark.parametrize(
        "trainer",
        [pytest.param(name, marks=[pytest.mark.fault(row, name) for row in rows]) for name in TRAINERS],
        indirect=True,
    )


def train(out: str, steps: int, **changes: object) -> list[str]:
    """The command line that trains the tiny tokenizer on built-in images."""
    return Trainer("train-ae", (), TINY).train(out, steps, **changes)


def fault(event: str, part: str, *actions: str) -> dict[str, str]:
    """The environment in which a process runs into a fault; see ``tests/faults/sitecustomize.py``."""
    folder = ROOT / "tests" / "faults"
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "VQGAN_FAULT": " ".join((event, part, *actions))}


def assert_plain(text: str) -> None:
    """No trace of Python."""
    assert "Traceback" not in text
    assert "internal error" not in text


def status(run: Path) -> dict[str, Any]:
    """What a run says about itself."""
    return json.loads((run / "status.json").read_text())


def log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log without what depends on the clock and the machine."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    measured = ("time", "images_per_second", "codes_per_second", "memory_gb")
    return [{key: value for key, value in line.items() if key not in measured} for line in lines]


def steps(run: Path) -> list[int]:
    """The steps that have a line of training in the log, in its order."""
    return [line["step"] for line in log(run) if "learning_rate" in line]


def newest_step(run: Path) -> int:
    """That of the newest checkpoint."""
    return step_of(checkpoint_folders(run / "checkpoints")[-1])


def contents(run: Path) -> dict[Path, bytes]:
    """All files of a folder."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def assert_equal_runs(run: Path, reference: Path) -> None:
    """Every file of the newest checkpoints byte by byte; the models tensor by tensor; the logs line by line."""
    found, expected = (checkpoint_folders(path / "checkpoints") for path in (run, reference))
    assert [p.name for p in found] == [p.name for p in expected]
    newest, expected_newest = found[-1], expected[-1]
    files = sorted(p.name for p in expected_newest.iterdir())
    assert sorted(p.name for p in newest.iterdir()) == files
    for name in files:
        assert (newest / name).read_bytes() == (expected_newest / name).read_bytes(), name
    for name in ("model.safetensors", "best.safetensors"):
        mine, metadata = tensors(run / name)
        theirs, expected_metadata = tensors(reference / name)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
        assert metadata == expected_metadata
    assert log(run) == log(reference)
