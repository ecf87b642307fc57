"""``vqgan train-transformer``: from a tokenizer and images, or their codes, to a prior that makes images."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vqgan_cli.core.artifacts import ModelInfo, load_tokenizer, read_model_info
from vqgan_cli.core.config import ExperimentConfig, FirstStageConfig
from vqgan_cli.core.data.sampler import SeededBatchSampler
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.run_report.live import keep_report
from vqgan_cli.core.sizes import nearest_multiples
from vqgan_cli.core.training.code_batches import code_batches
from vqgan_cli.core.training.code_sets import CodeSet
from vqgan_cli.core.training.loop import restore_random_state, train
from vqgan_cli.core.training.prior_data import (
    divide_images,
    encode_sets,
    make_map_encoder,
    with_found_classes,
)
from vqgan_cli.core.training.resume import refuse_changes
from vqgan_cli.core.training.run import (
    RunOptions,
    Session,
    TrainResult,
    finish,
    loop_settings,
    open_checkpoint,
    open_session,
)
from vqgan_cli.core.training.run_folder import CONDITION_FILE, TOKENIZER_FILE
from vqgan_cli.core.training.transformer_experiment import (
    TransformerExperiment,
    describe,
    saved_architecture,
)

__all__ = ["TrainTransformerOptions", "train_transformer"]


@dataclass(frozen=True)
class TrainTransformerOptions(RunOptions):
    """See `RunOptions`.

    Attributes:
        tokenizer: model file or run folder of the first stage.
        condition_tokenizer: the same of the maps' own tokenizer; None where they have none.
        size: side of the training square in pixels that was asked for; None: that of the tokenizer.
    """

    tokenizer: Path = Path()
    condition_tokenizer: Path | None = None
    size: int | None = None


def train_transformer(
    config: ExperimentConfig, options: TrainTransformerOptions, reporter: Reporter
) -> TrainResult:
    """Train a prior over the codes of a tokenizer.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when everything is saved.
    """
    info = read_model_info(options.tokenizer)
    condition = read_model_info(options.condition_tokenizer) if options.condition_tokenizer else None
    size = _size(config, options, [each for each in (info, condition) if each is not None], reporter)
    config = _with_tokenizers(config, info, condition, size)
    with open_session(config.train_transformer, options, reporter) as session:
        return _train(config, options, info, condition, reporter, session)


def _size(
    config: ExperimentConfig,
    options: TrainTransformerOptions,
    tokenizers: list[ModelInfo],
    reporter: Reporter,
) -> int:
    """Side of the training square: what was asked for, else that of the first tokenizer; says where they differ.

    Raises:
        UsageError: a tokenizer has no codes for such a square.
    """
    theirs, size = tokenizers[0].config.data.size, options.size or tokenizers[0].config.data.size
    for info in tokenizers if options.size else ():
        f = info.config.tokenizer.downsampling
        if size % f:
            nearest = " and ".join(each.partition("x")[0] for each in nearest_multiples(size, size, f))
            raise UsageError(
                f"data.size {size} is not a multiple of f = {f} of the tokenizer {str(info.path)!r}",
                hint=f"the nearest sizes are {nearest}",
            )
    if config.train_transformer.codes is not None or options.resume_from is not None:
        return size  # the codes have theirs, and what is resumed was told
    if size != theirs:
        reporter.info(f"training at {size}x{size}, as asked; the tokenizer was trained at {theirs}x{theirs}")
    elif "size" in config.data.model_fields_set and config.data.size != size:
        preset = config.data.size
        reporter.info(
            f"training at {size}x{size}, as the tokenizer was; the preset says data.size {preset}, which takes "
            f"--set data.size={preset}"
        )
    return size


def _require_size(codes: CodeSet, options: TrainTransformerOptions, f: int) -> None:
    """Refuse codes of another size than was asked for.

    Raises:
        UsageError: with the size that they have.
    """
    height, width = (side * f for side in codes.grid)
    if options.size is not None and (height, width) != (options.size, options.size):
        raise UsageError(
            f"data.size is {options.size}, and the codes are of {height}x{width} images (height x width)",
            hint="leave data.size out, or encode at that size",
        )


def _with_tokenizers(
    config: ExperimentConfig, info: ModelInfo, condition: ModelInfo | None, size: int
) -> ExperimentConfig:
    """The experiment with the architectures of the tokenizers that are there."""
    if info.config.data.kind != "image":
        raise UsageError(
            f"{str(info.path)!r} is a tokenizer of {info.config.data.kind} maps; the first stage of a transformer is "
            "one of pictures",
            hint="name one with --ae; that of the maps is --condition-ae",
        )
    resize = config.data.resize if config.data.resize > size else 0
    update: dict[str, Any] = {"size": size, "resize": resize, "kind": "image"}
    new_condition = config.condition
    if condition is not None:
        theirs = condition.config
        if theirs.data.kind != config.condition.kind:
            raise UsageError(
                f"{str(condition.path)!r} is a tokenizer of {theirs.data.kind!r} data, not of {config.condition.kind}"
            )
        update["maps"] = theirs.data.maps
        stage = FirstStageConfig(tokenizer=theirs.tokenizer, train_ae=theirs.train_ae)
        new_condition = config.condition.model_copy(update={"first_stage": stage})
    return config.model_copy(
        update={
            "data": config.data.model_copy(update=update),
            "tokenizer": info.config.tokenizer,
            "train_ae": info.config.train_ae,
            "condition": new_condition,
        }
    )


def _train(
    config: ExperimentConfig,
    options: TrainTransformerOptions,
    info: ModelInfo,
    condition: ModelInfo | None,
    reporter: Reporter,
    session: Session,
) -> TrainResult:
    settings, accelerator = config.train_transformer, session.accelerator
    tokenizer = load_tokenizer(info.path, accelerator.device)
    parts = divide_images(config, reporter)
    config = with_found_classes(config, parts, reporter)
    map_encoder = make_map_encoder(config, tokenizer, info, condition, accelerator.device)
    name, train_codes, held_out = encode_sets(
        config, parts, tokenizer, info.fingerprint, map_encoder, session, reporter
    )
    if settings.codes is not None and options.resume_from is None:
        _require_size(train_codes, options, tokenizer.downsampling)
    torch.manual_seed(settings.seed)  # the same weights on every process
    experiment = TransformerExperiment(
        config, train_codes, held_out, tokenizer, map_encoder, accelerator, data_name=name
    )
    images_per_step = settings.batch_size * settings.accumulate * accelerator.num_processes
    start, seen = 0, 0
    best: dict[str, float] = {}
    if options.resume_from is not None:
        start, seen, best = _resume(experiment, options, reporter)
    else:
        torch.manual_seed(settings.seed + 1000 * accelerator.process_index)  # dropout and noise differ
    experiment.samples_seen = seen
    experiment.samples_per_step = images_per_step

    session.begin(config, settings.steps, start, best, options, reporter)
    for name, used in ((TOKENIZER_FILE, info), (CONDITION_FILE, condition)):
        if session.run is not None and used is not None and not (options.out / name).exists():
            with staged_file(options.out / name) as staging:  # so that the run depends on no other
                shutil.copyfile(used.path, staging)
    keep_report(session.run, reporter)
    reporter.facts(f"train-transformer: {config.name}", describe(experiment, options.out, start))
    sampler = SeededBatchSampler(
        len(train_codes),
        settings.batch_size,
        settings.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        start=seen,
    )
    outcome = train(
        experiment,
        code_batches(train_codes, sampler, settings.seed),
        loop_settings(
            settings,
            images_per_step * experiment.spec.cells,
            section="train_transformer",
            unit="codes",
            patience=settings.patience,
        ),
        accelerator=accelerator,
        run=session.run,
        stop=session.stop,
        reporter=reporter,
        start=start,
        best=best,
    )
    failures = sorted({*train_codes.failed, *held_out.failed})
    return finish(options, session.run, outcome, failures, settings.steps)


def _resume(
    experiment: TransformerExperiment, options: TrainTransformerOptions, reporter: Reporter
) -> tuple[int, int, dict[str, float]]:
    assert options.resume_from is not None
    saved, found = open_checkpoint(options.resume_from, reporter)
    refuse_changes(
        saved.facts,
        saved_architecture(saved),
        experiment.architecture(),
        experiment.config,
        "train_transformer",
        experiment.accelerator.num_processes,
        allow_change=options.allow_change,
    )
    experiment.restore(saved)
    state = saved.tensors.get(f"random-{experiment.accelerator.process_index}")
    if state is not None:
        restore_random_state(state, experiment.accelerator.device)
    reporter.info(f"resumed from {found!r} at step {saved.step}")
    return saved.step, int(saved.facts["samples_seen"]), saved.facts["best"]
