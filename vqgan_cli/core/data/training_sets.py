"""Training and validation images of an experiment."""

from __future__ import annotations

from dataclasses import dataclass

from vqgan_cli.core.config import DataConfig
from vqgan_cli.core.data.dataset import ImageDataset
from vqgan_cli.core.data.sources import ImageSource, SyntheticSource, open_source, split
from vqgan_cli.core.errors import DataError, UsageError

__all__ = ["TrainingSets", "open_training_sets"]


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
    if config.source is None:
        raise UsageError(
            "this preset has no images of its own",
            hint="name yours with --data FOLDER, or try --data synthetic:faces",
        )
    source = _open(config.source, config, seed)
    if config.validation_source is not None:
        train = ImageDataset(source, config, train=True, seed=seed)
        held_out = _open(config.validation_source, config, seed + 1)
        limit = range(min(len(held_out), config.validation_images))
        return TrainingSets(train, ImageDataset(held_out, config, indices=limit, train=False))
    if isinstance(source, SyntheticSource):
        # Endless sets need no split: validation has a seed of its own.
        held_out = source.held_out(config.validation_images)
        train = ImageDataset(source, config, train=True, seed=seed)
        return TrainingSets(train, ImageDataset(held_out, config, train=False))
    train_indices, validation_indices = split(
        source, config.validation_fraction, config.validation_images, seed
    )
    if not len(validation_indices):
        raise DataError(
            f"{source.name!r} has {len(source)} image(s) and nothing is left to validate",
            hint="give more images, or validation images with --val",
        )
    return TrainingSets(
        ImageDataset(source, config, indices=train_indices, train=True, seed=seed),
        ImageDataset(source, config, indices=validation_indices, train=False),
    )


def _open(spec: str, config: DataConfig, seed: int) -> ImageSource:
    return open_source(
        spec,
        kind=config.kind,
        background=config.background,
        max_megapixels=config.max_megapixels,
        seed=seed,
        synthetic_size=config.resize or config.size,
    )
