"""A tokenizer that trains in a second, and what its runs leave behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from tests.conftest import ROOT

__all__ = ["TINY", "fault", "log", "settings", "status", "steps", "tensors", "train"]

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


def settings(**changes: object) -> list[str]:
    """``--set`` for each key; a key's dots are written as two underscores: ``data__size=32``."""
    changed = {key.replace("__", "."): str(value) for key, value in changes.items()}
    return [word for key, value in changed.items() for word in ("--set", f"{key}={value}")]


def train(out: str, steps: int, **changes: object) -> list[str]:
    """The command line that trains the tiny tokenizer."""
    base = {key.replace(".", "__"): value for key, value in TINY.items()}
    words = ["train-ae", "--preset", "demo", "--device", "cpu", "--out", out, "--steps", str(steps)]
    return words + settings(**(base | changes))


def fault(event: str, part: str, *actions: str) -> dict[str, str]:
    """The environment in which a process runs into a fault; see ``tests/faults/sitecustomize.py``."""
    folder = ROOT / "tests" / "faults"
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "VQGAN_FAULT": " ".join((event, part, *actions))}


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
    return [line["step"] for line in log(run) if "loss/total" in line]


def tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
