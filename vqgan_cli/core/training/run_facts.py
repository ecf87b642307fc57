"""What a run folder tells: how far the run is, whether it is alive, what it saved, and how to go on."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

from vqgan_cli.core.artifacts import MODEL_FILE, read_model_info
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import ModelError, VqganError
from vqgan_cli.core.presets import resolve
from vqgan_cli.core.training.checkpoints import checkpoint_folders, step_of, verify
from vqgan_cli.core.training.run_folder import TOKENIZER_FILE, is_validation

__all__ = [
    "CheckpointFacts",
    "RunFacts",
    "SavedModel",
    "describe_run",
    "is_run",
    "log_record",
    "read_config",
    "read_state",
    "stage_of",
]


@dataclass(frozen=True)
class SavedModel:
    """A weights file of a run; ``problem`` is empty where it can be read."""

    path: Path
    step: int | None
    validation: dict[str, float]
    problem: str


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint of a run; ``problem`` is empty where all checksums agree."""

    path: Path
    step: int
    bytes: int
    problem: str


@dataclass(frozen=True)
class RunFacts:
    """A run folder.

    Attributes:
        path: the folder.
        stage: ``train-ae`` or ``train-transformer``, the command that made it.
        state: ``starting``, ``running``, ``finished``, ``stopped``, ``failed``, or ``killed``: it says that it is
            running, and no process holds its lock.
        status: content of ``status.json``.
        step: the last step that is known to be done.
        steps: those to do; None where config and status are lost.
        training: the newest line of the log that is no validation.
        validation: the newest line of the log that is one.
        models: last and best weights.
        checkpoints: oldest first.
        config: None where there is none yet, or it cannot be read.
        problems: what is wrong with the folder.
        next: how to go on: a command, or a sentence.
    """

    kind: ClassVar[str] = "run"
    path: Path
    stage: str
    state: str
    status: dict[str, Any]
    step: int
    steps: int | None
    training: dict[str, Any]
    validation: dict[str, Any]
    models: list[SavedModel]
    checkpoints: list[CheckpointFacts]
    config: ExperimentConfig | None
    problems: list[str]
    next: str


def is_run(folder: Path) -> bool:
    """Whether a training process has made this folder; it has no status yet while its data are looked for."""
    begun = (folder / ".lock").is_file() and (folder / "samples").is_dir()
    return begun or (folder / "status.json").is_file()


def describe_run(folder: Path) -> RunFacts:
    """Read a run folder, also while a process writes to it; what is damaged is described, not raised."""
    problems: list[str] = []
    of_status: list[str] = []
    state, status = read_state(folder, of_status)
    config = read_config(folder, problems)
    problems += of_status
    training, validation = _read_log(folder / "log.jsonl", problems)
    checkpoints = _checkpoints(folder / "checkpoints")
    models = [
        _saved_model(path) for path in (folder / MODEL_FILE, folder / "best.safetensors") if path.exists()
    ]
    stage = stage_of(folder)
    steps = status.get("steps")
    if config:
        steps = (config.train_transformer if stage == "train-transformer" else config.train_ae).steps
    logged = [int(record["step"]) for record in (training, validation, status) if "step" in record]
    step = max([*logged, *(checkpoint.step for checkpoint in checkpoints)], default=0)
    return RunFacts(
        path=folder,
        stage=stage,
        state=state,
        status=status,
        step=step,
        steps=steps,
        training=training,
        validation=validation,
        models=models,
        checkpoints=checkpoints,
        config=config,
        problems=problems,
        next=_next(folder, stage, state, status, checkpoints, config),
    )


def stage_of(folder: Path) -> str:
    """``train-ae`` or ``train-transformer``, the command that made a run folder."""
    return "train-transformer" if (folder / TOKENIZER_FILE).is_file() else "train-ae"


def read_config(folder: Path, problems: list[str]) -> ExperimentConfig | None:
    """The config of a run; None where there is none, or it cannot be read, which is added to the problems."""
    if not (folder / "config.yaml").is_file():
        return None
    try:
        return resolve(str(folder / "config.yaml"))
    except VqganError as error:
        problems.append(error.message)
        return None


def read_state(folder: Path, problems: list[str]) -> tuple[str, dict[str, Any]]:
    """`RunFacts.state` and `RunFacts.status`; what cannot be read is added to the problems."""
    # The lock first: a run that ends meanwhile has written its last status before it lets go of the lock.
    in_use = _in_use(folder)
    status = _read_status(folder / "status.json", problems)
    return _state(status.get("state", ""), in_use=in_use), status


class _Status(BaseModel):
    """The types of what is read of ``status.json``; there may be more."""

    model_config = ConfigDict(extra="allow")

    state: str = ""
    step: int = 0
    steps: int | None = None
    time: str | None = None
    pid: int | None = None
    reason: str | None = None
    unreadable_files: list[Any] = []


_LOGGED = frozenset({float, int, str, bool, type(None)})
"""Types of the values of a line of the log."""


def _read_status(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        text = path.read_bytes()
        _Status.model_validate_json(text)
        return dict(json.loads(text))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        problems.append(f"{str(path)!r} cannot be read: {error}")
        return {}


def log_record(line: bytes) -> dict[str, float | str | None] | None:
    """A line of a run's log; None where it cannot be read: one that a process is writing, or was when it died."""
    try:
        # Four times as fast as json.loads; times, which are never the same, are not kept for the next line.
        record = from_json(line.decode("utf-8", "replace"), cache_strings="keys")
        int(record["step"])
        return record if _LOGGED.issuperset(map(type, record.values())) else None
    except (ValueError, LookupError, RecursionError, TypeError, OverflowError):
        return None


def _read_log(path: Path, problems: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest training and validation lines, the latter's keys without their prefix; none where there is no log, or
    none that can be opened, which is added to the problems.
    """
    training: dict[str, Any] = {}
    validation: dict[str, Any] = {}
    if not os.path.lexists(path):
        return training, validation
    try:
        with path.open("rb") as lines:
            for record in filter(None, map(log_record, lines)):
                if is_validation(record):
                    validation = {name.removeprefix("validation/"): value for name, value in record.items()}
                else:
                    training = record
    except OSError as error:
        problems.append(f"{str(path)!r} cannot be read: {error.strerror or error}")
    return training, validation


def _in_use(folder: Path) -> bool:
    """Whether a process holds the run's lock, which ends with the process however that dies."""
    try:
        with (folder / ".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _state(recorded: str, *, in_use: bool) -> str:
    if in_use:
        # A resumed run has the status of its last end until its data are found and its weights are loaded.
        return "running" if recorded == "running" else "starting"
    return "killed" if recorded in ("", "running") else recorded


def _checkpoints(folder: Path) -> list[CheckpointFacts]:
    found = []
    for path in checkpoint_folders(folder):
        with suppress(FileNotFoundError):  # a run at work removes its oldest
            problem = verify(path)
            size = sum(file.stat().st_size for file in path.iterdir())
            found.append(CheckpointFacts(path, step_of(path), size, problem))
    return found


def _saved_model(path: Path) -> SavedModel:
    try:
        provenance = read_model_info(path).provenance
    except ModelError as error:
        return SavedModel(path, None, {}, error.message)
    return SavedModel(path, provenance.get("step"), provenance.get("validation", {}), "")


def _next(
    folder: Path,
    stage: str,
    state: str,
    status: dict[str, Any],
    checkpoints: list[CheckpointFacts],
    config: ExperimentConfig | None,
) -> str:
    name = shlex.quote(str(folder))
    if state in ("starting", "running"):
        pid = f" (or kill -TERM {status['pid']})" if state == "running" and "pid" in status else ""
        return f"a process is at work; Ctrl-C there{pid} saves and stops"
    if state == "finished" and stage == "train-transformer":
        return f"vqgan generate --model {name}"
    if state == "finished":
        return f"vqgan encode IMAGES -o codes.npy --ae {name}"
    if any(not checkpoint.problem for checkpoint in checkpoints):
        return f"vqgan {stage} --resume --out {name}"
    if config is not None:
        return f"vqgan {stage} --preset {shlex.quote(str(folder / 'config.yaml'))} --out {name} --force"
    return f"nothing is saved; start anew: vqgan {stage} --out {name} --force"
