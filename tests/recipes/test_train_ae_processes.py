"""Training by two processes on CPUs, as ``torchrun`` starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.recipes.conftest import Vqgan
from tests.recipes.tiny_run import fault, log, settings, status, steps, train
from vqgan_cli.core.training.checkpoints import checkpoint_folders, load_newest

Launch = Callable[..., "subprocess.CompletedProcess[str]"]

# The real program; at the end each process writes down how many there are, and what its weights are.
PROGRAM = """
import json, os, sys
from pathlib import Path

import torch.distributed as dist
from vqgan_cli.cli.app import main
from vqgan_cli.core.artifacts import fingerprint
from vqgan_cli.core.training import loop

train = loop.train

def remembering(experiment, *arguments, **options):
    outcome = train(experiment, *arguments, **options)
    networks = getattr(experiment, "networks", None)
    modules = [networks.tokenizer, networks.discriminator, networks.lecam] if networks else [experiment.prior]
    modules.append(experiment.average.module)
    if getattr(experiment, "sharded", False):
        return outcome
    facts = {"world": dist.get_world_size(), "weights": [fingerprint(module.state_dict()) for module in modules]}
    Path(f"rank-{dist.get_rank()}.json").write_text(json.dumps(facts))
    return outcome

loop.train = remembering
main()
"""


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Runs ``vqgan ARGUMENTS`` in two processes that talk by gloo."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
        plain = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, *launcher, "program.py", *arguments],
            cwd=tmp_path, env={**os.environ, **plain, **(env or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Arguments that read image files anew in each step, so that a fault can wait for one."""
    (tmp_path / "photos").mkdir()
    for number in range(24):
        noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{number:02}.png")
    return ["--data", "photos", *settings(data__cache="none", data__workers=0)]


AVERAGES = {
    "train_ae__ema_decay": 0.9,
    "train_ae__accumulate": 2,
    "train_ae__adversarial__lecam_weight": 0.1,
    "train_ae__adversarial__start": 0,
    "train_ae__adversarial__norm": "group",
}


def test_two_processes_are_one_with_twice_the_batch(vqgan: Vqgan, launch: Launch, tmp_path: Path) -> None:
    """Oracle: one process with all images; losses, logits, adaptive weight and validation within 1e-3.

    Both must see other images, average their gradients, share the adaptive weight and LeCAM's means, and end with
    the same weights bit by bit. The quantizer and the norm are those that do not draw or normalise per process.
    """
    changes = AVERAGES | {"tokenizer__quantizer__kind": "vq", "train_ae__learning_rate": 1e-4}
    two = launch(*train("two", 3, **changes), *settings(train_ae__batch_size=4))
    assert two.returncode == 0, two.stderr
    assert two.stdout == "two/model.safetensors\n"
    facts = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert [fact["world"] for fact in facts] == [2, 2]
    assert facts[0]["weights"] == facts[1]["weights"]
    assert "4 images x 2 micro-batches x 2 processes" in two.stderr
    assert two.stderr.count("train-ae: demo") == 1

    one = vqgan(*train("one", 3, **changes), *settings(train_ae__batch_size=8))
    assert one.code == 0, one.err
    for mine, theirs in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_same_codebooks_and_resume(vqgan: Vqgan, launch: Launch, tmp_path: Path) -> None:
    """Row 15 as well: another number of processes goes on only with a flag. Running means stay equal on both."""
    first = launch(*train("run", 6, **AVERAGES), *settings(tokenizer__dropout=0.1))
    assert first.returncode == 0, first.stderr
    facts = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert facts[0] == facts[1]
    checkpoint = load_newest(tmp_path / "run/checkpoints")[0]
    assert checkpoint.facts["processes"] == 2
    assert {"random-0", "random-1"} <= checkpoint.tensors.keys()

    resume = ("train-ae", "--resume", "--out", "run", "--device", "cpu", "--steps", "8")
    refused = vqgan(*resume)
    assert refused.code == 2
    assert "2 processes in the checkpoint, 1 now" in refused.err
    assert launch(*resume).returncode == 0
    assert steps(tmp_path / "run") == list(range(1, 9))


@pytest.mark.slow
def test_resumed_run_is_bitwise_the_uninterrupted_one(
    launch: Launch, photos: list[str], tmp_path: Path
) -> None:
    """Rows 4 and 13: SIGTERM to the second of two processes; both save and leave; then the uninterrupted run.

    Oracle: the uninterrupted run, byte by byte, with running means that restart at random vectors, and dropout.
    """
    arguments = [*photos, *settings(tokenizer__dropout=0.1)]
    assert launch(*train("whole", 6, **AVERAGES), *arguments).returncode == 0
    terminate = fault("open", "photos/07.png", "SIGTERM") | {"VQGAN_FAULT_RANK": "1"}
    stopped = launch(*train("cut", 6, **AVERAGES), *arguments, env=terminate)
    assert stopped.returncode != 0
    assert "vqgan_cli/core" not in stopped.stderr  # the traceback is the launcher's
    assert "terminated after step" in stopped.stderr
    saved = status(tmp_path / "cut")
    assert (saved["state"], saved["reason"]) == ("stopped", "terminated")
    assert 0 < saved["step"] < 6
    assert launch("train-ae", "--resume", "--out", "cut", "--device", "cpu").returncode == 0
    cut, whole = (checkpoint_folders(tmp_path / run / "checkpoints")[-1] for run in ("cut", "whole"))
    for file in whole.iterdir():
        if file.suffix == ".safetensors":
            assert (cut / file.name).read_bytes() == file.read_bytes(), file.name


@pytest.mark.slow
def test_a_killed_process_takes_the_others_with_it(launch: Launch, photos: list[str], tmp_path: Path) -> None:
    """Row 7: nobody waits for the dead, and the last checkpoint is good."""
    kill = fault("open", "photos/07.png", "SIGKILL") | {"VQGAN_FAULT_RANK": "1"}
    every = settings(train_ae__checkpoint_every=1)
    died = launch(*train("run", 1000, **AVERAGES), *photos, *every, env=kill)
    assert died.returncode != 0
    assert f"exitcode  : {-signal.SIGKILL}" in died.stderr
    assert status(tmp_path / "run")["state"] != "finished"


@pytest.mark.slow
def test_a_refusal_of_the_first_process_ends_all(launch: Launch, tmp_path: Path) -> None:
    """Only the first process looks at the run folder; the others must not wait for it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/file").touch()
    refused = launch(*train("run", 2, **AVERAGES))
    assert refused.returncode != 0
    assert "'run' exists and is not empty" in refused.stderr
