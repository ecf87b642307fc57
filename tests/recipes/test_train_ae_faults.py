"""Faults during training, caused for real: signals, a full disk, damaged files, runs that may not go on."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import RunVqgan
from tests.recipes.conftest import Vqgan
from tests.recipes.tiny_run import fault, log, settings, status, steps, train
from vqgan_cli.core.artifacts import load_tokenizer
from vqgan_cli.core.training.checkpoints import checkpoint_folders, load_newest, verify
from vqgan_cli.core.training.run_folder import RunFolder

RESUME = ("train-ae", "--resume", "--device", "cpu", "--out")


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Arguments that train and validate on files, read anew each time they are needed."""
    for folder, count in (("photos", 12), ("val", 4)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / folder / f"{number:02}.png")
    return ["--data", "photos", "--val", "val", *settings(data__cache="none", data__workers=0)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps with checkpoints at 4 and 8, to be copied."""
    from vqgan_cli.cli.app import run

    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(train(str(folder), 8)) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, as ``run`` in the folder in which the commands are started."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def assert_plain(text: str) -> None:
    assert "Traceback" not in text
    assert "internal error" not in text


def test_interrupt_within_a_step(run_vqgan: RunVqgan, photos: list[str], tmp_path: Path) -> None:
    """Row 1: the step ends, a checkpoint is written, exit 130, and --resume goes on."""
    stopped = run_vqgan(*train("run", 9), *photos, env=fault("open", "photos/07.png", "SIGINT"))
    assert stopped.returncode == 130, stopped.stderr
    assert_plain(stopped.stderr)
    run = tmp_path / "run"
    done = status(run)["step"]
    assert 1 <= done <= 3  # an epoch is three steps
    assert (status(run)["state"], status(run)["reason"]) == ("stopped", "interrupted")
    assert steps(run) == list(range(1, done + 1))
    assert checkpoint_folders(run / "checkpoints")[-1].name == f"step-{done:08}"
    load_tokenizer(run)  # what is there can be used already

    resumed = run_vqgan(*RESUME, "run")
    assert resumed.returncode == 0, resumed.stderr
    assert steps(run) == list(range(1, 10))


def test_second_interrupt(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """Row 2: stops at once, in the middle of saving; the checkpoint before is valid, and nothing half is left."""
    saving = fault("open", "step-00000008.partial/facts.json", "SIGINT", "SIGINT")
    stopped = run_vqgan(*train("run", 100), env=saving)
    assert stopped.returncode == 130, stopped.stderr
    assert_plain(stopped.stderr)
    folder = tmp_path / "run" / "checkpoints"
    assert [p.name for p in folder.iterdir()] == ["step-00000004"]
    assert load_newest(folder)[0].step == 4
    assert status(tmp_path / "run")["state"] == "failed"


def test_termination_in_evaluation(run_vqgan: RunVqgan, photos: list[str], tmp_path: Path) -> None:
    """Row 3: the evaluation is cut short and not logged; the step it belongs to is saved.

    Were it not cut short, the process would die of the last image.
    """
    terminate = fault("open", "val/01.png", "SIGTERM")
    terminate["VQGAN_FAULT"] += ";open val/03.png SIGKILL"
    options = settings(train_ae__batch_size=1)
    stopped = run_vqgan(*train("run", 100), *photos, *options, env=terminate)
    assert stopped.returncode == 143, stopped.stderr
    assert_plain(stopped.stderr)
    run = tmp_path / "run"
    assert (status(run)["reason"], status(run)["step"]) == ("terminated", 4)
    assert not any("validation/loss" in line for line in log(run))
    assert load_newest(run / "checkpoints")[0].step == 4


def test_termination_in_the_last_evaluation(run_vqgan: RunVqgan, photos: list[str], tmp_path: Path) -> None:
    """Row 3: all steps are done, and yet the run is not finished; resuming it evaluates."""
    options = settings(train_ae__validate_every=0)
    stopped = run_vqgan(*train("run", 2), *photos, *options, env=fault("open", "val/01.png", "SIGTERM"))
    assert stopped.returncode == 143, stopped.stderr
    run = tmp_path / "run"
    assert (status(run)["state"], status(run)["step"]) == ("stopped", 2)
    assert "--resume" in status(run)["resume"]
    resumed = run_vqgan(*RESUME, "run")
    assert resumed.returncode == 0, resumed.stderr
    assert "loss" in status(run)["validation"]


@pytest.mark.parametrize(
    ("event", "part"), [("import", "torch.nn.functional"), ("open", "photos/00.png")], ids=["import", "data"]
)
def test_termination_in_start_up(
    run_vqgan: RunVqgan, photos: list[str], tmp_path: Path, event: str, part: str
) -> None:
    """Row 3: exit 143 without a trace of Python, whether torch is still being imported or data being opened."""
    probing = settings(data__cache="auto")  # looks at some files to see how much memory they need
    stopped = run_vqgan(*train("run", 100), *photos, *probing, env=fault(event, part, "SIGTERM"))
    assert stopped.returncode == 143, stopped.stderr
    assert_plain(stopped.stderr)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_full_disk(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """Row 8: one clear message, the checkpoint before intact, nothing half left behind."""
    full = fault("os.mkdir", "step-00000008.partial", "DISK_FULL")
    failed = run_vqgan(*train("run", 100), env=full)
    assert failed.returncode == 1, failed.stderr
    assert_plain(failed.stderr)
    assert "cannot write" in failed.stderr
    assert "step-00000008" in failed.stderr
    assert "File too large" in failed.stderr
    folder = tmp_path / "run" / "checkpoints"
    assert [p.name for p in folder.iterdir()] == ["step-00000004"]
    assert verify(folder / "step-00000004") == ""
    assert status(tmp_path / "run")["state"] == "failed"
    assert "step-00000008" in status(tmp_path / "run")["reason"]


def test_damaged_and_foreign_checkpoints(vqgan: Vqgan, run: Path) -> None:
    """Rows 10 and 12: says so, falls back to the one before, ignores what is no checkpoint."""
    os.truncate(run / "checkpoints/step-00000008/tokenizer.safetensors", 5000)
    (run / "checkpoints/backup").mkdir()
    (run / "checkpoints/.step-00000012.partial").mkdir()
    done = vqgan(*RESUME, "run", "--steps", "10")
    assert done.code == 0, done.err
    assert "passed over" in done.err
    assert "step-00000008': tokenizer.safetensors is damaged" in done.err
    assert "resumed from 'run/checkpoints/step-00000004' at step 4" in done.err
    assert steps(run) == list(range(1, 11))
    assert (run / "checkpoints/backup").is_dir()


def test_flipped_bit(vqgan: Vqgan, run: Path) -> None:
    """Row 11, in the model and in the one checkpoint that was asked for."""
    for file in (run / "model.safetensors", run / "checkpoints/step-00000004/optimizer.safetensors"):
        content = bytearray(file.read_bytes())
        content[-10] ^= 4
        file.write_bytes(content)
    done = vqgan("train-ae", "run/checkpoints/step-00000004", "--resume", "--device", "cpu")
    assert (done.code, done.out) == (1, "")
    assert "step-00000004': optimizer.safetensors is damaged (checksum differs)" in done.err
    done = vqgan("encode", ".", "--ae", "run", "-o", "codes.npy")
    assert done.code == 1
    assert "do not match the fingerprint" in done.err


def test_nothing_to_resume(vqgan: Vqgan, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    done = vqgan(*RESUME, "run")
    assert done.code == 1
    assert "no usable checkpoint" in done.err
    done = vqgan(*RESUME, "nowhere")
    assert done.code == 2
    assert "'nowhere' is no run folder" in done.err
    done = vqgan("train-ae", "run")
    assert done.code == 2
    assert "--resume" in done.err


def test_other_batch_size(vqgan: Vqgan, run: Path) -> None:
    """Row 15: refused with what changes, and allowed by a flag. A refusal changes nothing of the run."""
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    done = vqgan(*RESUME, "run", "--steps", "10", "--batch-size", "6")
    assert done.code == 2
    assert "4 images per step in the checkpoint, 6 now" in done.err
    assert "--allow-change" in done.err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before

    done = vqgan(*RESUME, "run", "--steps", "10", "--batch-size", "6", "--allow-change")
    assert done.code == 0, done.err
    checkpoint = load_newest(run / "checkpoints")[0]
    assert (checkpoint.step, checkpoint.facts["samples_seen"]) == (10, 8 * 4 + 2 * 6)


def test_other_architecture(vqgan: Vqgan, run: Path) -> None:
    """Row 16: all differences at once, exit 2, and nothing of the run changes."""
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    changes = settings(
        tokenizer__codebook_size=64, tokenizer__z_channels=32, train_ae__adversarial__channels=16
    )
    done = vqgan(*RESUME, "run", *changes)
    assert done.code == 2
    for line in (
        "tokenizer.codebook_size: 32 in the checkpoint, 64 now",
        "tokenizer.z_channels: 16 in the checkpoint, 32 now",
        "train_ae.adversarial.channels: 8 in the checkpoint, 16 now",
    ):
        assert line in done.err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("quantizer", ["ema", "vq"])
def test_not_a_number(vqgan: Vqgan, tmp_path: Path, quantizer: str) -> None:
    """Row 17: no update, then a stop, and what was good is kept: the last checkpoint is finite and goes on."""
    options = {"tokenizer__quantizer__kind": quantizer, "train_ae__adversarial__start": 2}
    assert vqgan(*train("run", 4, **options)).code == 0
    run = tmp_path / "run"
    explode = settings(train_ae__learning_rate="1e30", train_ae__warmup_steps=0)
    often = settings(train_ae__checkpoint_every=1, train_ae__keep_checkpoints=20)
    done = vqgan(*RESUME, "run", "--steps", "40", *explode, *often)
    assert done.code == 1
    assert_plain(done.err)
    assert "NaN or infinite in 10 steps in a row" in done.err
    assert "train_ae.learning_rate" in done.err
    assert status(run)["state"] == "failed"
    assert log(run)[-1]["skipped_in_a_row"] == 9
    # Step 5 is the last one that moved the weights, and very far; not one of those that followed did.
    *_, first, last = (load_newest(path)[0] for path in checkpoint_folders(run / "checkpoints"))
    assert last.step > first.step > 5
    for name in ("tokenizer", "optimizer"):
        for key, value in last.tensors[name].items():
            assert torch.equal(value, first.tensors[name][key]), key
            assert not value.isnan().any(), key

    calm = settings(train_ae__learning_rate="1e-4", train_ae__keep_checkpoints=2)
    good = "run/checkpoints/step-00000004"
    done = vqgan("train-ae", good, "--resume", "--device", "cpu", "--steps", "6", *calm)
    assert done.code == 0, done.err
    assert steps(run) == [1, 2, 3, 4, 5, 6]
    assert all(t.isfinite().all() for t in load_tokenizer(run).state_dict().values())


def test_going_back_leaves_the_abandoned_steps(vqgan: Vqgan, run: Path) -> None:
    """Checkpoints beyond the one that was asked for belong to another history: the next --resume must not take them,
    and they must not crowd out those of this one.
    """
    done = vqgan("train-ae", "run/checkpoints/step-00000004", "--resume", "--device", "cpu", "--steps", "6")
    assert done.code == 0, done.err
    assert "removed checkpoint 'step-00000008'" in done.err
    assert [p.name for p in checkpoint_folders(run / "checkpoints")] == ["step-00000004", "step-00000006"]


def test_going_on_elsewhere(vqgan: Vqgan, run: Path, tmp_path: Path) -> None:
    """--resume RUN --out OTHER leaves the run as it is, and is no reason to write into a third one."""
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    arguments = ("train-ae", "run", "--resume", "--device", "cpu", "--steps", "10", "--out")
    done = vqgan(*arguments, "other")
    assert (done.code, done.out) == (0, "other/model.safetensors\n"), done.err
    assert steps(tmp_path / "other") == [9, 10]
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    done = vqgan(*arguments, "other")
    assert done.code == 1
    assert "'other' exists and is not empty" in done.err


def test_run_folder_in_use(vqgan: Vqgan, run: Path) -> None:
    """Row 30: refused while another run holds the folder; ``tests/training/test_run_folder.py`` has processes."""
    holder = RunFolder(run, resume=True)
    for flag in ("--resume", "--force"):
        done = vqgan(*train("run", 10), flag)
        assert done.code == 1
        assert "another process is writing to 'run'" in done.err
    holder.close()


def test_signals_are_given_back(vqgan: Vqgan) -> None:
    """A caller of the program's functions keeps its own handlers."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert vqgan(*train("run", 1)).code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
