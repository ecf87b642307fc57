"""Where a run was trained: versions, device and processes of each session, kept in the run folder."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from accelerate import Accelerator
from pydantic import TypeAdapter

from vqgan_cli.core.files import write_text
from vqgan_cli.core.system import device_facts, installed_versions

__all__ = ["ENVIRONMENT_FILE", "TrainingSession", "read_environment", "record_session"]

ENVIRONMENT_FILE = "environment.json"

_KEPT = 50
"""Sessions; a run that is resumed every hour need not keep all of them."""


@dataclass(frozen=True)
class TrainingSession:
    """From the start, or a resume, until the run ended or was stopped.

    Attributes:
        time: when it began, in UTC.
        start: optimiser steps done before it.
        device: as ``--device`` takes it, and what its maker calls it.
        processes: that trained together.
        precision: of the networks: ``fp32``, ``bf16`` or ``fp16``.
        commit: of the checkout that the program ran from; empty for an installed one.
        versions: by package; None: not installed.
    """

    time: str
    start: int
    device: str
    processes: int
    precision: str
    commit: str
    versions: dict[str, str | None]


_SESSIONS = TypeAdapter(list[TrainingSession])


def record_session(folder: Path, accelerator: Accelerator, start: int) -> None:
    """Add the session that begins to those of the run.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    facts = device_facts(accelerator.device)
    session = TrainingSession(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        start=start,
        device=f"{accelerator.device} ({facts.name})",
        processes=accelerator.num_processes,
        precision={"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
        commit=_commit(Path(__file__).resolve().parents[3] / ".git"),
        versions=installed_versions(),
    )
    # What a resumed run gives up was another history; those sessions that led to its start remain.
    earlier = [each for each in read_environment(folder, []) if each.start <= start]
    kept = [*earlier, session][-_KEPT:]
    text = json.dumps([asdict(each) for each in kept], indent=1, ensure_ascii=False)
    write_text(folder / ENVIRONMENT_FILE, text + "\n")


def read_environment(folder: Path, problems: list[str]) -> list[TrainingSession]:
    """The sessions of a run, oldest first; empty where they cannot be read, which is added to the problems."""
    path = folder / ENVIRONMENT_FILE
    try:
        return _SESSIONS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        problems.append(f"{str(path)!r} cannot be read: {str(error).splitlines()[0]}")
        return []


def _commit(git: Path) -> str:
    """The commit that a checkout is at, read from its files; empty where there is none."""
    with suppress(OSError, ValueError):
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head[:12]
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text(encoding="ascii").strip()[:12]
        for line in (git / "packed-refs").read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {name}"):
                return line[:12]
    return ""
