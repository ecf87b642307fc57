"""What a report tells of a run, read from its folder, at work or not, damaged or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.run_report.charts import derived_curves
from vqgan_cli.core.run_report.curves import Curve
from vqgan_cli.core.run_report.log import LogReader
from vqgan_cli.core.run_report.pictures import MAX_FRAMES, Frame, FrameReader
from vqgan_cli.core.training.code_counts import CodeCounts, read_code_counts
from vqgan_cli.core.training.environment import TrainingSession, read_environment
from vqgan_cli.core.training.run_facts import read_config, read_state, stage_of

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
    folder: Path,
    frames: FrameReader | None = None,
    log: LogReader | None = None,
    *,
    state: str | None = None,
    limit: int = MAX_FRAMES,
) -> RunRecord:
    """Read a run folder; what is damaged is described, not raised.

    Args:
        folder: of the run.
        frames: reads its pictures; one that is used again reads only what is new.
        log: reads its log, likewise.
        state: of the run, where the caller is the run; else it is found out.
        limit: the most pictures.
    """
    problems: list[str] = []
    found, status = read_state(folder, problems)
    config = read_config(folder, problems)
    stage = stage_of(folder)
    sessions = read_environment(folder, problems)
    logged = (log or LogReader()).read(folder / "log.jsonl", sessions, problems)
    curves = derived_curves(logged.curves, config.tokenizer.downsampling if config else None)
    pictures, there = (frames or FrameReader()).read(folder / "samples", problems, limit)
    last = max((curve.last()[0] for curve in curves.values()), default=0)
    steps = status.get("steps")
    if config is not None:
        steps = (config.train_transformer if stage == "train-transformer" else config.train_ae).steps
    return RunRecord(
        folder=folder,
        stage=stage,
        state=state or found,
        status=status,
        config=config,
        curves=curves,
        step=max(last, int(status.get("step") or 0)),
        steps=steps,
        seconds=logged.seconds,
        seconds_per_step=logged.seconds_per_step,
        frames=pictures,
        pictures=there,
        counts=read_code_counts(folder, problems),
        sessions=sessions,
        problems=problems,
    )
