"""What somebody asks a model to draw, whether in a command or in Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.data.codes_format import description_path
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.inputs import completion, maps_of_codes, maps_of_files, variation
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.sampling.sampler import SamplingSettings
from vqgan_cli.core.sizes import require_multiples

__all__ = ["Request", "image_size", "sampling_settings", "templates_of"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to draw, and how. Sampling options that are None are the model's own.

    Attributes:
        images: images of each class that is named, or of each map; else in all.
        size: (height, width) in pixels; None: the training size.
        temperature: divides the logits; 0: greedy.
        top_k: draw among the k likeliest codes; 0: all.
        top_p: draw among the likeliest codes that together have this probability.
        guidance: classifier-free guidance scale; 1: none.
        guidance_schedule: ``constant``, ``linear`` or ``cosine``.
        stride: cells that the window moves at a time, for images larger than those of the training.
        max_batch: images, or cells of one large image, that are drawn at once.
        seed: of all random numbers.
        condition: maps for a model that draws by maps: file, folder, glob, list of paths, or codes file.
        from_images: ``condition`` names pictures, from which the maps are computed.
        complete: photo of which the ``known`` part is kept.
        known: text of ``--known``, see `parse_known`.
        blend: keep the known pixels themselves, with a soft seam.
        variations: photo of which a share ``strength`` of the codes is drawn anew.
        strength: 0 to 1.
    """

    images: int = 8
    size: tuple[int, int] | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    guidance: float | None = None
    guidance_schedule: str | None = None
    stride: int = 1
    max_batch: int = 16
    seed: int = 0
    condition: str | None = None
    from_images: bool = False
    complete: Path | None = None
    known: str = ""
    blend: bool = False
    variations: Path | None = None
    strength: float = 0.5


def image_size(options: Request, model: Transformer) -> tuple[int, int] | None:
    """(height, width) in pixels that was asked for; None: nothing was.

    Raises:
        UsageError: it is no multiple of the model's f.
    """
    if options.size is None:
        return None
    f = model.tokenizer.downsampling
    height, width = options.size
    if min(height, width) < 1:
        raise UsageError(f"--size {height}x{width}: there are no such images")
    require_multiples(height, width, f, "model")
    return height, width


def templates_of(
    options: Request,
    model: Transformer,
    size: tuple[int, int] | None,
    skip: Callable[[str, str], None],
) -> list[Template]:
    """What images start from, in the order in which they are drawn.

    Args:
        options: what was asked for.
        model: that draws.
        size: of `image_size`.
        skip: told of each map that cannot be used: its name, and why.

    Raises:
        UsageError: the model draws otherwise.
        DataError: a map or a photo cannot be used.
    """
    encoder = model.map_encoder
    if encoder is None and options.condition is not None:
        raise UsageError(f"--condition {options.condition}: this model was trained without maps")
    if encoder is not None and options.condition is None and not encoder.map_kind.of_whole_image:
        raise UsageError(
            f"this model draws by {encoder.map_kind.name} maps, and none is given",
            hint="name a file or a folder: --condition MAP",
        )
    maps: list[Template] = []
    if encoder is not None and encoder.map_kind.of_whole_image:
        return [_by_size(options, model, encoder, size)]
    if options.condition is not None:
        if _names_codes(options.condition, encoder):
            if size is not None:
                raise UsageError("--size: codes have a size of their own", hint="leave it out")
            maps = maps_of_codes(Path(options.condition), model)
        else:
            maps = maps_of_files(options.condition, model, size, from_images=options.from_images, skip=skip)
    photo = options.complete or options.variations
    f = model.tokenizer.downsampling
    if photo is None:
        grid = (size[0] // f, size[1] // f) if size else model.prior.spec.grid
        return maps or [Template(grid)]
    if len(maps) > 1:
        raise UsageError("--complete and --variations take one map, that of the photo")
    map_ = maps[0] if maps else None
    if map_ is not None:
        size = (map_.grid[0] * f, map_.grid[1] * f)
    if options.complete is not None:
        return [completion(photo, options.known, model, size, f if options.blend else None, map_)]
    return [variation(photo, options.strength, model, size, map_)]


def _names_codes(condition: str, encoder: MapEncoder | None) -> bool:
    """Whether a path is one of codes; depth comes in files of the same suffix, but has no description beside it."""
    path = Path(condition)
    maps = encoder.map_kind.suffixes if encoder is not None else ()
    return path.suffix == ".npy" and (".npy" not in maps or description_path(path).exists())


def _by_size(
    options: Request, model: Transformer, encoder: MapEncoder, size: tuple[int, int] | None
) -> Template:
    """A template whose map follows from the size of the image."""
    if options.condition is not None or options.complete is not None or options.variations is not None:
        raise UsageError("a model of coordinates needs no map and takes no photo")
    f = encoder.downsampling
    height, width = size or tuple(side * f for side in model.prior.spec.grid)
    map_ = encoder.map_kind.compute(np.zeros((height, width, 3), np.uint8))
    codes = encoder.encode([map_])[0]
    return Template((height // f, width // f), condition=lambda: codes)


def sampling_settings(options: Request, model: Transformer) -> SamplingSettings:
    """How to draw; what was not asked for is as the model says.

    Raises:
        UsageError: guidance, and the model knows none.
    """
    own = model.info.config.sampling
    given = {
        name: getattr(own, name) if getattr(options, name) is None else getattr(options, name)
        for name in ("temperature", "top_k", "top_p", "guidance", "guidance_schedule")
    }
    spec = model.prior.spec
    if given["guidance"] != 1 and not spec.null_condition:
        if spec.condition == "none":
            reason = "this model has no classes to be guided to"
        else:
            reason = "this model was trained without leaving classes out"
        raise UsageError(
            f"guidance {given['guidance']:g}: {reason}",
            hint="--cfg 1; guidance needs a model trained with classes and --set condition.dropout=0.1",
        )
    return SamplingSettings(**given, stride=options.stride, max_batch=options.max_batch, seed=options.seed)
