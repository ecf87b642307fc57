"""Runs that were stopped in every way there is, and resumed, against runs that never stopped: equal bit for bit."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.recipes.conftest import Fork, Vqgan
from tests.recipes.forked import Forked
from tests.recipes.tiny_run import (
    TRAINERS,
    Trainer,
    assert_equal_runs,
    assert_plain,
    fault,
    log,
    newest_step,
    status,
    steps,
    trainers,
)
from vqgan_cli.core.training.checkpoints import checkpoint_folders, load_newest

References = Callable[[Trainer, int], "Reference"]

STEPS = 10
EVERYTHING: dict[tuple[str, int], dict[str, object]] = {
    ("train-ae", 1): {
        "tokenizer__quantizer__kind": "gumbel",
        "tokenizer__dropout": 0.2,
        "data__crop": "random-resized",
        "adversarial__start": 1,
        "adversarial__ramp_steps": 4,
        "adversarial__lecam_weight": 0.1,
    },
    ("train-ae", 2): {
        "tokenizer__quantizer__kind": "ema",
        "tokenizer__quantizer__dead_code_threshold": 1,
        "adversarial__start": 1,
        "adversarial__norm": "actnorm",
        "adversarial__loss": "non-saturating",
        "forward_passes": 2,
    },
    ("train-transformer", 1): {"transformer__kind": "llama", "transformer__attention_dropout": 0.1},
    ("train-transformer", 2): {"pkeep": 0.8, "augmentation": "ten-crop"},
}
"""What draws random numbers, changes with time or has a state, by command and number of micro-batches."""

IN_A_STEP = {"train-ae": "cat/6.png", "train-transformer": "samples/."}
"""File that is opened in a step: a photo, read anew in each epoch; the picture of samples, as codes are in memory."""


def everything(trainer: Trainer, accumulate: int, out: str) -> list[str]:
    """The command line of a run with all that a resumed one must bring back."""
    changes = EVERYTHING[trainer.command, accumulate] | {"accumulate": accumulate, "ema_decay": 0.9}
    return trainer.train(
        out, STEPS, **changes, schedule="cosine", validate_every=1, sample_every=6, keep_checkpoints=1
    )


@dataclass(frozen=True)
class Stop:
    """How a run ends.

    Attributes:
        row: of the table of faults.
        fault: see `fault`; a file of None is the one that the command opens in a step.
        code: exit code.
        state: that ``status.json`` tells.
        message: on stderr.
        saves: the step that it stops in is saved, and does not only leave the checkpoint before.
        accumulate: micro-batches per step of this run.
    """

    row: int
    fault: tuple[str, str | None, tuple[str, ...]]
    code: int
    state: str
    message: str = ""
    saves: bool = False
    accumulate: int = 2


SAVING = "step-00000008.partial"
STOPS = {
    "interrupted in a step": Stop(
        1, ("open", None, ("SIGINT",)), 130, "stopped", "interrupted: saving after this step", saves=True
    ),
    "terminated in a step": Stop(
        3, ("open", None, ("SIGTERM",)), 143, "stopped", "terminated: saving", saves=True, accumulate=1
    ),
    "hung up in a step": Stop(
        33, ("open", None, ("SIGHUP",)), 129, "stopped", "hung up: saving", saves=True, accumulate=1
    ),
    "killed in a step": Stop(5, ("open", None, ("SIGKILL",)), -9, "running", accumulate=1),
    "interrupted twice while saving": Stop(
        2, ("open", f"{SAVING}/facts.json", ("SIGINT", "SIGINT")), 130, "failed"
    ),
    "killed while saving": Stop(6, ("open", f"{SAVING}/facts.json", ("SIGKILL",)), -9, "running"),
    "disk full while saving": Stop(
        8, ("os.mkdir", SAVING, ("DISK_FULL",)), 1, "failed", "step-00000008': ", accumulate=1
    ),
}


@dataclass(frozen=True)
class Reference:
    """A run that never stopped, and one of the same settings that stopped after its first step."""

    whole: Path
    begun: Path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> References:
    """Makes the runs of a command with so many micro-batches per step, once."""
    made: dict[tuple[str, int], Reference] = {}

    def make(trainer: Trainer, accumulate: int) -> Reference:
        folder = tmp_path_factory.mktemp("reference")
        cache = {"VQGAN_CACHE": str(folder / "cache")}
        code, _, err = Forked(everything(trainer, accumulate, "whole"), folder, cache).wait()
        assert code == 0, err
        # The first line of the log is written just before the first evaluation, which the signal cuts short.
        terminate = fault("open", "log.jsonl", "SIGTERM")
        code, _, err = Forked(everything(trainer, accumulate, "begun"), folder, cache | terminate).wait()
        assert code == 143, err
        return Reference(folder / "whole", folder / "begun")

    def find(trainer: Trainer, accumulate: int) -> Reference:
        key = trainer.command, accumulate
        made[key] = made.get(key) or make(trainer, accumulate)
        return made[key]

    return find


@trainers(3)
def test_terminated_in_the_first_evaluation(trainer: Trainer, reference: References) -> None:
    """The evaluation is cut short and not logged; the step it belongs to is saved, in the middle of an epoch."""
    run = reference(trainer, 1).begun
    assert (status(run)["state"], status(run)["reason"], status(run)["step"]) == ("stopped", "terminated", 1)
    assert steps(run) == [1]
    assert not any("validation/loss" in line for line in log(run))
    assert newest_step(run) == 1


@pytest.mark.parametrize(
    ("trainer", "stop"),
    [
        pytest.param(name, stop, id=f"{name}-{how}", marks=[pytest.mark.fault(row, name) for row in (stop.row, 13, 14)])
        for name in TRAINERS
        for how, stop in STOPS.items()
    ],
    indirect=["trainer"],
)  # fmt: skip
def test_stopped_twice_and_resumed(
    trainer: Trainer, stop: Stop, reference: References, fork: Fork, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the uninterrupted run, bit for bit: networks, optimisers, averages, random states, models and log.

    ``status.json`` says how it ended and what to type to go on; the one checkpoint that is kept is whole at any time.
    """
    before, run = reference(trainer, stop.accumulate), tmp_path / "run"
    shutil.copytree(before.begun, run)
    event, part, actions = stop.fault
    happening = fault(event, part or IN_A_STEP[trainer.command], *actions)
    code, out, err = fork(*trainer.resume("run"), env=happening).wait()
    assert (code, out) == (stop.code, ""), err
    assert "at step 1\n" in err
    assert stop.message in err
    assert_plain(err)

    assert status(run)["state"] == stop.state
    if stop.saves:
        assert newest_step(run) == steps(run)[-1] == status(run)["step"]
    else:
        assert newest_step(run) in (1, 4)
        assert steps(run)[-1] < STEPS
    left = {path.name for path in (run / "checkpoints").iterdir()}
    assert left - {f".{SAVING}"} == {checkpoint_folders(run / "checkpoints")[0].name}
    assert (f".{SAVING}" in left) == (stop.row == 6)
    load_newest(run / "checkpoints")

    program, *command = shlex.split(status(run)["resume"])
    assert program == "vqgan"
    done = vqgan(*command, "--device", "cpu")
    assert (done.code, done.out) == (0, "run/model.safetensors\n"), done.err
    assert (status(run)["state"], status(run)["step"], status(run)["resume"]) == ("finished", STEPS, None)
    assert steps(run) == list(range(1, STEPS + 1))
    assert not list((run / "checkpoints").glob(".*"))
    assert_equal_runs(run, before.whole)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
@pytest.mark.parametrize("trainer", ["train-ae"], indirect=True)
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(signal.SIGTERM, marks=pytest.mark.fault(3, "train-ae")),
        pytest.param(signal.SIGHUP, marks=pytest.mark.fault(33, "train-ae")),
        pytest.param(signal.SIGKILL, marks=[pytest.mark.fault(5, "train-ae"), pytest.mark.fault(30, "train-ae")]),
    ],
)  # fmt: skip
def test_worker_processes(
    end: signal.Signals, trainer: Trainer, reference: References, fork: Fork, vqgan: Vqgan, tmp_path: Path
) -> None:
    """A process that reads ahead outlives SIGTERM to all, as batch schedulers send it, and SIGHUP, as systemd does,
    until the step is saved, and has nothing to say. After kill -9 of its parent it does not keep the run's lock.
    Oracle: the run without it, which never stopped.
    """
    before = reference(trainer, 1)
    shutil.copytree(before.begun, tmp_path / "run")
    command = trainer.resume("run", "--set", "data.workers=1")
    process = fork(*command, env=fault("open", "samples/.", "SIGSTOP"))
    (worker,) = process.wait_until_stopped()
    if end != signal.SIGKILL:
        os.kill(worker, end)
    os.kill(process.pid, end)
    os.kill(process.pid, signal.SIGCONT)
    code, _, err = process.wait()
    assert code == (-end if end == signal.SIGKILL else 128 + end), err
    assert err.count("saving after this step") == (end != signal.SIGKILL)
    done = vqgan(*trainer.resume("run", "--set", "data.workers=0"))
    assert done.code == 0, done.err
    assert_equal_runs(tmp_path / "run", before.whole)


@trainers(15)
def test_the_data_go_on_where_they_were(trainer: Trainer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Closed form: of weights that stay as they are, two steps of six images have the loss of three steps of four, if
    they are the same twelve images.
    """
    still = {"learning_rate": 1e-30, "warmup_steps": 0, "validate_every": 0}
    if trainer.command == "train-ae":
        still |= {"tokenizer__quantizer__kind": "vq", "adversarial__weight": 0}
    else:
        still |= {
            "transformer__embedding_dropout": 0,
            "transformer__residual_dropout": 0,
            "condition__dropout": 0,
        }
    assert vqgan(*trainer.train("fours", 7, **still)).code == 0
    assert vqgan(*trainer.train("sixes", 4, **still)).code == 0
    more = trainer.resume("sixes", "--steps", "6", "--batch-size", "6", "--allow-change")
    assert vqgan(*more).code == 0
    key = "loss/reconstruction" if trainer.command == "train-ae" else "loss"
    fours, sixes = (
        [line[key] for line in log(tmp_path / run) if key in line][4:] for run in ("fours", "sixes")
    )
    assert (len(fours), len(sixes)) == (3, 2)
    assert sum(fours) / 3 == pytest.approx(sum(sixes) / 2, rel=1e-6)
    assert load_newest(tmp_path / "sixes/checkpoints")[0].facts["samples_seen"] == 4 * 4 + 2 * 6
