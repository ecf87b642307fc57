"""The codes that a prior is asked about: of images, or from a codes file, with their conditions and their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.data.labels import labels_of, read_labels
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.pairs import open_pairs
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.errors import CodesError, UsageError
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.model_info import about_prior
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.tokenizer_inputs import utf8
from vqgan_cli.core.training.code_sets import CodeSet, cached_codes, read_codes
from vqgan_cli.core.training.prior_data import name_unmatched
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["AskedCodes", "codes_of_file", "codes_of_images"]

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AskedCodes:
    """Codes and what belongs to them.

    Attributes:
        name: of the data.
        codes: one view of each image; its labels are the classes of the data.
        names: of the images.
        conditions: the class of each image among those of the model, int64 [N]; 0 for a model without.
    """

    name: str
    codes: CodeSet
    names: list[str]
    conditions: Labels


def codes_of_file(path: Path, model: Transformer, limit: int | None) -> AskedCodes:
    """The images of a codes file, from the first.

    Raises:
        UsageError: the model needs maps or classes, which the file lacks.
        CodesError: see `read_codes`; or a grid other than the model's.
    """
    spec, about = model.prior.spec, about_prior(model.info)
    if model.map_encoder is not None:
        kind = model.map_encoder.map_kind.name
        raise UsageError(
            f"{str(model.info.path)!r} draws by {kind} maps, and a codes file has none",
            hint="name the images and their maps with --data",
        )
    codes = read_codes(path, about.tokenizer_fingerprint, spec.codebook_size)
    if codes.grid != spec.grid:
        found, own = ("x".join(map(str, grid)) for grid in (codes.grid, spec.grid))
        raise CodesError(
            f"{str(path)!r} holds grids of {found} codes; the model is one of {own}",
            hint=f"encode at its own size: --size {spec.grid[0] * model.tokenizer.downsampling}",
        )
    names = open_codes(path).names[:limit]
    codes = codes.part(np.arange(len(names)))
    return AskedCodes(str(path), codes, names, _conditions(model, str(path), codes.classes, codes.labels))


def codes_of_images(
    spec: str, model: Transformer, labels: Path | None, limit: int, *, stop: StopRequest, reporter: Reporter
) -> AskedCodes:
    """Images, prepared as for the validation of the model's training, encoded once and kept in the cache.

    Args:
        spec: see `open_source`; with maps `open_pairs`.
        model: whose tokenizers encode.
        labels: a file of classes; None: the folders are the classes.
        limit: at most so many, from the first; 0: all, and 1,000 of an endless set, of which those are taken that no
            training with its default seed has seen.
        stop: asked between batches.
        reporter: who listens.

    Raises:
        VqganError: the data cannot be used, see `open_source` and `cached_codes`; or have other classes than the model.
        InterruptedError: asked to stop.
    """
    tokenizer, encoder = model.tokenizer, model.map_encoder
    grid, about = model.prior.spec.grid, about_prior(model.info)
    if grid[0] != grid[1]:
        raise UsageError(
            f"{str(model.info.path)!r} is a model of {grid[0]}x{grid[1]} codes, and images are cut to squares",
            hint="encode them at that size, and name the file with --codes",
        )
    source = _open(spec, model, limit, reporter)
    classes: tuple[str, ...] = tuple(source.classes)
    of_images: Sequence[int]
    if labels is not None:
        classes, of_images = labels_of(source, read_labels(labels))
    else:
        of_images = [source.label(index) for index in range(len(source))]
    conditions = _conditions(model, source.name, classes, np.asarray(of_images, np.int64))
    indices = np.arange(min(len(source), limit or len(source)))
    codes = cached_codes(
        source,
        indices,
        tokenizer,
        about.tokenizer_fingerprint,
        size=grid[0] * tokenizer.downsampling,
        side=model.info.config.data.resize,
        augmentation="none",
        labels=of_images,
        classes=classes,
        stop=stop,
        reporter=reporter,
        map_encoder=encoder,
    )
    bad = {name for name, _ in codes.failed}
    kept = [index for index in indices.tolist() if source.key(index) not in bad]
    return AskedCodes(source.name, codes, [utf8(source.key(index)) for index in kept], conditions[kept])


def _open(spec: str, model: Transformer, limit: int, reporter: Reporter) -> ImageSource:
    data = model.info.config.data
    source: ImageSource
    if model.map_encoder is not None:
        source = open_pairs(spec, data, model.map_encoder.map_kind.name)
        name_unmatched(source, reporter)
    else:
        source = open_source(
            spec,
            background=data.background,
            max_megapixels=data.max_megapixels,
            synthetic_size=data.resize or data.size,
        )
    return source.held_out(limit or 1000) or source


def _conditions(model: Transformer, name: str, classes: Sequence[str], labels: Labels) -> Labels:
    """The model's class of each image, by the names of the classes."""
    spec = model.prior.spec
    if spec.condition != "class":
        return np.zeros(len(labels), np.int64)
    if not classes or (labels < 0).any():
        raise UsageError(
            f"{name!r} has no classes, by which {str(model.info.path)!r} draws: they are the folders of the images",
            hint="name them in a file with --labels",
        )
    known = ClassNames(model.classes, spec.condition_size)
    numbers = np.array([_number(known, each, name) for each in classes], np.int64)
    return numbers[labels]


def _number(known: ClassNames, text: str, name: str) -> int:
    try:
        found = known.find(text)
    except UsageError:
        found = []
    if len(found) != 1:
        shown = ", ".join(known.name(index) for index in range(min(known.count, 10)))
        raise UsageError(
            f"{name!r} has a class {text!r}, which the model does not know",
            hint=f"it has {known.count} classes: {shown}{', ...' if known.count > 10 else ''}",
        )
    return found[0]
