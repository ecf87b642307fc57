"""Small models, trained as a user would, keep what is asked of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def run(folder: Path, *arguments: object) -> str:
    """``vqgan ARGUMENTS`` in a folder; returns what it writes to stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "vqgan_cli", *map(str, arguments)], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VQGAN_CACHE": str(folder / "cache")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_enlarged_faces(tmp_path: Path, shared: Path) -> None:
    """Closed forms: 25 dB against the small picture, and with --consistent 40; and both are nearer to the original than
    bicubic enlargement is, in the features of a real network. An hour on two cores, by the commands of docs/results.md.
    """
    weights = shared / "weights/squeezenet1_0.safetensors"
    keys = {
        "tokenizer.codebook_size": 512,
        "tokenizer.channel_multipliers": "[1,1,4]",
        "tokenizer.attention_resolutions": "[16]",
        "train_ae.perceptual.kind": "features",
        "train_ae.perceptual.network": "squeezenet1_0",
        "train_ae.perceptual.weights": weights,
        "train_ae.perceptual.weight": 0.2,
        "train_ae.adversarial.start": 0.6,
        "train_ae.ema_decay": 0.995,
    }
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    run(tmp_path, "train-ae", "--preset", "demo", "-o", "ae", "--steps", 1800, "--batch-size", 8, *sets)
    run(
        tmp_path, "train-transformer", "--preset", "demo", "--ae", "ae", "-o", "model", "--steps", 800,
        "--batch-size", 16, "--precision", "bf16", "--set", "condition.kind=lowres",
        "--set", "condition.tokenizer=same", "--set", "condition.dropout=0",
        "--set", "train_transformer.max_images=1800", "--set", "data.validation_images=64",
    )  # fmt: skip
    run(tmp_path, "synthetic", "faces", "-n", 12, "--size", 64, "--seed", 9, "--maps", "edges", "-o", "large")
    (tmp_path / "small").mkdir()
    for path in (tmp_path / "large/image").iterdir():
        with Image.open(path) as picture:
            picture.resize((16, 16), Image.Resampling.BICUBIC).save(tmp_path / "small" / path.name)
    network = f"squeezenet1_0:{weights}"
    for more, least in (((), 25.0), (("--consistent",), 40.0)):
        out = run(
            tmp_path, "upscale", "small", "-m", "model", "-o", f"out{least}", "--reference", "large/image",
            "--perceptual", network, "--json", *more,
        )  # fmt: skip
        images = json.loads(out)["images"]
        names = ("consistency_db", "perceptual", "bicubic_perceptual")
        mean = {name: np.mean([image[name] for image in images]) for name in names}
        assert mean["consistency_db"] >= least
        assert mean["perceptual"] < mean["bicubic_perceptual"]
