"""A small picture while it is enlarged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.maps import enlarge, shrink
from vqgan_cli.core.generation.fitting import sampling_settings
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.background import StopButton, shown_by
from vqgan_cli.core.interactive.maps import map_kind
from vqgan_cli.core.interactive.workbench import Workbench, fitted, require_size
from vqgan_cli.core.upscaling.consistency import consistency
from vqgan_cli.core.upscaling.scratch import Scratch
from vqgan_cli.core.upscaling.upscaler import Upscaler

__all__ = ["Enlarged", "enlarge_by_model", "made_small"]

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Enlarged:
    """A picture that is being enlarged.

    Attributes:
        done: codes that are drawn.
        total: of how many.
        picture: uint8 [H, W, 3]; None until it is finished.
        bicubic: the enlargement without a model, of the same size; None until then.
        consistency: PSNR in dB of the picture, made small again, against the one given.
    """

    done: int
    total: int
    picture: Picture | None = None
    bicubic: Picture | None = None
    consistency: float = 0.0


def made_small(bench: Workbench, photo: Picture) -> Picture:
    """A photo as small as the model's own were before it learned to enlarge them; uint8 [h, w, 3]."""
    config = map_kind(bench).config
    f = math.lcm(bench.downsampling, config.lowres_factor)
    return shrink(fitted(photo, min(bench.size), f), config.lowres_factor, config.lowres_filter)


def enlarge_by_model(
    bench: Workbench, small: Picture, request: Request, stop: StopButton, *, consistent: bool
) -> Iterator[Enlarged]:
    """Enlarge a picture by the model's factor, as ``vqgan upscale`` does.

    Args:
        bench: with a transformer of low-resolution conditions.
        small: uint8 [h, w, 3].
        request: temperature, top-k and seed are used.
        stop: ends it between two codes.
        consistent: make the small version of the result the picture given.

    Raises:
        UsageError: it would be too large to wait for.
        StoppedError: ``stop`` was pressed.
    """
    assert bench.transformer is not None
    model = bench.transformer
    config = map_kind(bench).config
    factor = config.lowres_factor
    height, width = small.shape[0] * factor, small.shape[1] * factor
    require_size(height, width)
    settings = sampling_settings(replace(request, top_p=None, guidance=1.0), model)  # upscale has neither

    def work(show: Callable[[Enlarged], None]) -> None:
        with bench.turn:
            stop.require_going("before anything was drawn")
            scratch = Scratch(Path.cwd())
            upscaler = Upscaler(model, settings, bench.precision, stop, scratch, consistent=consistent)
            total = math.prod(upscaler.grid(small.shape))
            picture = upscaler.enlarge(small, 0, lambda done: show(Enlarged(done, total)))
            faithful = consistency(picture, small, factor, config.lowres_filter)
            show(Enlarged(total, total, picture, enlarge(small, height, width), faithful))

    yield from shown_by(work, stop)
