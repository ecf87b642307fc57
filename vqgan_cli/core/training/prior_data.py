"""What a prior is trained on: images or codes, their conditions, and the codes of both."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch

from vqgan_cli.core.artifacts import ModelInfo, load_tokenizer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.labels import labels_of, read_labels
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.pairs import Pairs
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.training_sets import Divided, divide_pairs, divide_source, found_classes
from vqgan_cli.core.errors import DataError, UsageError
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.code_sets import CodeSet, cached_codes, read_codes
from vqgan_cli.core.training.run import Session

__all__ = ["divide_images", "encode_sets", "make_map_encoder", "name_unmatched", "with_found_classes"]


def divide_images(config: ExperimentConfig, reporter: Reporter) -> Divided[ImageSource] | None:
    """Training and validation images, with their maps if the condition is one; None to train on a codes file.

    Raises:
        UsageError: there is no data, or a codes file and maps.
        DataError: the data cannot be used, or are too few.
    """
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
        name_unmatched(pairs, reporter)
    return cast("Divided[ImageSource]", parts)


def name_unmatched(pairs: Pairs, reporter: Reporter) -> None:
    """Say which files of pairs are left out."""
    if pairs.unmatched:
        shown = ", ".join(map(repr, pairs.unmatched[:5])) + (", ..." if len(pairs.unmatched) > 5 else "")
        reporter.warning(f"{len(pairs.unmatched)} files of {pairs.name!r} have no partner, left out: {shown}")


def with_found_classes(
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


def make_map_encoder(
    config: ExperimentConfig,
    tokenizer: Tokenizer,
    info: ModelInfo,
    condition: ModelInfo | None,
    device: torch.device,
) -> MapEncoder | None:
    """What turns the maps of an experiment into codes; None where its condition is no map.

    Raises:
        UsageError: the maps need a tokenizer of their own, and ``condition`` is None.
    """
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


def encode_sets(
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
        seed = settings.seed if config.data.split_seed is None else config.data.split_seed
        order = np.random.default_rng((seed, count)).permutation(count)
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
            leads=session.accelerator.is_local_main_process,
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
