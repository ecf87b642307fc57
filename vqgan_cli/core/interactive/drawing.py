"""Images while they are drawn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.errors import ImageError
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.generation.drawer import ImageDrawer
from vqgan_cli.core.generation.fitting import image_size, sampling_settings, templates_of
from vqgan_cli.core.generation.plan import plan_shares
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.generation.work import batches_of
from vqgan_cli.core.interactive.background import StopButton, shown_by
from vqgan_cli.core.interactive.workbench import Workbench, require_size
from vqgan_cli.core.sampling.sampler import require_drawable

__all__ = ["View", "draw", "draw_all"]

PREVIEW_SHARE = 0.2
"""Of the time, at most, goes into showing what is not finished."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """Images as far as they are drawn.

    Attributes:
        pictures: uint8 [H, W, 3], gray where nothing is drawn yet; those that are not begun are not among them.
        names: class of each; empty for a model without.
        done: codes that are drawn.
        total: codes of all images.
        finished: whether these are the images.
    """

    pictures: list[Picture]
    names: list[str]
    done: int
    total: int
    finished: bool


def draw(
    bench: Workbench, request: Request, label: int | None, stop: StopButton, *, seconds: float = 0.5
) -> Iterator[View]:
    """Draw images, and show them meanwhile; the last view has the images that ``vqgan generate`` draws.

    Args:
        bench: with a transformer.
        request: what to draw.
        label: class of all; None: all classes in turn, in an order drawn from the seed.
        stop: ends it between two codes.
        seconds: between two views, at least.

    Raises:
        UsageError: the model does not draw so.
        DataError: a map or a photo cannot be used.
        StoppedError: ``stop`` was pressed.
    """

    def work(show: Callable[[View], None]) -> None:
        with bench.turn:
            stop.require_going("before anything was drawn")
            draw_all(bench, request, label, stop, show, seconds=seconds)

    yield from shown_by(work, stop)


def draw_all(
    bench: Workbench,
    request: Request,
    label: int | None,
    stop: StopButton,
    show: Callable[[View], None],
    *,
    seconds: float = 0.5,
) -> None:
    """As `draw`, in this thread: shows views one after the other."""
    model = bench.transformer
    assert model is not None
    settings = sampling_settings(request, model)
    size = image_size(request, model)
    require_size(*(size or bench.size))
    templates = templates_of(request, model, size, _refuse)
    for template in templates:
        require_drawable(model.prior, template.grid, settings)
    starts, labels, names = _planned(model, templates, request, label)
    total = sum(math.prod(start.grid) for start in starts)
    drawer = ImageDrawer(model, settings, bench.precision, stop, preview=None)
    views = _Views(drawer, starts, names, total, show, seconds)
    for batch in batches_of(starts, drawer):
        part = slice(batch.start, batch.stop)
        codes = drawer.codes(batch.start, starts[part], labels[part], views.watch, views.look)
        views.add(codes)
    views.finish()


class _Views:
    """Shows what there is, not too often."""

    def __init__(
        self,
        drawer: ImageDrawer,
        starts: Sequence[Template],
        names: list[str],
        total: int,
        show: Callable[[View], None],
        seconds: float,
    ) -> None:
        self._drawer, self._starts, self._names, self._show = drawer, starts, names, show
        self._total, self._seconds = total, seconds
        self._pictures: list[Picture] = []
        self._done = self._of_batch = 0
        self._next = 0.0  # the first one at once: something is to be seen

    def watch(self, of_batch: int) -> None:
        self._of_batch = of_batch

    def look(self, so_far: Tensor) -> None:
        started = time.monotonic()
        if started < self._next:
            return
        pictures = self._drawer.unfinished(so_far.cpu().numpy())
        self._show(self._view(self._pictures + pictures, self._done + self._of_batch))
        took = time.monotonic() - started
        self._next = time.monotonic() + max(self._seconds, took / PREVIEW_SHARE)

    def add(self, codes: npt.NDArray[np.int64]) -> None:
        for picture in self._drawer.pictures(codes):
            photo = self._starts[len(self._pictures)].photo
            self._pictures.append(photo.finish(picture) if photo else picture)
        self._done += codes.size

    def finish(self) -> None:
        self._show(self._view(self._pictures, self._total, finished=True))

    def _view(self, pictures: list[Picture], done: int, *, finished: bool = False) -> View:
        names = self._names[: len(pictures)]
        return View(list(pictures), names, min(done, self._total), self._total, finished)


def _planned(
    model: Transformer, templates: list[Template], request: Request, label: int | None
) -> tuple[list[Template], list[int | None], list[str]]:
    """Of each image what it starts from, its class, and the name of that."""
    plan = plan_shares(
        templates,
        model,
        ClassNames(model.classes, model.prior.spec.condition_size),
        labels=None if label is None else [label],
        images=request.images,
        keep=None,
        seed=request.seed,
    )
    entries = [entry for entry in plan for _ in range(entry.images)]
    names = [entry.name or "" for entry in entries]
    return [entry.template for entry in entries], [entry.label for entry in entries], names


def _refuse(name: str, reason: str) -> None:
    raise ImageError(name, reason)
