"""Faults of the training commands, caused for real: damaged files, a folder in use, runs that may not go on.

How runs stop, and go on from there, is in ``test_train_resume.py``.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.conftest import RunVqgan
from tests.recipes.conftest import Fork, SavedTokenizer, Vqgan
from tests.recipes.forked import Forked
from tests.recipes.tiny_run import (
    Trainer,
    assert_plain,
    contents,
    fault,
    log,
    newest_step,
    status,
    steps,
    tensors,
    train,
    trainers,
)
from vqgan_cli.core.training.checkpoints import checkpoint_folders, load_newest


@pytest.fixture(scope="module")
def trained(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps with checkpoints at 4 and 8, to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    code, _, err = Forked(trainer.train("run", 8), folder, {"VQGAN_CACHE": str(folder / "cache")}).wait()
    assert code == 0, err
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, as ``run`` in the folder in which the commands are started."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 4
    path.write_bytes(content)


@trainers(10, 12)
def test_damaged_and_foreign_checkpoints(trainer: Trainer, vqgan: Vqgan, run: Path) -> None:
    """Says so, falls back to the one before, ignores what is no checkpoint."""
    os.truncate(run / "checkpoints/step-00000008/optimizer.safetensors", 5000)
    (run / "checkpoints/backup").mkdir()
    (run / "checkpoints/.step-00000012.partial").mkdir()
    listed = vqgan("info", "run").out
    assert "step-00000004" in listed
    assert "good\n" in listed
    assert "optimizer.safetensors is damaged (checksum differs)\n" in listed
    assert "backup" not in listed
    done = vqgan(*trainer.resume("run", "--steps", "10"))
    assert done.code == 0, done.err
    assert "passed over" in done.err
    assert "step-00000008': optimizer.safetensors is damaged" in done.err
    assert "resumed from 'run/checkpoints/step-00000004' at step 4" in done.err
    assert steps(run) == list(range(1, 11))
    assert (run / "checkpoints/backup").is_dir()


@trainers(11)
def test_flipped_bit(trainer: Trainer, vqgan: Vqgan, run: Path, coarse: SavedTokenizer) -> None:
    """In a checkpoint that was named, and in the weights of the tokenizer that another run starts from."""
    flip_bit(run / "checkpoints/step-00000004/optimizer.safetensors")
    done = vqgan(*trainer.resume("run/checkpoints/step-00000004"))
    assert (done.code, done.out) == (1, "")
    assert "step-00000004': optimizer.safetensors is damaged (checksum differs)" in done.err

    shutil.copy(coarse.path, "damaged.safetensors")
    flip_bit(Path("damaged.safetensors"))
    start = "--init-from" if trainer.command == "train-ae" else "--ae"
    done = vqgan(*trainer.train("new", 1), start, "damaged.safetensors")
    assert done.code == 1
    assert "its weights do not match the fingerprint" in done.err
    assert not Path("new/status.json").exists()


@trainers()
def test_nothing_to_resume(trainer: Trainer, vqgan: Vqgan, run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    done = vqgan(*trainer.resume("run"))
    assert done.code == 1
    assert "no usable checkpoint" in done.err
    done = vqgan(*trainer.resume("nowhere"))
    assert done.code == 2
    assert "'nowhere' is no run folder" in done.err
    done = vqgan(trainer.command, "run")
    assert done.code == 2
    assert "--resume" in done.err


@trainers(15)
def test_another_batch_size(trainer: Trainer, vqgan: Vqgan, run: Path) -> None:
    """Refused with what changes, also where a step has as many images; a refusal changes nothing of the run."""
    before = contents(run)
    done = vqgan(*trainer.resume("run", "--steps", "10", "--batch-size", "2", *trainer.set(accumulate=2)))
    assert done.code == 2
    for change in ("accumulate: 1 in the checkpoint, 2 now", "batch_size: 4 in the checkpoint, 2 now"):
        assert f"{trainer.section}.{change}" in done.err
    assert "--allow-change" in done.err
    assert contents(run) == before
    done = vqgan(*trainer.resume("run", "--steps", "10", "--batch-size", "6", "--allow-change"))
    assert done.code == 0, done.err
    assert steps(run) == list(range(1, 11))


ARCHITECTURES = {
    "train-ae": {
        "tokenizer.codebook_size": (32, 64),
        "tokenizer.z_channels": (16, 32),
        "train_ae.adversarial.channels": (8, 16),
    },
    "train-transformer": {
        "transformer.kind": ("'gpt'", "llama"),
        "transformer.layers": (2, 3),
        "transformer.width": (32, 64),
    },
}


@trainers(16)
def test_another_architecture(trainer: Trainer, vqgan: Vqgan, run: Path) -> None:
    """All differences at once, exit 2, and nothing of the run changes."""
    before, changes = contents(run), ARCHITECTURES[trainer.command]
    words = trainer.set(**{key.replace(".", "__"): new for key, (_, new) in changes.items()})
    done = vqgan(*trainer.resume("run", *words, "--allow-change"))
    assert done.code == 2
    assert f"{len(changes)} problems in the resumed run" in done.err
    for key, (old, new) in changes.items():
        assert f"{key}: {old} in the checkpoint, {new!r} now" in done.err
    assert contents(run) == before


@pytest.mark.parametrize(
    ("trainer", "changes"),
    [
        pytest.param("train-ae", {"tokenizer__quantizer__kind": "ema"}, marks=pytest.mark.fault(17, "train-ae")),
        pytest.param("train-ae", {"tokenizer__quantizer__kind": "vq"}, marks=pytest.mark.fault(17, "train-ae")),
        pytest.param("train-transformer", {}, marks=pytest.mark.fault(17, "train-transformer")),
    ],
    indirect=["trainer"],
    ids=["train-ae-ema", "train-ae-vq", "train-transformer"],
)  # fmt: skip
def test_not_a_number(trainer: Trainer, changes: dict[str, object], vqgan: Vqgan, tmp_path: Path) -> None:
    """Step 5 moves the weights very far; not one of those that follow moves them, and checkpoints from before stay."""
    assert vqgan(*trainer.train("run", 4, **changes)).code == 0
    run = tmp_path / "run"
    explode = trainer.set(learning_rate="1e30", warmup_steps=0, schedule="constant", checkpoint_every=1)
    done = vqgan(*trainer.resume("run", "--steps", "40", *explode))
    assert (done.code, done.out) == (1, "")
    assert_plain(done.err)
    assert "NaN or infinite in 10 steps in a row, up to step 15" in done.err
    assert f"--resume --set {trainer.section}.learning_rate=" in done.err
    ended = status(run)
    assert (ended["state"], ended["checkpoint"]) == ("failed", "step-00000005")
    assert f"{trainer.section}.learning_rate" in ended["hint"]
    assert ended["resume"] == f"vqgan {trainer.command} --resume --out run"
    assert log(run)[-1]["skipped_in_a_row"] == 9
    good, far = checkpoint_folders(run / "checkpoints")
    assert good.name == "step-00000004"

    # A run that ends before so many are in a row shows what the refused updates left.
    assert (
        vqgan(
            *trainer.resume(f"run/checkpoints/{good.name}", "--out", "other", "--steps", "8", *explode)
        ).code
        == 0
    )
    first, last = load_newest(far)[0], load_newest(tmp_path / "other/checkpoints")[0]
    assert (first.step, last.step) == (5, 8)
    for name in ("tokenizer", "prior", "optimizer", "optimizer_d"):
        for key, value in last.tensors.get(name, {}).items():
            assert torch.equal(value, first.tensors[name][key]), key
            assert not value.isnan().any(), key

    calm = trainer.set(learning_rate="1e-4")
    done = vqgan(*trainer.resume(f"run/checkpoints/{good.name}", "--steps", "6", *calm))
    assert done.code == 0, done.err
    assert steps(run) == [1, 2, 3, 4, 5, 6]
    assert all(tensor.isfinite().all() for tensor in tensors(run / "model.safetensors")[0].values())


@trainers()
def test_going_back_leaves_the_abandoned_steps(trainer: Trainer, vqgan: Vqgan, run: Path) -> None:
    """Checkpoints beyond the one that was asked for belong to another history: the next --resume must not take them,
    and they must not crowd out those of this one.
    """
    done = vqgan(*trainer.resume("run/checkpoints/step-00000004", "--steps", "6"))
    assert done.code == 0, done.err
    assert "removed checkpoint 'step-00000008'" in done.err
    assert [p.name for p in checkpoint_folders(run / "checkpoints")] == ["step-00000004", "step-00000006"]


@trainers()
def test_going_on_elsewhere(trainer: Trainer, vqgan: Vqgan, run: Path, tmp_path: Path) -> None:
    """--resume RUN --out OTHER leaves the run as it is, and is no reason to write into a third one."""
    before = contents(run)
    arguments = trainer.resume("run", "--steps", "10", "--out")
    done = vqgan(*arguments, "other")
    assert (done.code, done.out) == (0, "other/model.safetensors\n"), done.err
    assert steps(tmp_path / "other") == [9, 10]
    assert contents(run) == before
    done = vqgan(*arguments, "other")
    assert done.code == 1
    assert "'other' exists and is not empty" in done.err


@trainers(30)
def test_two_runs_into_one_folder(trainer: Trainer, vqgan: Vqgan, fork: Fork, tmp_path: Path) -> None:
    """The second is refused while the first is at work, and not when that is dead."""
    run = tmp_path / "run"
    first = fork(*trainer.train("run", 1_000_000))
    first.wait_until((run / "checkpoints/step-00000004").exists)
    for command in (trainer.train("run", 6), [*trainer.train("run", 6), "--force"], trainer.resume("run")):
        done = vqgan(*command)
        assert (done.code, done.out) == (1, "")
        assert "another process is writing to 'run'" in done.err
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait()[0] == -signal.SIGKILL
    done = vqgan(*trainer.resume("run", "--steps", str(newest_step(run) + 1)))
    assert done.code == 0, done.err


@trainers(9)
@pytest.mark.parametrize("out", ["file", "file/run"])
def test_output_that_cannot_be_written(trainer: Trainer, out: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """Fails before any work; a file in the way stops the superuser as well."""
    (tmp_path / "file").write_text("text")
    done = vqgan(*trainer.train(out, 1))
    assert (done.code, done.out) == (1, "")
    assert f"cannot write to '{out}'" in done.err
    lines = [line for line in done.err.splitlines() if "training at" not in line]
    assert len(lines) == 2  # the message and the way out
    assert (tmp_path / "file").read_text() == "text"


@trainers(3)
def test_terminated_in_the_last_evaluation(
    trainer: Trainer, fork: Fork, vqgan: Vqgan, tmp_path: Path
) -> None:
    """All steps are done, and yet the run is not finished; resuming it evaluates."""
    terminate = fault("open", "log.jsonl", "SIGTERM")  # just before
    code, _, err = fork(*trainer.train("run", 2, log_every=2), env=terminate).wait()
    assert code == 143, err
    run = tmp_path / "run"
    assert (status(run)["state"], status(run)["step"]) == ("stopped", 2)
    assert "--resume" in status(run)["resume"]
    assert not any("validation/loss" in line for line in log(run))
    done = vqgan(*trainer.resume("run"))
    assert done.code == 0, done.err
    assert "loss" in status(run)["validation"]


@pytest.mark.parametrize("trainer", ["train-ae"], indirect=True)
@pytest.mark.fault(3, "train-ae")
def test_terminated_within_an_evaluation(trainer: Trainer, fork: Fork, tmp_path: Path) -> None:
    """Were it not cut short after the image at which the signal comes, the process would die of the last one."""
    terminate = fault("open", "val/cat/0.png", "SIGTERM")
    terminate["VQGAN_FAULT"] += ";open val/dog/3.png SIGKILL"
    code, _, err = fork(*trainer.train("run", 100, batch_size=1), env=terminate).wait()
    assert code == 143, err
    assert not any("validation/loss" in line for line in log(tmp_path / "run"))
    assert newest_step(tmp_path / "run") == 4


@trainers(3)
def test_terminated_while_drawing_samples(trainer: Trainer, fork: Fork, tmp_path: Path) -> None:
    """A picture may take minutes of a large model; it is left undone, as a process has seconds to save."""
    often = {"log_every": 2, "validate_every": 0, "sample_every": 2}
    code, _, err = fork(*trainer.train("run", 4, **often), env=fault("open", "log.jsonl", "SIGTERM")).wait()
    assert code == 143, err
    assert status(tmp_path / "run")["step"] == 2
    assert not list((tmp_path / "run/samples").iterdir())


START_UP = {"train-ae": "train/cat/0.png", "train-transformer": ".partial/codes.bin"}
"""File that is opened before the first step: a photo, to see whether it can be read; codes, which are computed."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@trainers(3)
def test_stopped_in_start_up(trainer: Trainer, number: signal.Signals, fork: Fork, tmp_path: Path) -> None:
    """At once, as nothing is there to be saved, and nothing is left that is in the way of the next start."""
    happening = fault("open", START_UP[trainer.command], number.name)
    code, out, err = fork(*trainer.train("run", 100), env=happening).wait()
    assert (code, out) == (128 + number, ""), err
    assert "before the first step" in err
    assert_plain(err)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert not list((tmp_path / "cache").rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@trainers(3)
def test_terminated_while_importing(trainer: Trainer, number: signal.Signals, run_vqgan: RunVqgan) -> None:
    """The code of the signal, without a trace of Python, before any recipe is there to answer it."""
    stopped = run_vqgan(*trainer.train("run", 1), env=fault("import", "torch.nn.functional", number.name))
    assert (stopped.returncode, stopped.stdout) == (128 + number, "")
    assert_plain(stopped.stderr)


USAGE = [
    (["--preset", "dmo"], "unknown preset 'dmo' (did you mean 'demo'?)"),
    (["--set", "data.sise=32"], "data.sise: unknown key (did you mean 'data.size'?)"),
    (["--device", "gpu"], "unknown device 'gpu'"),
    (["--precision", "fp16"], "fp16 does not train on a CPU"),
    (["--data", "synthetic:face"], "did you mean 'faces'"),
    (["--max-time", "soon"], "--max-time 'soon' is no duration"),
    (["--tracker", "tensorbord"], "did you mean 'tensorboard'"),
    (["--gpus", "64"], "CUDA devices that torch can use"),
    (["photos"], "images are named with --data"),
    (["--resume", "--force"], "--resume goes on with a run, --force starts anew"),
]


@trainers(28)
@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_wrong_usage(
    trainer: Trainer, vqgan: Vqgan, arguments: list[str], message: str, tmp_path: Path
) -> None:
    """Exit 2, the nearest valid value, and nothing in a run folder that would be in the way."""
    done = vqgan(*trainer.train("out", 1), *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert_plain(done.err)
    assert {path.name for path in tmp_path.glob("out/*")} <= {".lock"}


@trainers()
def test_time_limit(trainer: Trainer, fork: Fork, vqgan: Vqgan, tmp_path: Path) -> None:
    """The run ends as if all steps were done: validated, saved, exit 0; and the same once more, further on."""
    run, ended = tmp_path / "run", []
    for command in (trainer.train("run", 1_000_000), trainer.resume("run")):
        code, out, err = fork(*command, "--max-time", "2s").wait()
        assert (code, out) == (0, "run/model.safetensors\n"), err
        assert "time limit" in err
        saved = status(run)
        assert (saved["state"], saved["reason"]) == ("stopped", "time limit")
        assert "stopped at the time limit that was asked for" in (run / "report.html").read_text("utf-8")
        assert saved["resume"] == f"vqgan {trainer.command} --resume --out run"
        assert saved["step"] == newest_step(run) == log(run)[-1]["step"]
        assert log(run)[-1]["validation/loss"] == saved["validation"]["loss"]
        ended.append(saved["step"])
    assert ended[0] <= ended[1]
    assert steps(run) == list(range(1, ended[1] + 1))


def test_signals_are_given_back(vqgan: Vqgan) -> None:
    """A caller of the program's functions keeps its own handlers."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert vqgan(*train("run", 1)).code == 0
    assert [signal.getsignal(number) for number in numbers] == before
