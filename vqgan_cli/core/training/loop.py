"""The loop that all trainers share: steps, log, validation, samples, checkpoints, and orderly stops."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from vqgan_cli.core.cards.writing import write_card
from vqgan_cli.core.errors import DivergedError, MemoryLimitError
from vqgan_cli.core.memory import is_out_of_memory
from vqgan_cli.core.reporting import Progress, Reporter
from vqgan_cli.core.training.checkpoints import Checkpoint, save
from vqgan_cli.core.training.code_counts import CodeCounts, write_code_counts
from vqgan_cli.core.training.measure import MeanMetrics, StepClock, peak_memory_gb
from vqgan_cli.core.training.run_folder import RunFolder
from vqgan_cli.core.training.stopping import BY_SIGNAL, TIME_LIMIT, StopRequest
from vqgan_cli.core.training.trackers import log_picture

__all__ = [
    "NO_IMPROVEMENT",
    "Experiment",
    "LoopSettings",
    "Outcome",
    "StepReport",
    "restore_random_state",
    "train",
]

NO_IMPROVEMENT = "no improvement"
"""Reason of a run that ended because validation did not get better any more."""

MAX_SKIPPED_IN_A_ROW = 10
_STEPS_BEFORE_ESTIMATE = 20
_SECONDS_BEFORE_ESTIMATE = 30.0


@dataclass(frozen=True)
class LoopSettings:
    """How often things happen, in optimiser steps; 0 means only at the end."""

    steps: int
    batch_size: int
    accumulate: int
    samples_per_step: int
    log_every: int
    sample_every: int
    validate_every: int
    checkpoint_every: int
    keep_checkpoints: int
    section: str = "train_ae"  # of the config, for messages
    unit: str = "images"
    patience: int = 0  # validations without a better one before the run ends; 0: as many as there are


@dataclass(frozen=True)
class StepReport:
    """Scalars of one micro-batch, detached, and whether its update was refused because it was not finite."""

    metrics: dict[str, torch.Tensor]
    skipped: bool


@dataclass(frozen=True)
class Outcome:
    """Where a run ended. ``reason`` is empty when all steps are done."""

    step: int
    reason: str
    validation: dict[str, float]


class Experiment(ABC):
    """What is trained. The methods run on every process unless they say otherwise."""

    @abstractmethod
    def micro_step(self, batch: Any, step: int) -> StepReport:
        """Train on one micro-batch of optimiser step ``step`` (from 0)."""

    @abstractmethod
    def finish_step(self, step: int) -> None:
        """Called when the weights have moved for the ``step``-th time (from 1)."""

    @abstractmethod
    def interval_metrics(self) -> dict[str, float]:
        """Values over the steps since the last call that are no plain means, such as codebook usage."""

    @abstractmethod
    def validate(self, stop: StopRequest) -> dict[str, float]:
        """Metrics of the model that would be saved; may end early when asked to stop."""

    def validation_codes(self) -> npt.NDArray[np.int64] | None:
        """How often the newest validation used each code, [K]; None where that is not counted."""
        return None

    @abstractmethod
    def better(self, new: Mapping[str, float], old: Mapping[str, float]) -> bool:
        """Whether a validation is better than the best so far."""

    def gather(self, *, optimizer: bool = False) -> None:  # noqa: B027 - most have nothing to gather
        """Bring together, before the main process saves something, what is divided among the processes.

        Args:
            optimizer: for a checkpoint, which holds the optimizer's state too.
        """

    @abstractmethod
    def save_samples(self, path: Path, stop: StopRequest) -> None:
        """Write a picture of what the model can do; leaves it undone when asked to stop. Main process only."""

    @abstractmethod
    def save_model(self, path: Path, step: int, validation: Mapping[str, float]) -> None:
        """Write the model that other commands load. Main process only."""

    @abstractmethod
    def checkpoint(self, step: int) -> Checkpoint:
        """Everything needed to go on, except the random states, which the loop keeps. Main process only."""


def train(
    experiment: Experiment,
    batches: Iterator[Any],
    settings: LoopSettings,
    *,
    accelerator: Accelerator,
    run: RunFolder | None,
    stop: StopRequest,
    reporter: Reporter,
    start: int = 0,
    best: Mapping[str, float] | None = None,
) -> Outcome:
    """Run the loop until all steps are done or something asks to stop.

    Args:
        experiment: what is trained.
        batches: endless micro-batches, from the position that belongs to ``start``.
        settings: intervals.
        accelerator: the processes.
        run: where things are written; given on the main process only.
        stop: signals and the time limit.
        reporter: who listens.
        start: optimiser steps done before.
        best: what a resumed run's checkpoint says of its validations.

    Raises:
        DivergedError: too many updates in a row were not finite.
        MemoryLimitError: the device ran out of memory.
    """
    loop = _Loop(experiment, settings, accelerator, run, stop, reporter, start, dict(best or {}))
    try:
        return loop.run_until_done(batches)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(
            f"out of memory on {accelerator.device} after step {loop.step}, with --batch-size {settings.batch_size}",
            hint=_less_memory(settings),
        ) from error


def _less_memory(settings: LoopSettings) -> str:
    """What to change so that a step needs less."""
    network = "tokenizer" if settings.section == "train_ae" else "transformer"
    other = f"--precision bf16 or --set {network}.gradient_checkpointing=true"
    if settings.batch_size == 1:
        return f"try {other}"
    half = f"--batch-size {settings.batch_size // 2} --set {settings.section}.accumulate={2 * settings.accumulate}"
    return f"half as much at a time, as many in a step: {half}; or try {other}"


class _Loop:
    def __init__(
        self,
        experiment: Experiment,
        settings: LoopSettings,
        accelerator: Accelerator,
        run: RunFolder | None,
        stop: StopRequest,
        reporter: Reporter,
        start: int,
        best: dict[str, float],
    ) -> None:
        self.experiment, self.settings, self.accelerator = experiment, settings, accelerator
        self.run, self.stop, self.reporter = run, stop, reporter
        self.step = self.start = start
        self.best = best
        self.stale = int(best.pop("stale", 0))  # validations since the best
        self.validated = int(best.pop("validated", start))  # the step of the last one
        self.validation: dict[str, float] = {}
        self.means = MeanMetrics()
        self.skipped_in_a_row = 0
        self.checkpointed = -1
        self.gathered = -1
        self.estimated = False
        self.clock = StepClock(start)

    def run_until_done(self, batches: Iterator[Any]) -> Outcome:
        settings = self.settings
        reason = ""
        if self.validated != self.start and self.due(settings.validate_every):
            self.validate()  # a signal had cut it short
            self.save_model()
        with self.reporter.progress("training", settings.steps, "steps", done=self.start) as progress:
            while self.step < settings.steps:
                reason = self.stop.agreed(self.accelerator.device)
                if reason:
                    break
                self.one_step(batches)
                self.periodic_work(progress)
                if 0 < settings.patience <= self.stale:
                    reason = NO_IMPROVEMENT
                    break
        # An interrupted run saves at once; one that ran out of time has a model to be judged.
        if reason in ("", TIME_LIMIT, NO_IMPROVEMENT):
            if reason != NO_IMPROVEMENT:  # which a validation has just found
                self.validate()
            self.save_samples()
            meanwhile = self.stop.agreed(self.accelerator.device)
            reason = meanwhile if meanwhile in BY_SIGNAL else reason
        self.save_checkpoint()
        self.save_model()
        return Outcome(self.step, reason, self.validation)

    def one_step(self, batches: Iterator[Any]) -> None:
        skipped = False
        for _ in range(self.settings.accumulate):
            report = self.experiment.micro_step(next(batches), self.step)
            self.means.add(report.metrics)
            skipped = skipped or report.skipped
        self.step += 1
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise DivergedError(
                f"the loss or its gradient was NaN or infinite in {MAX_SKIPPED_IN_A_ROW} steps in a row, up to step "
                f"{self.step}; no such update was made, and the last checkpoint is kept",
                hint=f"resume with a lower rate: --resume --set {self.settings.section}.learning_rate=..., or set "
                f"{self.settings.section}.clip_norm",
            )
        self.experiment.finish_step(self.step)

    def periodic_work(self, progress: Progress) -> None:
        step, settings = self.step, self.settings
        if step % settings.log_every == 0 or step == settings.steps:
            self.log(progress)
        else:
            progress.update(step)
        if not self.estimated and step < settings.steps:
            seconds = self.clock.seconds_per_step(step)
            taken = step - self.start
            if taken >= _STEPS_BEFORE_ESTIMATE or taken * seconds > _SECONDS_BEFORE_ESTIMATE:
                self.estimated = True
                self.reporter.info(self.estimate(seconds))
        if self.due(settings.validate_every):
            self.validate()
            self.save_model()
        if self.due(settings.sample_every):
            self.save_samples()
        # While no update is made, checkpoints would only take the place of those before things went wrong.
        if self.due(settings.checkpoint_every) and not self.skipped_in_a_row:
            self.save_checkpoint()

    def due(self, every: int) -> bool:
        """Whether it is time for what happens at intervals; at the last step it happens anyway."""
        return every > 0 and self.step > 0 and self.step % every == 0 and self.step < self.settings.steps

    def estimate(self, seconds: float) -> str:
        """A sentence on speed, time and memory, from the seconds per step so far."""
        hours, minutes = divmod(max(1, round((self.settings.steps - self.step) * seconds / 60)), 60)
        left = f"{hours} h {minutes} min left" if hours else f"{minutes} min left"
        if hours >= 48 and self.accelerator.device.type == "cpu":
            left = f"{hours / 24:.0f} days left (--preset demo is written for CPUs, --max-time sets an end)"
        return (
            f"measured so far: {self.settings.samples_per_step / seconds:.3g} {self.settings.unit}/s, "
            f"{peak_memory_gb(self.accelerator.device):.1f} GB of memory, about {left}"
        )

    def log(self, progress: Progress) -> None:
        values = self.means.drain(self.accelerator)
        values |= self.experiment.interval_metrics()
        values[f"{self.settings.unit}_per_second"] = (
            self.clock.rate(self.step) * self.settings.samples_per_step
        )
        values["memory_gb"] = peak_memory_gb(self.accelerator.device)
        if self.skipped_in_a_row:
            values["skipped_in_a_row"] = self.skipped_in_a_row
        if self.run is not None:
            with self.clock.paused():
                self.run.log(self.step, {name: _finite(value) for name, value in values.items()})
        self.accelerator.log(values, step=self.step)
        progress.update(self.step, {name: f"{value:.4g}" for name, value in values.items()})

    def validate(self) -> None:
        with self.clock.paused():
            result = self.experiment.validate(self.stop)
        if not result:
            return
        self.validation = result
        self.validated = self.step
        self.accelerator.log({f"validation/{name}": value for name, value in result.items()}, step=self.step)
        self.reporter.info(
            f"step {self.step}: validation "
            + ", ".join(f"{name} {value:.4g}" for name, value in result.items())
        )
        # Decided alike on all processes: the values are.
        improved = not self.best or self.experiment.better(result, self.best)
        # One that a time limit brings about is not one more: the run must not end earlier for having been stopped.
        self.stale = 0 if improved else self.stale + self.due(self.settings.validate_every)
        if improved:
            self.best = dict(result)
        if improved:
            self.gather()
        if self.run is None:
            return
        counts = self.experiment.validation_codes()
        if counts is not None:
            write_code_counts(self.run.path, CodeCounts(self.step, counts))
        with self.clock.paused():
            self.run.log(self.step, {f"validation/{name}": _finite(value) for name, value in result.items()})
        if improved:
            self.experiment.save_model(self.run.path / "best.safetensors", self.step, result)

    def gather(self) -> None:
        """Once per step, whatever is then saved of it."""
        if self.gathered != self.step:
            self.gathered = self.step
            self.experiment.gather()

    def save_samples(self) -> None:
        if self.skipped_in_a_row:  # nothing can be drawn from probabilities that are no numbers
            return
        with self.clock.paused():
            self.gather()
            if self.run is not None:
                path = self.run.samples / f"step-{self.step:08d}.png"
                self.experiment.save_samples(path, self.stop)
                log_picture(self.accelerator, path, self.step)

    def save_model(self) -> None:
        self.gather()
        if self.run is not None:
            path = self.run.path / "model.safetensors"
            self.experiment.save_model(path, self.step, self.validation)
            if problem := write_card(path):
                self.reporter.warning(problem)

    def save_checkpoint(self) -> None:
        if self.checkpointed == self.step:
            return
        self.checkpointed = self.step
        with self.clock.paused():
            states = gather_object([random_state(self.accelerator.device)])
            self.experiment.gather(optimizer=True)
            if self.run is None:
                return
            checkpoint = self.experiment.checkpoint(self.step)
            for rank, state in enumerate(states):
                checkpoint.tensors[f"random-{rank}"] = state
            checkpoint.facts["best"] = {**self.best, "stale": self.stale, "validated": self.validated}
            save(self.run.checkpoints, checkpoint, keep=self.settings.keep_checkpoints)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's generators on this process."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set torch's generators on this process."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def _finite(value: float) -> float | str:
    """JSON has no NaN; a name says what happened."""
    return value if math.isfinite(value) else str(value)
