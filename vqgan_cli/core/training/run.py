"""What every training command does around its loop: processes, run folder, resuming, and how a run ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import Accelerator

from vqgan_cli.core.artifacts import MODEL_FILE
from vqgan_cli.core.config import ExperimentConfig, OptimisationConfig
from vqgan_cli.core.errors import OutputError, VqganError
from vqgan_cli.core.presets import dump
from vqgan_cli.core.processes import lost_process_named
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.checkpoints import (
    Checkpoint,
    checkpoint_folders,
    discard_after,
    load_newest,
)
from vqgan_cli.core.training.environment import record_session
from vqgan_cli.core.training.loop import NO_IMPROVEMENT, LoopSettings, Outcome
from vqgan_cli.core.training.run_folder import RunFolder
from vqgan_cli.core.training.setup import make_accelerator
from vqgan_cli.core.training.stopping import BY_SIGNAL, StopRequest, stopped
from vqgan_cli.core.training.trackers import keep_wandb_id, start_trackers

__all__ = [
    "RunOptions",
    "Session",
    "TrainResult",
    "finish",
    "loop_settings",
    "open_checkpoint",
    "open_session",
]


@dataclass(frozen=True)
class RunOptions:
    """What belongs to this call and not to the experiment.

    Attributes:
        out: run folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        resume_from: run or checkpoint folder to go on from.
        force: replace what is in ``out``.
        allow_change: go on although batch size or process count differ from the checkpoint's.
        max_seconds: stop after so much time, as if all steps were done.
        trackers: ``tensorboard`` or ``wandb``.
        resume_command: what to type to go on, for messages.
    """

    out: Path
    device: str = "auto"
    resume_from: Path | None = None
    force: bool = False
    allow_change: bool = False
    max_seconds: float | None = None
    trackers: tuple[str, ...] = ()
    resume_command: str = ""

    @property
    def continues_run(self) -> bool:
        """Whether the run in ``out`` itself goes on, rather than a new one that starts from another's checkpoint."""
        if self.resume_from is None:
            return False
        source = self.resume_from.resolve()
        return self.out.resolve() in (source, *source.parents)


@dataclass(frozen=True)
class TrainResult:
    """Where the model is, how good it is, and which files could not be read."""

    model: Path
    outcome: Outcome
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Session:
    """The processes of a run, its folder (on the main process only), and whether it shall stop."""

    accelerator: Accelerator
    run: RunFolder | None
    stop: StopRequest

    def begin(
        self,
        config: ExperimentConfig,
        steps: int,
        start: int,
        best: Mapping[str, float],
        options: RunOptions,
        reporter: Reporter,
    ) -> None:
        """Take possession of the run folder, now that everything else is ready.

        Args:
            config: with what was found out about the data.
            steps: to be done in all.
            start: optimiser steps done before.
            best: what a resumed run's checkpoint says of its validations.
            options: of this call.
            reporter: who listens.

        Raises:
            TrackerError: one cannot be started; nothing has been written or replaced.
            OutputError: something cannot be removed or written.
        """
        if options.trackers:
            start_trackers(self.accelerator, options.out, config, start, goes_on=options.continues_run)
        self.stop.at_once = False
        if self.run is None:
            return
        self.run.begin(dump(config))
        keep_wandb_id(self.accelerator, self.run.path)
        for path in discard_after(self.run.checkpoints, start):
            reporter.warning(f"removed checkpoint {path.name!r}, which is beyond step {start}")
        # Before anybody reads what is there, as the report does that follows.
        self.run.rewind(start, int(best.get("validated", start)))
        record_session(self.run.path, self.accelerator, start)
        self.run.write_status("running", step=start, steps=steps, resume=options.resume_command)


@contextmanager
def open_session(settings: OptimisationConfig, options: RunOptions, reporter: Reporter) -> Iterator[Session]:
    """Start the processes and lock the run folder; whatever ends the run, its status says so.

    Raises:
        UsageError: device or tracker are not available.
        OutputError: the run folder cannot be used.
    """

    def tell(reason: str) -> None:
        now = (
            "before the first step" if stop.at_once else "saving after this step (Ctrl-C again stops at once)"
        )
        reporter.warning(f"{reason}: {now}")

    with StopRequest(options.max_seconds, tell, at_once=True) as stop:
        accelerator = make_accelerator(settings, options.device, options.trackers, options.out)
        run: RunFolder | None = None
        try:
            if accelerator.is_main_process:
                run = RunFolder(options.out, resume=options.continues_run, force=options.force)
            with lost_process_named(f"go on from the last checkpoint with: {options.resume_command}"):
                accelerator.wait_for_everyone()
                yield Session(accelerator, run, stop)
        except BaseException as error:
            if run is not None and run.state == "running":
                with suppress(OutputError):  # a full disk must not hide why
                    _write_failure(run, error, options.resume_command)
            raise
        finally:
            # Not end_training, which ends the group of processes too: the model would be the last to hold it, and free
            # it with the interpreter's lock in hand, for which a thread of gloo's may wait. It ends with the process.
            try:
                for tracker in accelerator.trackers:
                    tracker.finish()
            finally:
                if run is not None:
                    run.close()


def _write_failure(run: RunFolder, error: BaseException, resume_command: str) -> None:
    """Say why a run ended in disorder, and how to go on from its last checkpoint if there is one."""
    twice = isinstance(error, KeyboardInterrupt)
    checkpoints = checkpoint_folders(run.checkpoints)
    run.write_status(
        "failed",
        reason="interrupted twice, so the last step is not saved"
        if twice
        else str(error) or type(error).__name__,
        hint=error.hint if isinstance(error, VqganError) else None,
        checkpoint=checkpoints[-1].name if checkpoints else None,
        resume=resume_command if checkpoints else None,
    )


def loop_settings(
    settings: OptimisationConfig,
    samples_per_step: int,
    *,
    section: str,
    unit: str = "images",
    patience: int = 0,
) -> LoopSettings:
    """The loop's part of a section of the config."""
    return LoopSettings(
        steps=settings.steps,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        samples_per_step=samples_per_step,
        log_every=settings.log_every,
        sample_every=settings.sample_every,
        validate_every=settings.validate_every,
        checkpoint_every=settings.checkpoint_every,
        keep_checkpoints=settings.keep_checkpoints,
        section=section,
        unit=unit,
        patience=patience,
    )


def open_checkpoint(source: Path, reporter: Reporter) -> tuple[Checkpoint, str]:
    """The newest good checkpoint of a run or checkpoint folder, and its path.

    Raises:
        CheckpointError: there is none.
    """
    folder = source / "checkpoints" if (source / "checkpoints").is_dir() else source
    saved, found, passed_over = load_newest(folder)
    for message in passed_over:
        reporter.warning(f"passed over: {message}")
    return saved, str(found)


def finish(
    options: RunOptions,
    run: RunFolder | None,
    outcome: Outcome,
    failures: list[tuple[str, str]],
    steps: int,
) -> TrainResult:
    """Write the last status.

    Raises:
        StoppedError: a signal ended the run; everything is saved.
    """
    early = outcome.reason not in ("", NO_IMPROVEMENT)
    if run is not None:
        run.write_status(
            "stopped" if early else "finished",
            reason=outcome.reason or "all steps done",
            step=outcome.step,
            steps=steps,
            resume=options.resume_command if early else None,
            validation=outcome.validation,
            unreadable_files=[{"path": path, "reason": reason} for path, reason in failures],
        )
    if outcome.reason in BY_SIGNAL:
        raise stopped(
            outcome.reason,
            f"after step {outcome.step} of {steps}; everything is saved in {str(options.out)!r}",
            hint=f"go on with: {options.resume_command}",
        )
    return TrainResult(options.out / MODEL_FILE, outcome, failures)
