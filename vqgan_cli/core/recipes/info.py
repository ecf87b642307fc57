"""``vqgan info``: facts about this machine, a model, a run or a codes file."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from vqgan_cli.core.artifacts import (
    MODEL_FILE,
    TOKENIZER_FORMAT,
    TRANSFORMER_FORMAT,
    fingerprint,
    parameter_counts,
    prior_spec,
    read_model_info,
    resolve_model,
)
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.errors import ModelError, UsageError, did_you_mean
from vqgan_cli.core.published.names import is_published
from vqgan_cli.core.system import SystemFacts, describe_system
from vqgan_cli.core.training.run_facts import RunFacts, describe_run, is_run

__all__ = ["CodesFacts", "Facts", "ModelFacts", "info"]

_DESCRIBABLE = "name a run folder, a model (a .safetensors file or its folder), or a codes file (.npy)"


@dataclass(frozen=True)
class ModelFacts:
    """A weights file.

    Attributes:
        path: the file.
        bytes: its size.
        format: kind and version, such as ``vqgan-tokenizer/1``.
        fingerprint: hash of the weights as the file states it.
        intact: whether the weights have that hash.
        downsampling: f, pixels of image side per code.
        image_size: [height, width] of the training images, in pixels.
        grid: [h, w] codes of an image of that size.
        parameters: number of trained values in ``prior``, ``encoder``, ``decoder`` and so on, and in ``total``.
        config: the experiment that trained it.
        provenance: version, step, data and validation metrics, as recorded.
        prior: of a transformer: what it models, see `PriorSpec`, and the names of its classes.
    """

    kind: ClassVar[str] = "model"
    path: Path
    bytes: int
    format: str
    fingerprint: str
    intact: bool
    downsampling: int
    image_size: tuple[int, int]
    grid: tuple[int, int]
    parameters: dict[str, int]
    config: ExperimentConfig
    provenance: dict[str, Any]
    prior: dict[str, Any]


@dataclass(frozen=True)
class CodesFacts:
    """A codes file.

    Attributes:
        path: the ``.npy`` file.
        bytes: its size.
        dtype: type of the stored integers.
        images: N.
        grids: each grid [h, w] with the number of images that have it, the most frequent first.
        tokens: codes in all.
        classes: images by class name; empty without classes.
        failed: inputs that have no codes.
        metadata: codebook, tokenizer and sizing; None for an array without ``codes.json``.
    """

    kind: ClassVar[str] = "codes"
    path: Path
    bytes: int
    dtype: str
    images: int
    grids: list[tuple[tuple[int, int], int]]
    tokens: int
    classes: dict[str, int]
    failed: int
    metadata: dict[str, Any] | None


Facts = SystemFacts | ModelFacts | RunFacts | CodesFacts


def info(path: Path | None = None) -> Facts:
    """Describe what lies at a path, or this machine.

    Raises:
        UsageError: nothing that is known lies there, or it may not be read.
        ModelError: a damaged or foreign weights file.
        CodesError: a damaged or foreign array.
    """
    if path is None:
        return describe_system()
    try:
        return _describe(path)
    except PermissionError as error:
        raise UsageError(f"{str(error.filename)!r} cannot be read: permission denied") from None


def _describe(path: Path) -> Facts:
    if not path.exists() and is_published(path):
        return _model(resolve_model(path))
    if path.is_dir():
        if is_run(path):
            return describe_run(path)
        if (path / MODEL_FILE).is_file():
            return _model(path)
        raise UsageError(
            f"{str(path)!r} is neither a run (no status.json) nor a model (no {MODEL_FILE})",
            hint=_inside(path),
        )
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UsageError(
            f"{str(path)!r} does not exist{did_you_mean(path.name, siblings)}", hint=_DESCRIBABLE
        )
    if path.suffix == ".safetensors":
        return _model(path)
    if path.suffix == ".npy":
        return _codes(path)
    if path.suffix == ".json" and path.with_suffix(".npy").is_file():
        return _codes(path.with_suffix(".npy"))
    raise UsageError(
        f"{str(path)!r} is neither a model (.safetensors) nor a codes file (.npy)",
        hint="a run is named by its folder",
    )


def _inside(folder: Path) -> str:
    """What to look at in place of a folder that is nothing itself."""
    for parent in folder.resolve().parents[:2]:
        if is_run(parent):
            return f"the run it belongs to: vqgan info {shlex.quote(str(parent))}"
    known = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and is_run(entry)]
    known += sorted(folder.glob("*.npy")) + sorted(folder.glob("*.safetensors"))
    if known:
        return "in it: " + ", ".join(f"vqgan info {shlex.quote(str(entry))}" for entry in known[:5])
    return _DESCRIBABLE


def _model(path: Path) -> ModelFacts:
    found = read_model_info(path)
    if found.format not in (TOKENIZER_FORMAT, TRANSFORMER_FORMAT):
        raise ModelError(
            f"{str(found.path)!r} is a {found.format} file; this version knows {TOKENIZER_FORMAT} and "
            f"{TRANSFORMER_FORMAT}"
        )
    try:
        intact = fingerprint(load_file(found.path)) == found.fingerprint
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{str(found.path)!r} is damaged: {error}") from error
    side, f = found.config.data.size, found.config.tokenizer.downsampling
    parameters = parameter_counts(found)
    grid = prior_spec(found).grid if found.format == TRANSFORMER_FORMAT else (side // f, side // f)
    return ModelFacts(
        path=found.path,
        bytes=found.path.stat().st_size,
        format=found.format,
        fingerprint=found.fingerprint,
        intact=intact,
        downsampling=f,
        image_size=(side, side),
        grid=grid,
        parameters={**parameters, "total": sum(parameters.values())},
        config=found.config,
        provenance=found.provenance,
        prior=found.prior,
    )


def _codes(path: Path) -> CodesFacts:
    codes = open_codes(path, require_metadata=False)
    metadata = codes.metadata
    names = metadata.classes if metadata else ()
    labels = Counter(image.label for image in codes.images)
    grids = Counter(image.grid for image in codes.images)
    return CodesFacts(
        path=path,
        bytes=path.stat().st_size,
        dtype=str(np.lib.format.open_memmap(path, mode="r").dtype),
        images=len(codes),
        grids=grids.most_common(),
        tokens=sum(height * width * count for (height, width), count in grids.items()),
        classes={name: labels[label] for label, name in enumerate(names)},
        failed=len(codes.failed),
        metadata=metadata.model_dump(mode="json") if metadata else None,
    )
