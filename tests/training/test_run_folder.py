"""Run folders: locks, names, logs."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.training.code_counts import CodeCounts, read_code_counts, write_code_counts
from vqgan_cli.core.training.run_folder import RunFolder, next_free

HOLD = """
import sys, time
from pathlib import Path
from vqgan_cli.core.training.run_folder import RunFolder
run = RunFolder(Path(sys.argv[1]))
run.begin("")
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that trains into ``tmp_path / "run"``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_two_runs_in_one_folder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """Row 30 of the fault table; the lock ends with the process that held it, killed or not."""
    for options in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(OutputError, match="another process is writing to"):
            RunFolder(tmp_path / "run", **options)
    assert (tmp_path / "run" / "config.yaml").exists()

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    RunFolder(tmp_path / "run", resume=True).close()


def test_closing_releases_the_lock(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log(1, {"loss": 0.5})
    run.close()
    RunFolder(tmp_path, resume=True).close()


def test_a_folder_with_content_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(OutputError, match="exists and is not empty") as caught:
        RunFolder(tmp_path)
    assert "--resume" in (caught.value.hint or "")
    assert "--force" in (caught.value.hint or "")
    assert (tmp_path / "thesis.tex").read_text() == "text"


def test_force_replaces_runs_only(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(OutputError, match="no run folder"):
        RunFolder(tmp_path, force=True)
    assert (tmp_path / "thesis.tex").exists()


def test_force_empties_the_folder_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000001").mkdir(parents=True)
    (run / "model.safetensors").touch()
    (run / "config.yaml").touch()
    (run / "link").symlink_to(outside, target_is_directory=True)
    folder = RunFolder(run, force=True)
    assert (run / "model.safetensors").exists()  # not before the new run begins
    folder.begin("name: new")
    folder.close()
    assert {p.name for p in run.iterdir()} == {".lock", "samples", "config.yaml"}
    assert (run / "config.yaml").read_text() == "name: new"
    assert (outside / "kept").exists()


def test_force_leaves_what_trackers_have_begun(tmp_path: Path) -> None:
    """Their files of before go, and a folder without any; a link goes with what it points to."""
    run = RunFolder(tmp_path)
    run.begin("")
    for path in ("vqgan/old", "wandb/old"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    (tmp_path / "wandb/latest").symlink_to(tmp_path / "wandb/old")
    run.close()

    run = RunFolder(tmp_path, force=True)
    (tmp_path / "wandb/new").touch()
    (tmp_path / "wandb/latest").unlink()
    (tmp_path / "wandb/latest").symlink_to(tmp_path / "wandb/new")
    run.begin("")
    run.close()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "samples", "config.yaml", "wandb"}
    assert {path.name for path in (tmp_path / "wandb").iterdir()} == {"new", "latest"}

    run = RunFolder(tmp_path, force=True)
    run.begin("")
    run.close()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "samples", "config.yaml"}


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """Row 9 of the fault table, in a way that stops the superuser as well."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*file/run"):
        RunFolder(tmp_path / "file" / "run")


def test_a_run_that_never_began_is_not_in_the_way(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run").close()
    assert next_free(tmp_path / "run") == tmp_path / "run"
    RunFolder(tmp_path / "run").close()


def test_next_free(tmp_path: Path) -> None:
    assert next_free(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    assert next_free(tmp_path / "run") == tmp_path / "run"  # empty
    for taken in ("run", "run-2"):
        (tmp_path / taken).mkdir(exist_ok=True)
        (tmp_path / taken / "file").touch()
    assert next_free(tmp_path / "run") == tmp_path / "run-3"
    (tmp_path / "run-3").touch()  # a file by that name
    assert next_free(tmp_path / "run") == tmp_path / "run-4"


def test_status(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_status() == {}
    run.write_status("stopped", reason="interrupted", step=3)
    status = run.read_status()
    assert (status["state"], status["reason"], status["step"]) == ("stopped", "interrupted", 3)
    assert status["pid"] == os.getpid()
    run.close()


def _steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (path / "log.jsonl").read_text().splitlines()]


def test_rewinding_the_log_drops_what_is_trained_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.rewind(5, 5)  # nothing yet
    for step in (2, 4, 4, 6, 8):
        run.log(step, {"loss": 1.0})
    for step in (2, 4, 8):
        run.log(step, {"validation/loss": 1.0})
    run.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')  # the process was killed while it wrote

    run = RunFolder(tmp_path, resume=True)
    run.rewind(4, validated=2)  # a signal cut the validation of step 4 short
    assert _steps(tmp_path) == [2, 4, 4, 2]
    run.log(6, {"loss": 1.0})
    assert _steps(tmp_path) == [2, 4, 4, 2, 6]
    run.close()


@pytest.mark.parametrize(("validated", "kept"), [(2, False), (4, True)])
def test_rewinding_drops_pictures_and_counts_that_are_made_again(
    tmp_path: Path, validated: int, kept: bool
) -> None:
    """A report must not show them among those of the history that goes on."""
    run = RunFolder(tmp_path)
    run.begin("")
    for name in ("step-00000002.png", "step-00000004.png", "step-00000006.png", "step-mine.png", "mine.png"):
        (run.samples / name).touch()
    write_code_counts(tmp_path, CodeCounts(4, np.array([3, 0])))
    run.rewind(4, validated)
    run.close()
    assert {path.name for path in run.samples.iterdir()} == {
        "step-00000002.png", "step-00000004.png", "step-mine.png", "mine.png"
    }  # fmt: skip
    assert (read_code_counts(tmp_path, []) is not None) is kept


def test_somebody_who_looks_is_not_in_the_way(tmp_path: Path) -> None:
    """`vqgan info` takes the lock for a moment, to see whether a process is at work."""
    with (tmp_path / ".lock").open("a+") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        release = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        release.start()
        RunFolder(tmp_path).close()
        release.join()
