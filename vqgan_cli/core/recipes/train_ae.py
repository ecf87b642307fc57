"""``vqgan train-ae``: from images to a trained tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import gather_object

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.dataset import make_loader
from vqgan_cli.core.data.sampler import SeededBatchSampler
from vqgan_cli.core.data.sources import SyntheticSource
from vqgan_cli.core.data.training_sets import TrainingSets, found_classes, open_training_sets
from vqgan_cli.core.errors import WeightsError
from vqgan_cli.core.pretrained import load_perceptual
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.run_report.live import keep_report
from vqgan_cli.core.training.autoencoder_experiment import AutoencoderExperiment, describe
from vqgan_cli.core.training.loop import restore_random_state, train
from vqgan_cli.core.training.resume import check_resumable
from vqgan_cli.core.training.run import (
    RunOptions,
    Session,
    TrainResult,
    finish,
    loop_settings,
    open_checkpoint,
    open_session,
)

__all__ = ["TrainAEOptions", "train_ae"]


@dataclass(frozen=True)
class TrainAEOptions(RunOptions):
    """See `RunOptions`.

    Attributes:
        init_from: tokenizer whose weights are the start.
    """

    init_from: Path | None = None


def train_ae(config: ExperimentConfig, options: TrainAEOptions, reporter: Reporter) -> TrainResult:
    """Train a tokenizer.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when everything is saved.
    """
    with open_session(config.train_ae, options, reporter) as session:
        return _train(config, options, reporter, session)


def _train(
    config: ExperimentConfig, options: TrainAEOptions, reporter: Reporter, session: Session
) -> TrainResult:
    accelerator = session.accelerator
    settings = config.train_ae
    torch.manual_seed(settings.seed)  # the same weights on every process
    sets = open_training_sets(config.data, seed=settings.seed)
    config = _with_classes(config, sets, reporter)
    with accelerator.main_process_first():  # one download, not one per process
        config, perceptual = _perceptual_or_without(config, sets, reporter)
    experiment = AutoencoderExperiment(config, sets, perceptual, accelerator)

    samples_per_step = settings.batch_size * settings.accumulate * accelerator.num_processes
    start, seen = 0, 0
    best: dict[str, float] = {}
    if options.resume_from is not None:
        start, seen, best = _resume(experiment, options, reporter)
    else:
        torch.manual_seed(settings.seed + 1000 * accelerator.process_index)  # dropout and noise differ
        if options.init_from is not None:
            experiment.start_from(options.init_from, reporter)
    experiment.samples_seen = seen
    experiment.samples_per_step = samples_per_step

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
    session.begin(config, settings.steps, start, best, options, reporter)
    keep_report(session.run, reporter)
    reporter.facts(f"train-ae: {config.name}", describe(experiment, options.out, start))
    outcome = train(
        experiment,
        iter(loader),
        loop_settings(settings, samples_per_step, section="train_ae"),
        accelerator=accelerator,
        run=session.run,
        stop=session.stop,
        reporter=reporter,
        start=start,
        best=best,
    )
    failures = sorted(set(gather_object(list(experiment.failures))))
    return finish(options, session.run, outcome, failures, settings.steps)


def _with_classes(config: ExperimentConfig, sets: TrainingSets, reporter: Reporter) -> ExperimentConfig:
    """The experiment with channels for the classes that label maps show, where nobody gave their number."""
    if config.data.kind != "segmentation" or config.data.maps.classes:
        return config
    found = found_classes(sets.train.source, sets.train.indices)
    reporter.info(f"{found} classes found in the label maps")
    classes = max(found, config.tokenizer.in_channels)
    maps = config.data.maps.model_copy(update={"classes": classes})
    channels = {"in_channels": classes, "out_channels": classes}
    tokenizer = config.tokenizer.model_copy(update=channels)
    condition = config.condition
    if condition.first_stage is not None and condition.kind == "segmentation":
        # It is of the same maps, and the whole experiment is checked again where the model is loaded.
        stage = condition.first_stage
        stage = stage.model_copy(update={"tokenizer": stage.tokenizer.model_copy(update=channels)})
        condition = condition.model_copy(update={"first_stage": stage})
    data = config.data.model_copy(update={"maps": maps})
    return config.model_copy(update={"data": data, "tokenizer": tokenizer, "condition": condition})


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
    experiment: AutoencoderExperiment, options: TrainAEOptions, reporter: Reporter
) -> tuple[int, int, dict[str, float]]:
    assert options.resume_from is not None
    saved, found = open_checkpoint(options.resume_from, reporter)
    processes = experiment.accelerator.num_processes
    check_resumable(saved.facts, experiment.config, processes, allow_change=options.allow_change)
    experiment.restore(saved)
    state = saved.tensors.get(f"random-{experiment.accelerator.process_index}")
    if state is not None:
        restore_random_state(state, experiment.accelerator.device)
    reporter.info(f"resumed from {found!r} at step {saved.step}")
    return saved.step, int(saved.facts["samples_seen"]), saved.facts["best"]
