"""What a request is to a model: sizes, settings, and what images start from; what the model cannot do is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.data.codes_format import description_path
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.inputs import completion, maps_of_codes, maps_of_files, variation
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.sampling.sampler import SamplingSettings
from vqgan_cli.core.sizes import require_multiples

__all__ = ["image_size", "sampling_settings", "templates_of"]


def image_size(request: Request, model: Transformer) -> tuple[int, int] | None:
    """(height, width) in pixels that was asked for; None: nothing was.

    Raises:
        UsageError: it is no multiple of the model's f.
    """
    if request.size is None:
        return None
    f = model.tokenizer.downsampling
    height, width = request.size
    if min(height, width) < 1:
        raise UsageError(f"{request.called('size')} {height}x{width}: there are no such images")
    require_multiples(height, width, f, "model")
    return height, width


def templates_of(
    request: Request,
    model: Transformer,
    size: tuple[int, int] | None,
    skip: Callable[[str, str], None],
) -> list[Template]:
    """What images start from, in the order in which they are drawn.

    Args:
        request: what was asked for.
        model: that draws.
        size: of `image_size`.
        skip: told of each map that cannot be used: its name, and why.

    Raises:
        UsageError: the model draws otherwise.
        DataError: a map or a photo cannot be used.
    """
    encoder, called = model.map_encoder, request.called
    if encoder is None and request.condition is not None:
        raise UsageError(f"{called('condition')} {request.condition}: this model was trained without maps")
    if encoder is not None and request.condition is None and not encoder.map_kind.of_whole_image:
        raise UsageError(
            f"this model draws by {encoder.map_kind.name} maps, and none is given",
            hint=f"name a file or a folder of them as {called('condition')}",
        )
    maps: list[Template] = []
    if encoder is not None and encoder.map_kind.of_whole_image:
        return [_by_size(request, model, encoder, size)]
    if request.condition is not None:
        if _names_codes(request.condition, encoder):
            if size is not None:
                raise UsageError(f"{called('size')}: codes have a size of their own", hint="leave it out")
            maps = maps_of_codes(Path(request.condition), model)
        else:
            maps = maps_of_files(request.condition, model, size, from_images=request.from_images, skip=skip)
    photo = request.complete or request.variations
    f = model.tokenizer.downsampling
    if photo is None:
        grid = (size[0] // f, size[1] // f) if size else model.prior.spec.grid
        return maps or [Template(grid)]
    if len(maps) > 1:
        raise UsageError(
            f"{called('complete')} and {called('variations')} take one map, that of the photo, not {len(maps)}"
        )
    map_ = maps[0] if maps else None
    if map_ is not None:
        size = (map_.grid[0] * f, map_.grid[1] * f)
    if request.complete is not None:
        return [completion(photo, request.known, model, size, f if request.blend else None, map_)]
    return [variation(photo, request.strength, model, size, map_)]


def _names_codes(condition: str, encoder: MapEncoder | None) -> bool:
    """Whether a path is one of codes; depth comes in files of the same suffix, but has no description beside it."""
    path = Path(condition)
    maps = encoder.map_kind.suffixes if encoder is not None else ()
    return path.suffix == ".npy" and (".npy" not in maps or description_path(path).exists())


def _by_size(
    request: Request, model: Transformer, encoder: MapEncoder, size: tuple[int, int] | None
) -> Template:
    """A template whose map follows from the size of the image."""
    if request.condition is not None or request.complete is not None or request.variations is not None:
        raise UsageError("a model of coordinates needs no map and takes no photo")
    f = encoder.downsampling
    height, width = size or tuple(side * f for side in model.prior.spec.grid)
    map_ = encoder.map_kind.compute(np.zeros((height, width, 3), np.uint8))
    codes = encoder.encode([map_])[0]
    return Template((height // f, width // f), condition=lambda: codes)


def sampling_settings(request: Request, model: Transformer) -> SamplingSettings:
    """How to draw; what was not asked for is as the model says.

    Raises:
        UsageError: guidance, and the model knows none.
    """
    own = model.info.config.sampling
    given = {
        name: getattr(own, name) if getattr(request, name) is None else getattr(request, name)
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
            hint=f"{request.called('guidance')} 1 is none; guidance takes a model that was trained with classes and "
            "condition.dropout, such as 0.1",
        )
    return SamplingSettings(**given, stride=request.stride, max_batch=request.max_batch, seed=request.seed)
