"""CONTRIBUTING.md adds a quantizer, a prior and a condition; here they are added so, and used. Oracle: the commands end
well in a copy of the package that has them, and fail in one that has not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.recipes.tiny_run import TINY, TINY_TRANSFORMER, settings
from vqgan_cli.core.errors import ConfigError, ModelError
from vqgan_cli.core.model_info import read_model_info
from vqgan_cli.core.presets import resolve

KINDS = "vqgan_cli/core/config/kinds.py"

# So that a run takes a second.
SMALLER = {
    "train-ae": {
        **{key: value for key, value in TINY.items() if "codebook" not in key},
        "train_ae.validate_every": "0", "train_ae.checkpoint_every": "0", "data.validation_images": "4",
    },
    "train-transformer": {
        **TINY_TRANSFORMER, "transformer.layers": "1",
        "train_transformer.validate_every": "0", "train_transformer.checkpoint_every": "0",
        "train_transformer.max_images": "24", "data.validation_images": "4",
    },
}  # fmt: skip

IN_ONE_PROCESS = """
import json, sys
import torch, vqgan_cli
from vqgan_cli.cli.app import run
torch.set_num_threads(1)
print(json.dumps(vqgan_cli.__file__))
for words in json.loads(sys.argv[1]):
    print("#", *words, flush=True)
    if code := run(words):
        sys.exit(f"{words}: exit code {code}")
"""


class Addition(NamedTuple):
    """What a section of the document adds, and the commands that use it."""

    path: str
    code: str
    line: str
    registry: str
    commands: list[list[str]]


def additions() -> dict[str, Addition]:
    """By heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {}
    for section in re.split(r"^### ", text, flags=re.M)[1:]:
        blocks = re.findall(r"```(python|bash)\n(.*?)```", section.partition("\n## ")[0], flags=re.S)
        if [language for language, _ in blocks] == ["python", "python", "bash"]:
            file, line, shell = (code for _, code in blocks)
            registry = re.search(r"The line, in `(\w+)`:", section)
            assert registry is not None
            commands = [shlex.split(each) for each in shell.replace("\\\n", " ").splitlines()]
            found[section.partition("\n")[0]] = Addition(
                file.partition("\n")[0].removeprefix("# "),
                file.partition("\n")[2],
                line,
                registry[1],
                commands,
            )
    return found


ADDITIONS = additions()


def copied(folder: Path) -> Path:
    shutil.copytree(ROOT / "vqgan_cli", folder / "vqgan_cli", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "presets", folder / "presets")
    return folder


def add(addition: Addition, root: Path) -> None:
    path = root / addition.path
    assert not path.exists()
    path.write_text(addition.code, encoding="utf-8")
    assert addition.line.count("\n") == 1
    kinds = (root / KINDS).read_text(encoding="utf-8")
    changed, times = re.subn(
        rf"(^{addition.registry} = Registry\(\n.*?)(^    \}},\n\))",
        lambda match: match[1] + addition.line + match[2],
        kinds,
        flags=re.S | re.M,
    )
    assert times == 1
    (root / KINDS).write_text(changed, encoding="utf-8")


def run(root: Path, work: Path, commands: list[list[str]]) -> subprocess.CompletedProcess[str]:
    """Commands of the package in a folder, one after the other."""
    words = [["--version"], *([*command[1:], *smaller(command[1])] for command in commands)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "NO_COLOR": "1",
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", IN_ONE_PROCESS, json.dumps(words)],
        cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def smaller(command: str) -> list[str]:
    changes: Mapping[str, str] = SMALLER.get(command, {})
    return [*settings(**changes), "--steps", "2", "--device", "cpu"] if changes else []


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "photos").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"photos/{number}.png")
    return folder


@pytest.fixture(scope="module")
def done(work: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """All commands of the document, in a package to which all of it was added."""
    root = copied(tmp_path_factory.mktemp("extended"))
    for addition in ADDITIONS.values():
        add(addition, root)
    finished = run(
        root,
        work,
        [command for addition in ADDITIONS.values() for command in addition.commands]
        + [["vqgan", "info", "runs/gru"]],
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-4000:]
    assert json.loads(finished.stdout.partition("\n")[0]) == str(root / "vqgan_cli/__init__.py")
    return finished


def test_the_document_has_one_of_each() -> None:
    assert {
        name: (each.registry, str(Path(each.path).parent)) for name, each in ADDITIONS.items()
    } == {
        "A quantizer": ("QUANTIZERS", "vqgan_cli/core/models/quantizers"),
        "A prior": ("PRIORS", "vqgan_cli/core/models/priors"),
        "A condition": ("MAPS", "vqgan_cli/core/data/maps"),
    }  # fmt: skip


def test_a_quantizer_is_listed_trained_and_loaded(done: subprocess.CompletedProcess[str], work: Path) -> None:
    assert "tokenizer.quantizer.kind: one of vq, l2, ema, gumbel, fsq;" in done.stdout
    assert "fsq (finite scalar, no codebook)" in done.stdout
    codes = np.load(work / "codes.npy")
    assert codes.shape == (3, 8, 8)
    assert len(np.unique(codes)) > 1
    assert sorted(path.name for path in (work / "decoded").glob("*.png")) == ["0.png", "1.png", "2.png"]
    assert "(fsq quantizer)" in (work / "runs/fsq-ae/README.md").read_text()


def test_a_prior_is_trained_drawn_from_and_described(
    done: subprocess.CompletedProcess[str], work: Path
) -> None:
    assert len(list((work / "samples/gru").glob("[0-9]*.png"))) == 12  # the classes of the built-in faces
    assert re.search(r"prior +gru, 1 layers?", done.stdout)


def test_a_condition_is_computed_trained_and_drawn_by(
    done: subprocess.CompletedProcess[str], work: Path
) -> None:
    assert done.returncode == 0
    assert sorted(path.name for path in (work / "samples/gray").glob("[0-9]*.png")) == [
        "0-0000.png", "1-0000.png", "2-0000.png"
    ]  # fmt: skip


def test_without_the_line_the_name_is_unknown_and_so_is_the_model(
    done: subprocess.CompletedProcess[str], work: Path
) -> None:
    """The negative control, in the package as it is."""
    assert done.returncode == 0
    with pytest.raises(ConfigError, match=r"quantizer\.kind: 'fsq' is not one of vq, l2, ema, gumbel"):
        resolve("demo", ["tokenizer.quantizer.kind=fsq"])
    with pytest.raises(ConfigError, match=r"condition\.kind: 'gray' is not one of none, class, segmentation"):
        resolve("demo", ["condition.kind=gray"])
    with pytest.raises(ModelError, match=r"transformer\.kind: 'gru' is not one of gpt, llama"):
        read_model_info(work / "runs/gru")
