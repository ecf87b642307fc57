"""Both trainers in two processes on CPUs, as ``torchrun`` starts them: one model, orderly stops, and no hanging."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.recipes import test_train_transformer as transformer
from tests.recipes import tiny_run as autoencoder
from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.launching import Launcher, wait_until
from tests.recipes.test_train_transformer import pictures  # noqa: F401
from tests.recipes.tiny_run import assert_equal_runs, fault, log, settings, status, steps
from vqgan_cli.core.training.checkpoints import checkpoint_folders, load_newest

# Nothing that differs between processes: no random numbers, no normalisation over a process's own images.
STILL: dict[str, dict[str, object]] = {
    "train-ae": {
        "tokenizer__quantizer__kind": "vq",
        "train_ae__learning_rate": 1e-4,
        "train_ae__adversarial__norm": "group",
    },
    "train-transformer": {
        "transformer__embedding_dropout": 0,
        "transformer__residual_dropout": 0,
        "condition__dropout": 0,
        "train_transformer__ema_decay": 0.9,
    },
}
# Noise and dropout, and codes that restart at random vectors.
LIVELY: dict[str, dict[str, object]] = {
    "train-ae": {
        "tokenizer__dropout": 0.1,
        "train_ae__adversarial__lecam_weight": 0.1,
        "train_ae__adversarial__norm": "group",  # each process has batch statistics of its own
    },
    "train-transformer": {
        "train_transformer__pkeep": 0.8,
        "train_transformer__augmentation": "ten-crop",
        "condition__dropout": 0.1,
    },
}


@dataclass(frozen=True)
class Trainer:
    """A command that trains, on the same few pictures."""

    name: str
    data: Path
    tokenizer: Path

    def new(self, out: str, steps: int, base: dict[str, dict[str, object]], **changes: object) -> list[str]:
        """A new run with the settings of ``base``; ``changes`` are in the section of this trainer."""
        section = self.name.replace("-", "_")
        options = base[self.name] | {f"{section}__{key}": value for key, value in changes.items()}
        if self.name == "train-ae":
            return [*autoencoder.train(out, steps, **options), "--data", str(self.data)]
        command = transformer.train(self.tokenizer, out, steps, "--data", self.data, **options)
        return [str(word) for word in command]

    def resume(self, out: str, *more: str) -> list[str]:
        """Go on with a run."""
        return [self.name, "--resume", "--out", out, "--device", "cpu", *more]


@pytest.fixture
def trainer(
    request: pytest.FixtureRequest,
    pictures: Path,  # noqa: F811
    coarse: SavedTokenizer,
) -> Trainer:
    return Trainer(request.param, pictures, coarse.path)


def each_trainer(*faults: int) -> pytest.MarkDecorator:
    """Both trainers meet these faults."""
    names = ("train-ae", "train-transformer")
    marked = [pytest.param(name, marks=[pytest.mark.fault(row, name) for row in faults]) for name in names]
    return pytest.mark.parametrize("trainer", marked, indirect=True)


def facts(run: Path) -> dict[str, Any]:
    """What the newest checkpoint says about itself."""
    return load_newest(run / "checkpoints")[0].facts


@each_trainer(15)
def test_two_processes_are_one_with_twice_the_batch(
    trainer: Trainer, vqgan: Vqgan, launch: Launcher, tmp_path: Path
) -> None:
    """Oracle: one process with all images; every value of the log within 1e-3, validation included.

    So both see other images and average their gradients; for the tokenizer they share the adaptive weight and LeCAM's
    means too. Going on with another number of processes is refused, and with a flag it takes up the images where they
    were left: the oracle is the one process, which goes on as well.
    """
    two = launch(*trainer.new("two", 3, STILL, accumulate=2, ema_decay=0.9))
    assert two.code == 0, two.err
    assert two.out == "two/model.safetensors\n"
    assert [two.ranks[rank]["world"] for rank in (0, 1)] == [2, 2]
    assert two.ranks[0] == two.ranks[1]
    assert "4 images x 2 micro-batches x 2 processes" in two.err
    assert two.err.count(f"{trainer.name}: demo") == 1

    as_many = ("--batch-size", "8")
    one = vqgan(*trainer.new("one", 3, STILL, accumulate=2, ema_decay=0.9), *as_many)
    assert one.code == 0, one.err
    before = facts(tmp_path / "two")
    longer = trainer.resume("two", *as_many, "--steps", "5")
    refused = vqgan(*longer)
    assert refused.code == 2
    assert "2 processes in the checkpoint, 1 now" in refused.err
    assert facts(tmp_path / "two") == before
    for command in ([*longer, "--allow-change"], trainer.resume("one", *as_many, "--steps", "5")):
        done = vqgan(*command)
        assert done.code == 0, done.err
    for mine, theirs in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    assert [facts(tmp_path / run)["samples_seen"] for run in ("one", "two")] == [5 * 16, 5 * 16]


@pytest.mark.slow
@each_trainer(4, 13)
def test_terminated_in_one_process_and_resumed(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """SIGTERM to the second process: both end after the same step, and save. Oracle: the uninterrupted run, bit by bit.

    In the middle of an epoch, with two micro-batches, averaged weights, random numbers of each process, and codes that
    restart at random vectors.
    """
    arguments = {"accumulate": 2, "ema_decay": 0.9, "batch_size": 2, "sample_every": 0}
    whole = launch(*trainer.new("whole", 8, LIVELY, **arguments))
    assert whole.code == 0, whole.err
    terminate = fault("train", "step-00000003", "SIGTERM") | {"VQGAN_FAULT_RANK": "1"}
    stopped = launch(*trainer.new("cut", 8, LIVELY, **arguments), env=terminate)
    assert {rank: facts["codes"] for rank, facts in stopped.ranks.items()} == {0: [143], 1: [143]}
    assert stopped.err.count("terminated after step 3 of 8") == 1
    saved = status(tmp_path / "cut")
    assert (saved["state"], saved["reason"], saved["step"]) == ("stopped", "terminated", 3)
    assert [path.name for path in checkpoint_folders(tmp_path / "cut/checkpoints")] == ["step-00000003"]
    resumed = launch(*trainer.resume("cut"))
    assert resumed.code == 0, resumed.err
    assert resumed.ranks[0]["weights"] == resumed.ranks[1]["weights"]
    assert_equal_runs(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.slow
@each_trainer(7)
def test_a_killed_process_takes_the_other_with_it(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """Nobody waits for the dead: the other one ends by itself, says why, and the last checkpoint is good."""
    kill = fault("train", "step-00000003", "SIGKILL") | {"VQGAN_FAULT_RANK": "1"}
    died = launch(*trainer.new("run", 1000, LIVELY, checkpoint_every=1), env=kill)
    assert f"exitcode  : {-signal.SIGKILL}" in died.err
    assert {rank: facts["codes"] for rank, facts in died.ranks.items()} == {0: [1]}
    assert died.err.count("error: another process of this command has ended") == 1
    assert "internal error" not in died.err
    assert status(tmp_path / "run")["state"] == "failed"
    assert load_newest(tmp_path / "run/checkpoints")[0].step in (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "number", "code"),
    [
        pytest.param("train-ae", signal.SIGTERM, 143, marks=pytest.mark.fault(3, "train-ae")),
        pytest.param(
            "train-transformer", signal.SIGINT, 130, marks=pytest.mark.fault(1, "train-transformer")
        ),
    ],
    indirect=["trainer"],
)
def test_the_launcher_is_stopped(
    trainer: Trainer, number: signal.Signals, code: int, launch: Launcher, tmp_path: Path
) -> None:
    """Signals to the launcher reach all processes, and the groups of their workers; all save and leave."""
    run = tmp_path / "run"
    more = settings(data__cache="none", data__workers=1)
    process = launch.start(*trainer.new("run", 100_000, LIVELY), *more)
    log_file = run / "log.jsonl"
    wait_until(lambda: log_file.exists() and log_file.read_text().count("\n") > 2, process)
    process.send_signal(number)
    stopped = launch.finish(process)
    assert {rank: facts["codes"] for rank, facts in stopped.ranks.items()} == {0: [code], 1: [code]}
    assert "internal error" not in stopped.err
    reason = {143: "terminated", 130: "interrupted"}[code]
    assert (status(run)["state"], status(run)["reason"]) == ("stopped", reason)
    assert load_newest(run / "checkpoints")[0].step == status(run)["step"]


@pytest.mark.slow
@each_trainer()
def test_two_machines(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """Two launchers that meet at an address, each with one process and a cache of its own.

    Oracle: one launcher with two processes, bit by bit.
    """
    one = launch(*trainer.new("one", 4, LIVELY))
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
    machines = [
        launch.start(
            *trainer.new("two", 4, LIVELY), options=meeting, env={"VQGAN_CACHE": str(tmp_path / machine)}
        )
        for machine in ("here", "there")
    ]
    ended = [launch.finish(process) for process in machines]
    assert [each.code for each in ended] == [0, 0], [each.err for each in ended]
    assert sorted(each.out for each in ended) == ["", "two/model.safetensors\n"]
    ranks = ended[-1].ranks
    assert ranks == one.ranks
    assert [ranks[rank]["world"] for rank in (0, 1)] == [2, 2]
    assert_equal_runs(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["train-ae"], indirect=True)
def test_codebooks_are_one(trainer: Trainer, vqgan: Vqgan, launch: Launcher, tmp_path: Path) -> None:
    """Invariant: running means, counts and restarted codes are the same on both processes, bit by bit.

    Row 15 as well: a run of one process goes on in two only with a flag.
    """
    restarting = settings(
        tokenizer__quantizer__kind="ema",
        tokenizer__quantizer__ema_decay=0.5,
        tokenizer__quantizer__dead_code_threshold=12,
    )
    begun = vqgan(*trainer.new("run", 4, LIVELY), *restarting)
    assert begun.code == 0, begun.err
    longer = trainer.resume("run", "--steps", "8")
    refused = launch(*longer)
    assert {rank: facts["codes"] for rank, facts in refused.ranks.items()} == {0: [2], 1: [2]}
    assert "1 processes in the checkpoint, 2 now" in refused.err
    done = launch(*longer, "--allow-change")
    assert done.code == 0, done.err
    assert done.ranks[0] == done.ranks[1]
    assert steps(tmp_path / "run") == list(range(1, 9))
    saved = load_newest(tmp_path / "run/checkpoints")[0]
    assert saved.facts["samples_seen"] == 4 * 4 + 4 * 8
    # The last step has restarted codes, and no forward pass came after it that would have copied them.
    sizes = saved.tensors["tokenizer"]["quantizer.cluster_size"]
    assert 0 < int((sizes == 1).sum()) < len(sizes)


@pytest.mark.slow
@each_trainer()
def test_a_refusal_of_the_first_process_ends_all(trainer: Trainer, launch: Launcher, tmp_path: Path) -> None:
    """Only the first process looks at the run folder; the others must not wait for it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/file").touch()
    refused = launch(*trainer.new("run", 2, LIVELY))
    assert refused.code == 1
    assert refused.ranks[0]["codes"] == [1]
    assert refused.err.count("error: ") == 1
    assert "error: 'run' exists and is not empty" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "codes"), [(signal.SIGTERM, {0: [143], 1: [143]}), (signal.SIGKILL, {1: [143]})]
)
@pytest.mark.parametrize("trainer", ["train-transformer"], indirect=True)
def test_stopped_while_one_process_encodes_for_both(
    trainer: Trainer, number: signal.Signals, codes: dict[int, list[int]], launch: Launcher, tmp_path: Path
) -> None:
    """Rows 3 and 7: the one that waits for the codes hears of it, and leaves too. Nothing half is in the cache."""
    stop = fault("open", "n02_white_dog/3.png", number.name)
    ended = launch(*trainer.new("run", 8, LIVELY), env=stop)
    assert {rank: facts["codes"] for rank, facts in ended.ranks.items()} == codes
    assert "internal error" not in ended.err
    assert not list((tmp_path / "cache").rglob("facts.json"))
