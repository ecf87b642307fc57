"""``vqgan train-ae``: from images to a trained tokenizer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.dataset import make_loader
from vqgan_cli.core.data.sampler import SeededBatchSampler
from vqgan_cli.core.data.sources import SyntheticSource
from vqgan_cli.core.data.training_sets import TrainingSets, open_training_sets
from vqgan_cli.core.errors import OutputError, StoppedError, WeightsError
from vqgan_cli.core.presets import dump
from vqgan_cli.core.pretrained import load_perceptual
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.autoencoder_experiment import AutoencoderExperiment, describe
from vqgan_cli.core.training.checkpoints import discard_after, load_newest
from vqgan_cli.core.training.loop import LoopSettings, Outcome, restore_random_state, train
from vqgan_cli.core.training.resume import check_resumable
from vqgan_cli.core.training.run_folder import RunFolder
from vqgan_cli.core.training.setup import make_accelerator
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["TrainAEOptions", "TrainAEResult", "train_ae"]


@dataclass(frozen=True)
class TrainAEOptions:
    """What belongs to this call and not to the experiment.

    Attributes:
        out: run folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        resume_from: run or checkpoint folder to go on from.
        init_from: tokenizer whose weights are the start.
        force: replace what is in ``out``.
        allow_change: go on although batch size or process count differ from the checkpoint's.
        max_seconds: stop after so much time, as if all steps were done.
        trackers: ``tensorboard`` or ``wandb``.
        resume_command: what to type to go on, for messages.
    """

    out: Path
    device: str = "auto"
    resume_from: Path | None = None
    init_from: Path | None = None
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
class TrainAEResult:
    """Where the model is, how good it is, and which files could not be read."""

    model: Path
    outcome: Outcome
    failures: list[tuple[str, str]] = field(default_factory=list)


def train_ae(config: ExperimentConfig, options: TrainAEOptions, reporter: Reporter) -> TrainAEResult:
    """Train a tokenizer.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when everything is saved.
    """
    with StopRequest(
        options.max_seconds,
        lambda reason: reporter.warning(f"{reason}: saving after this step (Ctrl-C again stops at once)"),
    ) as stop:
        accelerator = make_accelerator(config.train_ae, options.device, options.trackers, options.out)
        run: RunFolder | None = None
        try:
            if accelerator.is_main_process:
                run = RunFolder(options.out, resume=options.continues_run, force=options.force)
            accelerator.wait_for_everyone()
            return _train(config, options, reporter, accelerator, run, stop)
        except BaseException as error:
            if run is not None and run.state == "running":
                with suppress(OutputError):  # a full disk must not hide why
                    run.write_status("failed", reason=str(error) or type(error).__name__)
            raise
        finally:
            accelerator.end_training()
            if run is not None:
                run.close()


def _train(
    config: ExperimentConfig,
    options: TrainAEOptions,
    reporter: Reporter,
    accelerator: Accelerator,
    run: RunFolder | None,
    stop: StopRequest,
) -> TrainAEResult:
    settings = config.train_ae
    torch.manual_seed(settings.seed)  # the same weights on every process
    sets = open_training_sets(config.data, seed=settings.seed)
    with accelerator.main_process_first():  # one download, not one per process
        config, perceptual = _perceptual_or_without(config, sets, reporter)
    experiment = AutoencoderExperiment(config, sets, perceptual, accelerator)

    samples_per_step = settings.batch_size * settings.accumulate * accelerator.num_processes
    start, seen = 0, 0
    best: dict[str, float] = {}
    if options.resume_from is not None:
        start, seen, best = _resume(experiment, options, samples_per_step, reporter)
    else:
        torch.manual_seed(settings.seed + 1000 * accelerator.process_index)  # dropout and noise differ
        if options.init_from is not None:
            experiment.start_from(options.init_from, reporter)
    experiment.samples_seen = seen
    experiment.samples_per_step = samples_per_step

    if run is not None:
        run.begin(dump(config))
        run.rewind_log(start)
        for path in discard_after(run.checkpoints, start):
            reporter.warning(f"removed checkpoint {path.name!r}, which is beyond step {start}")
        run.write_status("running", step=start, steps=settings.steps)
    if options.trackers:  # they write into the run folder, so it must be ours first
        accelerator.wait_for_everyone()
        accelerator.init_trackers("vqgan")
    reporter.facts(f"train-ae: {config.name}", describe(experiment, options.out, start))
    loader = make_loader(
        sets.train,
        SeededBatchSampler(
            len(sets.train),
            settings.batch_size,
            settings.seed,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            start=seen,
        ),
        workers=config.data.workers,
        seed=settings.seed,
        pin_memory=accelerator.device.type == "cuda",
    )
    outcome = train(
        experiment,
        iter(loader),
        LoopSettings(
            steps=settings.steps,
            accumulate=settings.accumulate,
            samples_per_step=samples_per_step,
            log_every=settings.log_every,
            sample_every=settings.sample_every,
            validate_every=settings.validate_every,
            checkpoint_every=settings.checkpoint_every,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        accelerator=accelerator,
        run=run,
        stop=stop,
        reporter=reporter,
        start=start,
        best=best,
    )
    failures = sorted(set(gather_object(list(experiment.failures))))
    return _finish(options, run, outcome, failures, settings.steps)


def _finish(
    options: TrainAEOptions,
    run: RunFolder | None,
    outcome: Outcome,
    failures: list[tuple[str, str]],
    steps: int,
) -> TrainAEResult:
    state = "stopped" if outcome.reason else "finished"
    if run is not None:
        run.write_status(
            state,
            reason=outcome.reason or "all steps done",
            step=outcome.step,
            steps=steps,
            resume=options.resume_command if outcome.reason else None,
            validation=outcome.validation,
            unreadable_files=[{"path": path, "reason": reason} for path, reason in failures],
        )
    if outcome.reason in ("interrupted", "terminated"):
        raise StoppedError(
            f"{outcome.reason} after step {outcome.step} of {steps}; everything is saved in {str(options.out)!r}",
            exit_code=130 if outcome.reason == "interrupted" else 143,
            hint=f"go on with: {options.resume_command}",
        )
    return TrainAEResult(options.out / "model.safetensors", outcome, failures)


def _perceptual_or_without(
    config: ExperimentConfig, sets: TrainingSets, reporter: Reporter
) -> tuple[ExperimentConfig, torch.nn.Module | None]:
    """The perceptual term; on built-in data a run goes on without weights that cannot be had."""
    try:
        return config, load_perceptual(config.train_ae.perceptual)
    except WeightsError as error:
        if not isinstance(sets.train.source, SyntheticSource):
            raise
        first = error.message.splitlines()[0]
        reporter.warning(f"training on built-in images without the perceptual term: {first}")
        without = config.train_ae.perceptual.model_copy(update={"kind": "none"})
        settings = config.train_ae.model_copy(update={"perceptual": without})
        return config.model_copy(update={"train_ae": settings}), None


def _resume(
    experiment: AutoencoderExperiment, options: TrainAEOptions, samples_per_step: int, reporter: Reporter
) -> tuple[int, int, dict[str, float]]:
    assert options.resume_from is not None
    folder = options.resume_from
    saved, found, passed_over = load_newest(
        folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    )
    for message in passed_over:
        reporter.warning(f"passed over: {message}")
    processes = experiment.accelerator.num_processes
    check_resumable(
        saved.facts, experiment.config, samples_per_step, processes, allow_change=options.allow_change
    )
    experiment.restore(saved)
    state = saved.tensors.get(f"random-{experiment.accelerator.process_index}")
    if state is not None:
        restore_random_state(state, experiment.accelerator.device)
    reporter.info(f"resumed from {str(found)!r} at step {saved.step}")
    return saved.step, int(saved.facts["samples_seen"]), saved.facts["best"]
