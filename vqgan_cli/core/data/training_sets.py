"""Training and validation images of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.config import DataConfig, MapKindName
from vqgan_cli.core.data.dataset import ImageDataset
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.pairs import Pairs, open_pairs
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.splitting import split
from vqgan_cli.core.errors import DataError, ImageError, UsageError

__all__ = [
    "Divided",
    "TrainingSets",
    "divide_pairs",
    "divide_source",
    "found_classes",
    "open_training_sets",
]

_MAPS_LOOKED_AT = 2000

S = TypeVar("S", bound=ImageSource)


@dataclass(frozen=True)
class Divided(Generic[S]):
    """Where training and validation images come from, and which images of each source they are."""

    train: S
    train_indices: npt.NDArray[np.int64]
    validation: S
    validation_indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSets:
    """What is trained on and what is judged by."""

    train: ImageDataset
    validation: ImageDataset

    def describe(self) -> str:
        """One line for people."""
        source = self.train.source
        classes = f", {len(source.classes)} classes" if source.classes else ""
        return f"{source.name}: {len(self.train)} to train, {len(self.validation)} to validate{classes}"


def open_training_sets(config: DataConfig, *, seed: int) -> TrainingSets:
    """Open the source of a config and hold out validation images.

    Raises:
        UsageError: the config names no source.
        DataError: the source cannot be used or is too small.
    """
    parts = divide_source(config, seed=seed)
    return TrainingSets(
        ImageDataset(parts.train, config, indices=parts.train_indices, train=True, seed=seed),
        ImageDataset(parts.validation, config, indices=parts.validation_indices, train=False),
    )


def divide_source(config: DataConfig, *, seed: int) -> Divided[ImageSource]:
    """The pictures or maps of a config; raises as `open_training_sets`."""

    def open_(spec: str, seed: int) -> ImageSource:
        return open_source(
            spec,
            kind=config.kind,
            maps=config.maps,
            background=config.background,
            max_megapixels=config.max_megapixels,
            seed=seed,
            synthetic_size=config.resize or config.size,
        )

    return _divide(config, open_, seed)


def divide_pairs(config: DataConfig, kind: MapKindName, *, seed: int) -> Divided[Pairs]:
    """The pictures of a config with their maps; raises as `open_training_sets`."""
    return _divide(config, lambda spec, seed: open_pairs(spec, config, kind, seed=seed), seed)


def _divide(config: DataConfig, open_: Callable[[str, int], S], seed: int) -> Divided[S]:
    seed = seed if config.split_seed is None else config.split_seed
    if config.source is None:
        raise UsageError(
            "this preset has no images of its own",
            hint="name yours with --data FOLDER, or try --data synthetic:faces",
        )
    source = open_(config.source, seed)
    everything = np.arange(len(source))
    if config.validation_source is not None:
        held_out = open_(config.validation_source, seed + 1)
        limit = min(len(held_out), config.validation_images)
        return Divided(source, everything, held_out, np.arange(limit))
    endless = source.held_out(config.validation_images)
    if endless is not None:  # no split: validation has a seed of its own
        return Divided(source, everything, endless, np.arange(len(endless)))  # type: ignore[arg-type]
    train, validation = split(source, config.validation_fraction, config.validation_images, seed)
    if not len(validation):
        raise DataError(
            f"{source.name!r} has {len(source)} image(s) and nothing is left to validate",
            hint="give more images, or validation images with --val",
        )
    return Divided(source, train, source, validation)


def found_classes(source: ImageSource, indices: npt.NDArray[np.int64]) -> int:
    """Number of classes in label maps: one more than the highest label in up to 2,000 of them, spread over all.

    Raises:
        DataError: none of them can be read.
    """
    highest, reason = -1, ""
    for place in np.unique(np.linspace(0, len(indices) - 1, _MAPS_LOOKED_AT).astype(int)):
        try:
            highest = max(highest, int(source.read(int(indices[place])).max()))
        except ImageError as error:
            reason = str(error)
    if highest < 0:
        raise DataError(f"no label map of {source.name!r} can be read: {reason}")
    return highest + 1
