"""Small models, trained as a user would, draw what their maps say. Minutes on two cores."""

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
from tests.evidence.segmenter import Segmenter, mean_iou
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS

pytestmark = pytest.mark.slow

FACES = SYNTHETIC_SETS["faces"]


def run(folder: Path, *arguments: object) -> str:
    """``vqgan ARGUMENTS`` in a folder; returns what it writes to stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "vqgan_cli", *map(str, arguments)], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VQGAN_CACHE": str(folder / "cache")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a tokenizer of the preset demo, ``ae``."""
    folder = tmp_path_factory.mktemp("demo")
    run(folder, "train-ae", "--preset", "demo", "-o", "ae")
    return folder


def train(folder: Path, kind: str, tokenizer: str, steps: int) -> None:
    run(
        folder, "train-transformer", "--preset", "demo", "--ae", "ae", "-o", kind, "--steps", steps,
        "--set", f"condition.kind={kind}", "--set", f"condition.tokenizer={tokenizer}",
    )  # fmt: skip


def test_faces_have_the_parts_of_their_label_maps(folder: Path) -> None:
    """Oracle: a segmenter trained on other faces; parts overlap more with the map given than with that of another."""
    train(folder, "segmentation", "none", 500)
    run(
        folder,
        "synthetic",
        "faces",
        "-n",
        60,
        "--size",
        64,
        "--seed",
        9,
        "--maps",
        "segmentation",
        "-o",
        "pairs",
    )
    run(folder, "generate", "-m", "segmentation", "--condition", "pairs/segmentation", "-o", "drawn")
    pictures = np.stack([np.asarray(Image.open(p)) for p in sorted((folder / "drawn").glob("*-0000.png"))])
    maps = np.stack([FACES.draw(9, number, 64, 64).segmentation for number in range(60)])
    segmenter = Segmenter.trained_on(FACES, steps=500)
    found = segmenter.labels(pictures)
    parts = len(FACES.parts)
    right, shuffled = mean_iou(found, maps, parts), mean_iou(found, np.roll(maps, 1, axis=0), parts)
    assert right > 1.5 * shuffled, (right, shuffled)


def test_enlarged_faces(folder: Path, shared: Path) -> None:
    """Closed forms: 25 dB against the small picture, 40 with --consistent; nearer to the original than bicubic in the
    features of a real network.
    """
    train(folder, "lowres", "same", 500)
    run(folder, "synthetic", "faces", "-n", 12, "--size", 64, "--seed", 9, "--maps", "edges", "-o", "large")
    (folder / "small").mkdir()
    for path in (folder / "large/image").iterdir():
        Image.open(path).resize((16, 16), Image.Resampling.BICUBIC).save(folder / "small" / path.name)
    network = f"squeezenet1_0:{shared / 'weights/squeezenet1_0.safetensors'}"
    for more, least in (((), 25.0), (("--consistent",), 40.0)):
        out = run(
            folder, "upscale", "small", "-m", "lowres", "-o", f"out{least}", "--reference", "large/image",
            "--perceptual", network, "--json", *more,
        )  # fmt: skip
        images = json.loads(out)["images"]
        mean = {
            name: np.mean([image[name] for image in images])
            for name in images[0]
            if name.endswith(("_db", "perceptual"))
        }
        assert mean["consistency_db"] >= least
        assert mean["perceptual"] < mean["bicubic_perceptual"]
