"""What a report tells of a run, read from its folder, at work or not, damaged or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.run_report.charts import derived_curves
from vqgan_cli.core.run_report.curves import Curve, read_curves
from vqgan_cli.core.run_report.pictures import MAX_FRAMES, Frame, FrameReader
from vqgan_cli.core.training.code_counts import CodeCounts, read_code_counts
from vqgan_cli.core.training.environment import TrainingSession, read_environment
from vqgan_cli.core.training.run_facts import log_records, read_config, read_state, stage_of

__all__ = ["RunRecord", "read_run"]


@dataclass(frozen=True)
class RunRecord:
    """A run, as far as its folder can be read.

    Attributes:
        folder: as it was named.
        stage: ``train-ae`` or ``train-transformer``.
        state: see `RunFacts.state`.
        status: content of ``status.json``.
        config: None where there is none, or it cannot be read.
        curves: of the log, and what follows from them.
        step: the last step that is known to be done.
        steps: those to do; None where that is not known.
        seconds: of training, pauses between sessions left out; None where fewer than two lines tell it.
        seconds_per_step: over the newest lines; None likewise.
        frames: pictures over time, thinned out.
        pictures: how many there are.
        counts: use of the codes; None where nothing counted it.
        sessions: where it was trained, oldest first.
        problems: what could not be read.
        label: by which it is called; empty: the name of the folder.
    """

    folder: Path
    stage: str
    state: str
    status: dict[str, Any]
    config: ExperimentConfig | None
    curves: dict[str, Curve]
    step: int
    steps: int | None
    seconds: float | None
    seconds_per_step: float | None
    frames: list[Frame]
    pictures: int
    counts: CodeCounts | None
    sessions: list[TrainingSession]
    problems: list[str]
    label: str = ""

    @property
    def name(self) -> str:
        """What the run is called."""
        return self.label or self.folder.name or self.folder.resolve().name

    @property
    def reason(self) -> str:
        """Why it ended; empty while it has not."""
        return str(self.status.get("reason") or "")


def read_run(
    folder: Path, frames: FrameReader | None = None, *, state: str | None = None, limit: int = MAX_FRAMES
) -> RunRecord:
    """Read a run folder; what is damaged is described, not raised.

    Args:
        folder: of the run.
        frames: reads its pictures; one that is used again reads only what is new.
        state: of the run, where the caller is the run; else it is found out.
        limit: the most pictures.
    """
    problems: list[str] = []
    found, status = read_state(folder, problems)
    config = read_config(folder, problems)
    stage = stage_of(folder)
    records = list(log_records(folder / "log.jsonl", problems))
    curves = derived_curves(read_curves(records), config.tokenizer.downsampling if config else None)
    pictures, there = (frames or FrameReader()).read(folder / "samples", problems, limit)
    sessions = read_environment(folder, problems)
    logged = max((int(curve.steps[-1]) for curve in curves.values()), default=0)
    steps = status.get("steps")
    if config is not None:
        steps = (config.train_transformer if stage == "train-transformer" else config.train_ae).steps
    seconds, recent = _durations(records, sessions)
    return RunRecord(
        folder=folder,
        stage=stage,
        state=state or found,
        status=status,
        config=config,
        curves=curves,
        step=max(logged, int(status.get("step") or 0)),
        steps=steps,
        seconds=seconds,
        seconds_per_step=recent,
        frames=pictures,
        pictures=there,
        counts=read_code_counts(folder, problems),
        sessions=sessions,
        problems=problems,
    )


_RECENT = 50
"""Lines of the log by which the speed is judged."""


def _durations(
    records: list[dict[str, float | str | None]], sessions: list[TrainingSession]
) -> tuple[float | None, float | None]:
    """Seconds in all, and by step of late."""
    lines = [(int(each["step"] or 0), time) for each in records if (time := _time(each.get("time")))]
    begun = [(session.start, time) for session in sessions if (time := _time(session.time))]
    # A session's first line counts from its beginning, any other from the line before.
    marks = sorted([*lines, *begun], key=lambda mark: mark[1])
    starts = {time for _, time in begun}
    steps = [
        (step - before, (time - earlier).total_seconds())
        for (before, earlier), (step, time) in pairwise(marks)
        if time not in starts
    ]
    if not steps:
        return None, None
    recent = steps[-_RECENT:]
    done = sum(max(0, count) for count, _ in recent)
    return sum(each for _, each in steps), (sum(each for _, each in recent) / done if done else None)


def _time(text: Any) -> datetime | None:
    """A time of a log or session; None where it is none, or of no known zone."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else None
