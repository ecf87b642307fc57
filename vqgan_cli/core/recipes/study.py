"""``vqgan study``: a question of the paper, answered by runs of the ordinary commands on the user's data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vqgan_cli.core.artifacts import read_model_info
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import OutputError, UsageError
from vqgan_cli.core.evaluation.features import load_features
from vqgan_cli.core.files import require_writable_folder, reserved, write_text
from vqgan_cli.core.plots import Dots, Lines, plot
from vqgan_cli.core.presets import overridden, read_overrides, resolve
from vqgan_cli.core.processes import in_one_process
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.studies import STUDIES
from vqgan_cli.core.studies.base import Command, Metric, Run, Study
from vqgan_cli.core.studies.instruments import Instruments
from vqgan_cli.core.studies.results import ArmResult, collect, dots, markdown, rows
from vqgan_cli.core.studies.schedule import (
    config_of,
    plan_runs,
    probe_config,
    steps_within,
    with_what_they_need,
)
from vqgan_cli.core.training.checkpoints import checkpoint_folders

__all__ = ["DrawArm", "RunArm", "StudyOptions", "StudyResult", "study"]

STUDY_FILE, RESULTS_FILE, TABLE_FILE, PLOT_FILE = "study.json", "results.json", "table.md", "plot.svg"


@dataclass(frozen=True)
class StudyOptions:
    """What to study, and with how much.

    Attributes:
        name: of the study.
        out: its folder.
        preset: name or file of the experiment that arms change; None: that of the model that is given, else ``demo``.
        overrides: ``section.key=value`` each, over what the study sets.
        flags: dotted key to value of named flags.
        seeds: runs of each arm.
        budget: seconds of training of each run; None: ``steps``.
        steps: of each run; None: those of the preset.
        arms: names of those that are compared; empty: all.
        ae: tokenizer that all transformers start from; None: the study trains one.
        model: transformer that all samples are drawn from; None: the study trains one.
        features: name of the network for Frechet distances, see `load_features`; None: these are left out.
        weights: its file.
        samples: images that are drawn of each run.
        scorer: classifier for rejection; None: no arm rejects.
        device: see `resolve_device`.
        force: start anew where another study lies.
    """

    name: str
    out: Path
    preset: str | None = None
    overrides: Sequence[str] = ()
    flags: dict[str, Any] = field(default_factory=dict)
    seeds: int = 3
    budget: float | None = None
    steps: int | None = None
    arms: Sequence[str] = ()
    ae: Path | None = None
    model: Path | None = None
    features: str | None = None
    weights: Path | None = None
    samples: int = 200
    scorer: str | None = None
    device: str = "auto"
    force: bool = False

    @property
    def given(self) -> Path | None:
        """The model that arms start from."""
        return self.model or self.ae


@dataclass(frozen=True)
class StudyResult:
    """What was found.

    Attributes:
        study: which.
        arms: their figures.
        metrics: the columns.
        json: the whole result.
        files: results, table and plot.
    """

    study: Study
    arms: list[ArmResult]
    metrics: list[Metric]
    json: dict[str, Any]
    files: tuple[Path, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and rows for people."""
        return rows(self.arms, self.metrics)


RunArm = Callable[[Command, ExperimentConfig, Path, Path | None, Path | None], None]
"""Makes a run by the recipe of a command: (command, config, run folder, model to start from, run to resume).

A recipe does not call another one, so whoever calls this one brings it.
"""

DrawArm = Callable[[Run], None]
"""Draws the samples of an arm into its folder."""


@in_one_process
def study(options: StudyOptions, run_arm: RunArm, draw_arm: DrawArm, reporter: Reporter) -> StudyResult:
    """Run what is not there yet, measure, and write table, JSON and plot.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal: the same command goes on.
    """
    chosen = STUDIES[options.name]
    config = _config(options, chosen)
    if config.data.split_seed is None:  # so that runs of all seeds are judged by the same images
        config = overridden(config, {"data": {"split_seed": config.train_transformer.seed}})
    if config.condition.map_kind is not None:
        raise UsageError(
            f"study: condition.kind {config.condition.kind}: studies draw by class or by nothing",
            hint="--unconditional",
        )
    if chosen.needs_features and options.features is None:
        raise UsageError(
            f"study {chosen.name} needs --features: it compares samples with images by them",
            hint="--features fid, or torchvision:NAME with --weights FILE",
        )
    arms = [arm for arm in chosen.arms(config) if options.given is None or arm.role != "shared"]
    arms = [arm for arm in arms if options.scorer is not None or arm.keep is None]
    arms = with_what_they_need(arms, options.arms)
    device = resolve_device(options.device)
    features = load_features(options.features, options.weights) if options.features else None
    require_writable_folder(options.out)
    with reserved(options.out, is_folder=True):
        plan = _Plan(options, config)
        runs = plan_runs(arms, options.seeds, options.out / "arms", options.given)
        reporter.facts(f"study {chosen.name}: {chosen.question}", _header(chosen, options, config, runs))
        for number, run in enumerate(runs, 1):
            if _finished(run):
                reporter.info(f"run {number} of {len(runs)}: {run.path.name} is there already")
                continue
            reporter.info(f"run {number} of {len(runs)}: {run.path.name}")
            _make(run, plan, run_arm, draw_arm)
        compared = [run for run in runs if run.arm.role == "compared"]
        values = chosen.read(compared, Instruments(config, features, options.samples, device, reporter))
        distance = features.labels.frechet if features is not None else ""
        metrics = [replace(each, label=each.label.format(frechet=distance)) for each in chosen.metrics]
        return _written(chosen, options, config, compared, collect(compared, values, metrics), metrics)


def _config(options: StudyOptions, chosen: Study) -> ExperimentConfig:
    """The experiment that arms change: that of the preset, or, where none is named, that of the model that is given."""
    overrides = [*chosen.settings, *options.overrides]
    if options.preset is not None or options.given is None:
        return resolve(options.preset or "demo", overrides, options.flags)
    flags = [f"{key}={json.dumps(value)}" for key, value in options.flags.items() if value is not None]
    return overridden(read_model_info(options.given).config, read_overrides([*overrides, *flags]))


class _Plan:
    """The settings and the steps of a study, kept in its folder, so that the same command goes on.

    Raises:
        UsageError: the folder holds a study of other settings.
        OutputError: it holds something else.
    """

    def __init__(self, options: StudyOptions, config: ExperimentConfig) -> None:
        self.options, self.config = options, config
        self._path = options.out / STUDY_FILE
        settings = {
            "study": options.name,
            "budget": options.budget,
            "steps": options.steps,
            "starts from": read_model_info(options.given).fingerprint if options.given else None,
            "samples": options.samples,
            "config": config.model_dump(mode="json"),
        }
        self._steps: dict[str, int] = {}
        if self._path.is_file() and options.force:
            shutil.rmtree(options.out / "arms", ignore_errors=True)
        elif self._path.is_file():
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            changed = [key for key, value in settings.items() if stored["settings"].get(key) != value]
            if changed:
                raise UsageError(
                    f"{str(options.out)!r} holds a study of another {', '.join(changed)}",
                    hint="name another folder with --out, or start anew with --force",
                )
            self._steps = stored["measured_steps"]
        elif any(entry.name != ".lock" for entry in options.out.iterdir()):
            raise OutputError(
                f"{str(options.out)!r} is not empty and no study", hint="name another folder with --out"
            )
        self._settings = settings
        self._write()

    def steps(self, run: Run, run_arm: RunArm) -> int:
        """Of a run; with a budget, as many as fit in it at the speed that is measured first."""
        arm = run.arm
        if arm.role == "shared" or (self.options.steps is None and self.options.budget is None):
            return int(getattr(self.config, arm.section).steps)
        if self.options.steps is not None:
            return self.options.steps
        assert self.options.budget is not None
        if arm.name not in self._steps:
            config = config_of(self.config, run, getattr(self.config, arm.section).steps)
            probe = self.options.out / "arms" / f".speed-{arm.name}"
            shutil.rmtree(probe, ignore_errors=True)
            run_arm(arm.command, probe_config(config, arm.section), probe, run.start, None)
            self._steps[arm.name] = steps_within(self.options.budget, probe, config, arm.section)
            shutil.rmtree(probe)
            self._write()
        return self._steps[arm.name]

    def _write(self) -> None:
        text = json.dumps({"settings": self._settings, "measured_steps": self._steps}, indent=2)
        write_text(self._path, text + "\n")


def _make(run: Run, plan: _Plan, run_arm: RunArm, draw_arm: DrawArm) -> None:
    if run.arm.command == "generate":
        draw_arm(run)
        return
    config = config_of(plan.config, run, plan.steps(run, run_arm))
    begun = bool(checkpoint_folders(run.path / "checkpoints"))
    run_arm(run.arm.command, config, run.path, run.start, run.path if begun else None)


def _finished(run: Run) -> bool:
    if run.arm.command == "generate":
        return (run.path / "sheet.png").is_file()
    with suppress(OSError, ValueError):
        state: str = json.loads((run.path / "status.json").read_text(encoding="utf-8"))["state"]
        return state == "finished"
    return False


def _header(
    chosen: Study, options: StudyOptions, config: ExperimentConfig, runs: Sequence[Run]
) -> list[tuple[str, str]]:
    arms = dict.fromkeys(run.arm.name for run in runs if run.arm.role == "compared")
    each = f"{options.steps} steps" if options.steps else "as many steps as the preset says"
    if options.budget is not None:
        each = f"{options.budget:g} seconds of training"
    return [
        ("paper", chosen.paper),
        ("data", str(config.data.source)),
        ("arms", ", ".join(arms)),
        ("runs", f"{len(runs)}, {options.seeds} of each arm, each of {each}"),
        ("folder", str(options.out)),
    ]


def _written(
    chosen: Study,
    options: StudyOptions,
    config: ExperimentConfig,
    runs: Sequence[Run],
    results: list[ArmResult],
    metrics: list[Metric],
) -> StudyResult:
    content = {
        "study": chosen.name,
        "question": chosen.question,
        "paper": chosen.paper,
        "preset": config.name,
        "data": config.data.source,
        "seeds": options.seeds,
        "budget_seconds": options.budget,
        "steps": options.steps,
        "features": options.features,
        "samples": options.samples if any(run.arm.command == "generate" for run in runs) else None,
        "labels": {metric.key: metric.label for metric in metrics},
        "arms": [result.json() for result in results],
    }
    panels: list[Dots | Lines] = [*chosen.lines(runs), *dots(results, metrics)]
    texts = {
        RESULTS_FILE: json.dumps(content, indent=2, ensure_ascii=False) + "\n",
        TABLE_FILE: markdown(results, metrics),
        PLOT_FILE: plot(chosen.question, panels),
    }
    for name, text in texts.items():
        write_text(options.out / name, text)
    return StudyResult(chosen, results, metrics, content, tuple(options.out / name for name in texts))
