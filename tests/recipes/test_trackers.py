"""TensorBoard and wandb show what the run folder has, and go on with a run that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import RunVqgan
from tests.recipes.conftest import Vqgan
from tests.recipes.tiny_run import contents, log, settings, train
from vqgan_cli.core.training.trackers import WANDB_ID_FILE


def test_tensorboard_shows_the_run(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the run folder, written by other code. What is done twice is shown once."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pictures = settings(train_ae__sample_every=2, train_ae__checkpoint_every=2)
    tracked = ("--tracker", "tensorboard")
    done = vqgan(*train("run", 4), *pictures, *tracked)
    assert done.code == 0, done.err
    resumed = vqgan("train-ae", "run/checkpoints/step-00000002", "--out", "run", "--resume", *tracked)
    assert resumed.code == 0, resumed.err
    events = accumulator.EventAccumulator(str(tmp_path / "run/vqgan")).Reload()
    shown = {event.step: event.value for event in events.Scalars("loss/total")}
    logged = {line["step"]: line["loss/total"] for line in log(tmp_path / "run") if "loss/total" in line}
    assert shown == pytest.approx(logged, rel=1e-6)
    assert len(events.Scalars("loss/total")) == 4
    images = events.Images("samples")
    assert [image.step for image in images] == [2, 4]
    with Image.open(tmp_path / "run/samples/step-00000004.png") as picture:
        assert (images[-1].width, images[-1].height) == picture.size
    assert b"codebook_size: 32" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_a_tracker_that_cannot_end_leaves_the_run_folder_free(
    vqgan: Vqgan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call in this process has the folder; with a lock that is left it would be refused."""
    tracking = pytest.importorskip("accelerate.tracking")
    pytest.importorskip("tensorboard")

    def fail(_tracker: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(tracking.TensorBoardTracker, "finish", fail)
        assert vqgan(*train("run", 2), "--tracker", "tensorboard").code == 1
    done = vqgan("train-ae", "--resume", "--out", "run", "--steps", "3")
    assert done.code == 0, done.err


def test_wandb_shows_the_run_and_goes_on_with_it(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    offline = {"WANDB_MODE": "offline"}
    begun = run_vqgan(
        *train("run", 4), *settings(train_ae__sample_every=2), "--tracker", "wandb", env=offline
    )
    assert begun.returncode == 0, begun.stderr
    assert begun.stdout == "run/model.safetensors\n"
    resumed = run_vqgan("train-ae", "run", "--resume", "--steps", "6", "--tracker", "wandb", env=offline)
    assert resumed.returncode == 0, resumed.stderr
    identity = (tmp_path / "run" / WANDB_ID_FILE).read_text().strip()
    folders = sorted((tmp_path / "run/wandb").glob("offline-run-*"))
    assert [folder.name.rpartition("-")[2] for folder in folders] == [identity, identity]
    # The records of both are read as bytes: wandb has no reader that it keeps from version to version.
    kept = b"".join(file.read_bytes() for folder in folders for file in folder.glob("*.wandb"))
    losses = [line["loss/total"] for line in log(tmp_path / "run") if "loss/total" in line]
    assert len(losses) == 6
    for loss in losses:
        assert kept.count(json.dumps(loss).encode()) >= 1
    assert b"codebook_size" in kept
    sent = list((tmp_path / "run/wandb").rglob("samples_4_*.png"))
    assert np.array_equal(
        np.asarray(Image.open(sent[0])), np.asarray(Image.open(tmp_path / "run/samples/step-00000004.png"))
    )


def test_wandb_that_does_not_know_the_user(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """Nothing is left, not of TensorBoard either, so that the same command works as soon as wandb does."""
    pytest.importorskip("wandb")
    pytest.importorskip("tensorboard")
    unknown = {
        "WANDB_MODE": "online",
        "WANDB_API_KEY": "",
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "netrc"),
    }
    command = [*train("run", 2), "--tracker", "tensorboard", "--tracker", "wandb"]
    done = run_vqgan(*command, env=unknown)
    assert done.returncode == 1
    assert "error: --tracker wandb cannot start:" in done.stderr
    assert "WANDB_MODE=offline" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    done = run_vqgan(*command, env={"WANDB_MODE": "offline"})
    assert done.returncode == 0, done.stderr
    first = contents(tmp_path / "run")

    done = run_vqgan(*command, "--force", env=unknown)
    assert done.returncode == 1
    assert contents(tmp_path / "run") == first
    done = run_vqgan(*command, "--force", env={"WANDB_MODE": "offline"})
    assert done.returncode == 0, done.stderr
    identity = (tmp_path / "run" / WANDB_ID_FILE).read_text().strip()
    assert first[tmp_path / "run" / WANDB_ID_FILE].decode().strip() != identity
    (folder,) = (tmp_path / "run/wandb").glob("offline-run-*")
    assert folder.name.endswith(f"-{identity}")
    assert (tmp_path / "run/wandb/latest-run").resolve() == folder
    assert len([*(tmp_path / "run/vqgan").iterdir()]) == 1


def test_tracker_that_cannot_start_leaves_nothing(
    vqgan: Vqgan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same command can be given again; a run that was to be replaced, or to go on, is as it was."""
    pytest.importorskip("tensorboard")
    command = [*train("run", 2), "--tracker", "tensorboard"]
    for more in ([], ["--force"], ["--resume", "--out", "run", "--steps", "3"]):
        line = [*(command if more[:1] != ["--resume"] else ["train-ae", "--tracker", "tensorboard"]), *more]
        before = contents(tmp_path)
        with monkeypatch.context() as patched:
            # The file is there by then; a writer that cannot start has no cause that a test could bring about.
            patched.setattr("torch.utils.tensorboard.SummaryWriter.__init__", _begin_and_fail)
            assert vqgan(*line).code == 1
        assert contents(tmp_path) == {**before, tmp_path / "run/.lock": b""}
        assert not (tmp_path / "run/vqgan").exists() or before
        done = vqgan(*line)
        assert done.code == 0, done.err
    assert len([*(tmp_path / "run/vqgan").iterdir()]) == 2  # of --force and of --resume


def _begin_and_fail(_writer: object, folder: str, **_options: object) -> None:
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / "events").touch()
    raise ConnectionError("gone")
