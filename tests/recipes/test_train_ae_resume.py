"""Interrupted and resumed runs against uninterrupted ones, through the command line, with real signals."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import torch

from tests.conftest import RunVqgan
from tests.recipes.tiny_run import fault, log, status, steps, tensors, train
from vqgan_cli.core.training.checkpoints import checkpoint_folders

SAVING_4 = "step-00000004.partial/facts.json"
SAVING_8 = "step-00000008.partial/facts.json"


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


def test_killed_while_saving_then_terminated_then_resumed(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """Rows 3, 5, 6, 13 and 14 of the fault table. Oracle: the uninterrupted run, bit by bit.

    With noise in the quantizer and in dropout, averaged weights, two micro-batches per step, a GAN that starts and
    rises while the run is interrupted, and a learning rate that is never the same.
    """
    changes = {
        "tokenizer__quantizer__kind": "gumbel",
        "tokenizer__dropout": 0.2,
        "train_ae__accumulate": 2,
        "train_ae__ema_decay": 0.9,
        "train_ae__adversarial__ramp_steps": 4,
        "train_ae__adversarial__lecam_weight": 0.1,
    }
    whole = run_vqgan(*train("whole", 12, **changes))
    assert whole.returncode == 0, whole.stderr

    run = tmp_path / "cut"
    killed = run_vqgan(*train("cut", 12, **changes), env=fault("open", SAVING_8, "SIGKILL"))
    assert killed.returncode == -signal.SIGKILL
    # The checkpoint was half written when the process died.
    assert (run / "checkpoints/.step-00000008.partial/tokenizer.safetensors").is_file()
    assert [p.name for p in checkpoint_folders(run / "checkpoints")] == ["step-00000004"]
    assert steps(run)[-1] == 8
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')

    resume = ("train-ae", "--resume", "--out", "cut", "--device", "cpu")
    terminated = run_vqgan(*resume, env=fault("open", SAVING_8, "SIGTERM"))
    assert terminated.returncode == 143, terminated.stderr
    assert "resumed from" in terminated.stderr
    assert "at step 4" in terminated.stderr
    assert "terminated after step 8 of 12" in terminated.stderr
    assert "Traceback" not in terminated.stderr
    assert status(run)["state"] == "stopped"
    assert (status(run)["reason"], status(run)["step"]) == ("terminated", 8)
    assert steps(run) == list(range(1, 9))

    command = status(run)["resume"]
    assert command in terminated.stderr.replace("\n", " ")
    program, *arguments = shlex.split(command)
    assert program == "vqgan"
    finished = run_vqgan(*arguments, "--device", "cpu")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "cut/model.safetensors\n"
    assert (status(run)["state"], status(run)["step"], status(run)["resume"]) == ("finished", 12, None)
    assert steps(run) == list(range(1, 13))
    assert not list((run / "checkpoints").glob(".*"))
    assert_equal_runs(run, tmp_path / "whole")


def test_interrupted_then_resumed_with_a_worker_process(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """Rows 1 and 13 of the fault table. Oracle: the uninterrupted run, bit by bit; its worker reads ahead."""
    changes = {
        "data__workers": 1,
        "data__cache": "none",
        "data__crop": "random-resized",
        "train_ae__forward_passes": 2,
        "train_ae__adversarial__norm": "actnorm",
        "train_ae__adversarial__loss": "non-saturating",
    }
    whole = run_vqgan(*train("whole", 8, **changes))
    assert whole.returncode == 0, whole.stderr
    stopped = run_vqgan(*train("cut", 8, **changes), env=fault("open", SAVING_4, "SIGINT"))
    assert stopped.returncode == 130, stopped.stderr
    assert "interrupted: saving after this step" in stopped.stderr
    assert re.search(r"go on with: vqgan train-ae --resume --out cut", stopped.stderr)
    finished = run_vqgan("train-ae", "--resume", "--out", "cut", "--device", "cpu")
    assert finished.returncode == 0, finished.stderr
    assert_equal_runs(tmp_path / "cut", tmp_path / "whole")
