"""Both trainers in two processes on CPUs, as ``torchrun`` starts them: one model, orderly stops, and no hanging."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import Vqgan
from tests.recipes.launching import Launcher, wait_until
from tests.recipes.tiny_run import (
    Trainer,
    assert_equal_runs,
    fault,
    log,
    newest_step,
    status,
    steps,
    trainers,
)
from vqgan_cli.core.training.checkpoints import checkpoint_folders, load_newest

# Nothing that differs between processes: no random numbers, no normalisation over a process's own images.
STILL: dict[str, dict[str, object]] = {
    "train-ae": {"tokenizer__quantizer__kind": "vq", "learning_rate": 1e-4, "adversarial__norm": "group"},
    "train-transformer": {
        "transformer__embedding_dropout": 0,
        "transformer__residual_dropout": 0,
        "condition__dropout": 0,
    },
}
# Noise and dropout, and codes that restart at random vectors. Batch norm has statistics of each process's own.
LIVELY: dict[str, dict[str, object]] = {
    "train-ae": {
        "tokenizer__dropout": 0.1,
        "tokenizer__quantizer__kind": "ema",
        "adversarial__lecam_weight": 0.1,
        "adversarial__norm": "group",
    },
    "train-transformer": {"pkeep": 0.8, "augmentation": "ten-crop", "condition__dropout": 0.1},
}


def facts(run: Path) -> dict[str, Any]:
    """What the newest checkpoint says about itself."""
    return load_newest(run / "checkpoints")[0].facts


@trainers(15)
def test_two_processes_are_one_with_twice_the_batch(
    trainer: Trainer, vqgan: Vqgan, launch: Launcher, tmp_path: Path
) -> None:
    """Oracle: one process with all images; every value of the log within 1e-3, validation included.

    So both see other images and average their gradients; for the tokenizer they share the adaptive weight and LeCAM's
    means too. Going on with another number of processes is refused, and with a flag it takes up the images where they
    were left: the one process is never stopped.
    """
    still = STILL[trainer.command] | {"accumulate": 2, "ema_decay": 0.9, "schedule": "constant"}
    two = launch(*trainer.train("two", 3, **still))
    assert two.code == 0, two.err
    assert two.out == "two/model.safetensors\n"
    assert two.weights[0] == two.weights[1]
    assert "4 images x 2 micro-batches x 2 processes" in two.err
    assert two.err.count(f"{trainer.command}: demo") == 1

    before = facts(tmp_path / "two")
    as_many = trainer.resume("two", "--batch-size", "8", "--steps", "5")
    refused = vqgan(*as_many)
    assert refused.code == 2
    assert "2 processes in the checkpoint, 1 now" in refused.err
    assert facts(tmp_path / "two") == before
    for command in ([*as_many, "--allow-change"], trainer.train("one", 5, **still, batch_size=8)):
        done = vqgan(*command)
        assert done.code == 0, done.err
    assert [facts(tmp_path / run)["samples_seen"] for run in ("one", "two")] == [5 * 16, 5 * 16]
    mine, theirs = (
        {(line["step"], "learning_rate" in line): line for line in log(tmp_path / run)}
        for run in ("two", "one")
    )
    assert mine.keys() - theirs.keys() == {(3, False)}  # an evaluation where it ended first
    for key, line in theirs.items():
        assert mine[key] == pytest.approx(line, rel=1e-3, abs=1e-5)


@pytest.mark.slow
@trainers(4, 13)
def test_terminated_in_one_process_and_resumed(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """SIGTERM to the second process: both end after the same step, and save. Oracle: the uninterrupted run, bit by bit.

    In the middle of an epoch, with two micro-batches, averaged weights, random numbers of each process, and codes that
    restart at random vectors.
    """
    arguments = {"accumulate": 2, "ema_decay": 0.9, "batch_size": 2, "sample_every": 0}
    whole = launch(*trainer.train("whole", 8, **LIVELY[trainer.command], **arguments))
    assert whole.code == 0, whole.err
    terminate = fault("train", "step-00000003", "SIGTERM") | {"VQGAN_FAULT_RANK": "1"}
    stopped = launch(*trainer.train("cut", 8, **LIVELY[trainer.command], **arguments), env=terminate)
    assert stopped.codes == {0: [143], 1: [143]}
    assert stopped.err.count("terminated after step 3 of 8") == 1
    # Taken down while the interpreter's lock is held, it could wait for gloo's thread, and that for the lock.
    assert all(facts["grouped"] for facts in stopped.ranks.values())
    saved = status(tmp_path / "cut")
    assert (saved["state"], saved["reason"], saved["step"]) == ("stopped", "terminated", 3)
    assert [path.name for path in checkpoint_folders(tmp_path / "cut/checkpoints")] == ["step-00000003"]
    resumed = launch(*trainer.resume("cut"))
    assert resumed.code == 0, resumed.err
    assert resumed.weights[0] == resumed.weights[1]
    assert_equal_runs(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.slow
@trainers(7)
def test_a_killed_process_takes_the_other_with_it(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """Nobody waits for the dead: the other one ends by itself, says why, and the last checkpoint is good."""
    kill = fault("train", "step-00000003", "SIGKILL") | {"VQGAN_FAULT_RANK": "1"}
    died = launch(*trainer.train("run", 1000, **LIVELY[trainer.command], checkpoint_every=1), env=kill)
    assert f"exitcode  : {-signal.SIGKILL}" in died.err
    assert died.codes == {0: [1]}
    assert died.err.count("error: another process of this command has ended") == 1
    assert "internal error" not in died.err
    assert status(tmp_path / "run")["state"] == "failed"
    assert newest_step(tmp_path / "run") in (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "number", "code"),
    [
        pytest.param("train-ae", signal.SIGTERM, 143, marks=pytest.mark.fault(3, "train-ae"), id="SIGTERM"),
        pytest.param("train-ae", signal.SIGHUP, 129, marks=pytest.mark.fault(33, "train-ae"), id="SIGHUP"),
        pytest.param(
            "train-transformer",
            signal.SIGINT,
            130,
            marks=pytest.mark.fault(1, "train-transformer"),
            id="SIGINT",
        ),
    ],
    indirect=["trainer"],
)
def test_the_launcher_is_stopped(
    trainer: Trainer, number: signal.Signals, code: int, launch: Launcher, tmp_path: Path
) -> None:
    """Signals to the launcher reach all processes, and the groups of their workers; all save and leave."""
    run = tmp_path / "run"
    process = launch.start(*trainer.train("run", 100_000, **LIVELY[trainer.command], data__workers=1))
    log_file = run / "log.jsonl"
    wait_until(lambda: log_file.exists() and log_file.read_text().count("\n") > 2, process)
    process.send_signal(number)
    stopped = launch.finish(process)
    assert stopped.codes == {0: [code], 1: [code]}
    assert "internal error" not in stopped.err
    reason = {143: "terminated", 130: "interrupted", 129: "hung up"}[code]
    assert (status(run)["state"], status(run)["reason"]) == ("stopped", reason)
    assert newest_step(run) == status(run)["step"]


@pytest.mark.slow
@trainers()
def test_two_machines(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """Two launchers that meet at an address, each with one process and a cache of its own.

    Oracle: one launcher with two processes, bit by bit.
    """
    one = launch(*trainer.train("one", 4, **LIVELY[trainer.command]))
    assert one.code == 0, one.err
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{probe.getsockname()[1]}"
    meeting = (
        "--nnodes",
        "2",
        "--nproc_per_node",
        "1",
        "--rdzv_backend",
        "c10d",
        "--rdzv_endpoint",
        endpoint,
    )
    command = trainer.train("two", 4, **LIVELY[trainer.command])
    caches = [{"VQGAN_CACHE": str(tmp_path / machine)} for machine in ("here", "there")]
    machines = [launch.start(*command, options=meeting, env=cache) for cache in caches]
    ended = [launch.finish(process) for process in machines]
    assert [each.code for each in ended] == [0, 0], [each.err for each in ended]
    assert sorted(each.out for each in ended) == ["", "two/model.safetensors\n"]
    assert ended[-1].weights == one.weights
    assert_equal_runs(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.fault(15, "train-ae")
@pytest.mark.parametrize("trainer", ["train-ae"], indirect=True)
def test_codebooks_are_one(trainer: Trainer, vqgan: Vqgan, launch: Launcher, tmp_path: Path) -> None:
    """Invariant: running means, counts and restarted codes are the same on both processes, bit by bit.

    And a run of one process goes on in two only with a flag.
    """
    restarting = {"tokenizer__quantizer__ema_decay": 0.5, "tokenizer__quantizer__dead_code_threshold": 9}
    begun = vqgan(*trainer.train("run", 4, **LIVELY[trainer.command], **restarting))
    assert begun.code == 0, begun.err
    longer = trainer.resume("run", "--steps", "8")
    refused = launch(*longer)
    assert refused.codes == {0: [2], 1: [2]}
    assert "1 processes in the checkpoint, 2 now" in refused.err
    done = launch(*longer, "--allow-change")
    assert done.code == 0, done.err
    assert done.weights[0] == done.weights[1]
    assert steps(tmp_path / "run") == list(range(1, 9))
    saved = load_newest(tmp_path / "run/checkpoints")[0]
    assert saved.facts["samples_seen"] == 4 * 4 + 4 * 8
    # The last step has restarted codes, and no forward pass came after it that would have copied them.
    sizes = saved.tensors["tokenizer"]["quantizer.cluster_size"]
    assert 0 < int((sizes == 1).sum()) < len(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["train-ae"], indirect=True)
def test_a_refusal_of_the_first_process_ends_all(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """Only the first process looks at the run folder; the others must not wait for it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/file").touch()
    refused = launch(*trainer.train("run", 2, **LIVELY[trainer.command]))
    assert refused.code == 1
    assert refused.ranks[0]["codes"] == [1]
    assert refused.err.count("error: ") == 1
    assert "error: 'run' exists and is not empty" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "codes"),
    [
        pytest.param(
            signal.SIGTERM,
            {0: [143], 1: [143]},
            marks=pytest.mark.fault(3, "train-transformer"),
            id="SIGTERM",
        ),
        pytest.param(
            signal.SIGKILL, {1: [143]}, marks=pytest.mark.fault(7, "train-transformer"), id="SIGKILL"
        ),
    ],
)
@pytest.mark.parametrize("trainer", ["train-transformer"], indirect=True)
def test_stopped_while_one_process_encodes_for_both(
    trainer: Trainer, number: signal.Signals, codes: dict[int, list[int]], launch: Launcher, tmp_path: Path
) -> None:
    """The one that waits for the codes hears of it, and leaves too. Nothing half is in the cache."""
    stop = fault("open", "cat/6.png", number.name)
    ended = launch(*trainer.train("run", 8, **LIVELY[trainer.command]), env=stop)
    assert ended.codes == codes
    assert "internal error" not in ended.err
    assert not list((tmp_path / "cache").rglob("facts.json"))
