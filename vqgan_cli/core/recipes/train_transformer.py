"""``vqgan train-transformer``: from a tokenizer and images, or their codes, to a prior that makes images."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from vqgan_cli.core.artifacts import ModelInfo, load_tokenizer, read_model_info
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig, FirstStageConfig
from vqgan_cli.core.data.labels import labels_of, read_labels
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.pairs import Pairs
from vqgan_cli.core.data.sampler import SeededBatchSampler
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.training_sets import Divided, divide_pairs, divide_source, found_classes
from vqgan_cli.core.errors import DataError, StoppedError, UsageError
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.code_sets import CodeSet, cached_codes, read_codes
from vqgan_cli.core.training.loop import restore_random_state, train
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
from vqgan_cli.core.training.transformer_experiment import TransformerExperiment, code_batches, describe

__all__ = ["TrainTransformerOptions", "train_transformer"]


@dataclass(frozen=True)
class TrainTransformerOptions(RunOptions):
    """See `RunOptions`.

    Attributes:
        tokenizer: model file or run folder of the first stage.
        condition_tokenizer: the same of the maps' own tokenizer; None where they have none.
    """

    tokenizer: Path = Path()
    condition_tokenizer: Path | None = None


def train_transformer(
    config: ExperimentConfig, options: TrainTransformerOptions, reporter: Reporter
) -> TrainResult:
    """Train a prior over the codes of a tokenizer.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when everything is saved.
    """
    info = read_model_info(options.tokenizer)
    condition = read_model_info(options.condition_tokenizer) if options.condition_tokenizer else None
    config = _with_tokenizers(config, info, condition)
    with open_session(config.train_transformer, options, reporter) as session:
        return _train(config, options, info, condition, reporter, session)


def _with_tokenizers(
    config: ExperimentConfig, info: ModelInfo, condition: ModelInfo | None
) -> ExperimentConfig:
    """The experiment with the architectures and the image size of the tokenizers that are there."""
    if info.config.data.kind != "image":
        raise UsageError(
            f"{str(info.path)!r} is a tokenizer of {info.config.data.kind} maps; the first stage of a transformer is "
            "one of pictures",
            hint="name one with --ae; that of the maps is --condition-ae",
        )
    size = info.config.data.size
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
    parts = _parts(config, reporter)
    config = _with_classes(config, parts, reporter)
    map_encoder = _map_encoder(config, tokenizer, info, condition, accelerator.device)
    with accelerator.main_process_first():  # the others find the codes in the cache
        try:
            name, train_codes, held_out = _code_sets(
                config, parts, tokenizer, info.fingerprint, map_encoder, session, reporter
            )
        except InterruptedError:
            reason = session.stop.pending() or "interrupted"
            raise StoppedError(
                f"{reason} while encoding; nothing is kept of it",
                exit_code=143 if reason == "terminated" else 130,
            ) from None
    torch.manual_seed(settings.seed)  # the same weights on every process
    experiment = TransformerExperiment(
        config, train_codes, held_out, tokenizer, map_encoder, accelerator, data_name=name
    )
    images_per_step = settings.batch_size * settings.accumulate * accelerator.num_processes
    start, seen = 0, 0
    best: dict[str, float] = {}
    if options.resume_from is not None:
        start, seen, best = _resume(experiment, options, images_per_step, reporter)
    else:
        torch.manual_seed(settings.seed + 1000 * accelerator.process_index)  # dropout and noise differ
    experiment.samples_seen = seen
    experiment.samples_per_step = images_per_step

    session.begin(config, settings.steps, start, options, reporter)
    for name, used in ((TOKENIZER_FILE, info), (CONDITION_FILE, condition)):
        if session.run is not None and used is not None and not (options.out / name).exists():
            with staged_file(options.out / name) as staging:  # so that the run depends on no other
                shutil.copyfile(used.path, staging)
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


def _parts(config: ExperimentConfig, reporter: Reporter) -> Divided[ImageSource] | None:
    """Training and validation images, with their maps if the condition is one; None to train on a codes file."""
    settings, kind = config.train_transformer, config.condition.map_kind
    if settings.codes is not None:
        if kind is not None:
            raise UsageError(
                f"a codes file has no {kind} maps",
                hint="name the images and their maps with --data, without --codes",
            )
        return None
    if kind is None:
        return divide_source(config.data, seed=settings.seed)
    parts = divide_pairs(config.data, kind, seed=settings.seed)
    for pairs in {id(each): each for each in (parts.train, parts.validation)}.values():
        if pairs.unmatched:
            shown = ", ".join(map(repr, pairs.unmatched[:5])) + (", ..." if len(pairs.unmatched) > 5 else "")
            reporter.warning(
                f"{len(pairs.unmatched)} files of {pairs.name!r} have no partner, left out: {shown}"
            )
    return cast("Divided[ImageSource]", parts)


def _with_classes(
    config: ExperimentConfig, parts: Divided[ImageSource] | None, reporter: Reporter
) -> ExperimentConfig:
    """The experiment with the number of classes that label maps show, where they are codes and nobody gave it."""
    maps = config.data.maps
    if config.condition.kind != "segmentation" or config.condition.tokenizer != "none" or maps.classes:
        return config
    assert parts is not None
    assert isinstance(parts.train, Pairs)
    classes = found_classes(parts.train.maps, parts.train_indices)
    reporter.info(f"{classes} classes found in the label maps")
    maps = maps.model_copy(update={"classes": classes})
    return config.model_copy(update={"data": config.data.model_copy(update={"maps": maps})})


def _map_encoder(
    config: ExperimentConfig,
    tokenizer: Tokenizer,
    info: ModelInfo,
    condition: ModelInfo | None,
    device: torch.device,
) -> MapEncoder | None:
    kind = config.condition.map_kind
    if kind is None:
        return None
    map_kind = build_map_kind(kind, config.data.maps)
    if condition is not None:
        own = load_tokenizer(condition.path, device)
        return MapEncoder(map_kind, own, tokenizer.downsampling, condition.fingerprint)
    if config.condition.tokenizer == "same":
        return MapEncoder(map_kind, tokenizer, tokenizer.downsampling, info.fingerprint)
    if config.condition.tokenizer == "own":
        raise UsageError(
            f"the {kind} maps have a tokenizer of their own, and none is named",
            hint="name it with --condition-ae",
        )
    return MapEncoder(map_kind, None, tokenizer.downsampling)


def _code_sets(
    config: ExperimentConfig,
    parts: Divided[ImageSource] | None,
    tokenizer: Tokenizer,
    fingerprint: str,
    map_encoder: MapEncoder | None,
    session: Session,
    reporter: Reporter,
) -> tuple[str, CodeSet, CodeSet]:
    """Name of the data, codes to train on, codes to validate on."""
    settings = config.train_transformer
    if settings.codes is not None:
        everything = read_codes(Path(settings.codes), fingerprint, tokenizer.codebook_size)
        _require_classes(config, settings.codes, everything.classes, everything.labels)
        count = len(everything)
        held_out = min(round(count * config.data.validation_fraction) or 1, config.data.validation_images)
        if count <= held_out:
            raise DataError(f"{settings.codes!r} holds {count} image(s), too few to train and to validate")
        order = np.random.default_rng((settings.seed, count)).permutation(count)
        chosen = np.sort(order[held_out:])[: settings.max_images or None]
        return settings.codes, everything.part(chosen), everything.part(np.sort(order[:held_out]))

    assert parts is not None
    classes, labels = _labels(config, parts.train)
    val_classes, val_labels = _labels(config, parts.validation)
    if classes != val_classes:
        unknown = sorted(set(val_classes) - set(classes))
        if unknown:
            raise DataError(
                f"the validation images have a class that the training images lack: {unknown[0]!r}"
            )
        val_labels = [classes.index(val_classes[label]) for label in val_labels]

    def encoded(
        name: str, source: ImageSource, indices: np.ndarray, labels: list[int], views: str
    ) -> CodeSet:
        return cached_codes(
            source,
            indices,
            tokenizer,
            fingerprint,
            size=config.data.size,
            side=config.data.resize,
            augmentation=views,  # type: ignore[arg-type]
            labels=labels,
            classes=classes,
            stop=session.stop,
            reporter=reporter,
            map_encoder=map_encoder,
            what=name,
        )

    indices = parts.train_indices[: settings.max_images or None]
    train_codes = encoded("encoding", parts.train, indices, labels, settings.augmentation)
    held_out_codes = encoded(
        "encoding validation", parts.validation, parts.validation_indices, val_labels, "none"
    )
    return parts.train.name, train_codes, held_out_codes


def _labels(config: ExperimentConfig, source: ImageSource) -> tuple[tuple[str, ...], list[int]]:
    if config.condition.kind == "class" and config.condition.labels is not None:
        return labels_of(source, read_labels(Path(config.condition.labels)))
    labels = [source.label(index) for index in range(len(source))]
    _require_classes(config, source.name, source.classes, np.asarray(labels))
    return tuple(source.classes), labels


def _require_classes(
    config: ExperimentConfig, name: str, classes: tuple[str, ...], labels: np.ndarray
) -> None:
    if config.condition.kind == "class" and (not classes or (labels < 0).any()):
        raise UsageError(
            f"{name!r} has no classes: they are the folders that images lie in",
            hint="name them in a file with --labels, or train without: --unconditional",
        )


def _resume(
    experiment: TransformerExperiment,
    options: TrainTransformerOptions,
    images_per_step: int,
    reporter: Reporter,
) -> tuple[int, int, dict[str, float]]:
    assert options.resume_from is not None
    saved, found = open_checkpoint(options.resume_from, reporter)
    refuse_changes(
        saved.facts,
        saved.facts.get("architecture", {}),
        experiment.architecture(),
        images_per_step,
        experiment.accelerator.num_processes,
        allow_change=options.allow_change,
    )
    experiment.restore(saved)
    state = saved.tensors.get(f"random-{experiment.accelerator.process_index}")
    if state is not None:
        restore_random_state(state, experiment.accelerator.device)
    reporter.info(f"resumed from {found!r} at step {saved.step}")
    return saved.step, int(saved.facts["samples_seen"]), saved.facts["best"]
