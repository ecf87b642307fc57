"""Drawing images in Python, with what ``vqgan generate`` draws with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vqgan_cli.core.artifacts import ModelInfo, Transformer, load_transformer
from vqgan_cli.core.config import SamplingConfig
from vqgan_cli.core.data.notebook import Images
from vqgan_cli.core.device import DTYPES
from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.generation.drawer import ImageDrawer
from vqgan_cli.core.generation.plan import asked_classes, plan_shares
from vqgan_cli.core.generation.request import Request, image_size, sampling_settings, templates_of
from vqgan_cli.core.generation.work import batches_of
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.presets import resolve
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["Drawn", "Sampler", "load_sampler"]

PathLike = str | os.PathLike[str]
Precision = Literal["fp32", "bf16", "fp16"]
Schedule = Literal["constant", "linear", "cosine"]


class Drawn(Images):
    """Pictures that were drawn, with what they were drawn of.

    Attributes:
        codes: int64 [h, w] of each.
        labels: class of each; None for a model without classes.
        names: of each, as `vqgan generate` calls its file.

    Examples:
        >>> from vqgan_cli import load_sampler
        >>> drawn = load_sampler("runs/my-transformer").draw(classes="red", images=2)
        >>> drawn
        Drawn(2 of 16x16)
        >>> drawn.labels, drawn.names, drawn.codes[0].shape
        ([1, 1], ['1-red-0000.png', '1-red-0001.png'], (8, 8))
    """

    def __init__(
        self,
        images: Iterable[Image.Image],
        codes: Sequence[npt.NDArray[np.int64]],
        labels: Sequence[int | None],
        names: Sequence[str],
    ) -> None:
        super().__init__(images)
        self.codes, self.labels, self.names = list(codes), list(labels), list(names)


class Sampler:
    """Draws images: the same model, options and seed give the same images as `vqgan generate`.

    Args:
        model: it belongs to the sampler from now on, which brings its weights into a form for drawing alone.
        precision: of the numbers.

    Examples:
        >>> from vqgan_cli import load_sampler
        >>> sampler = load_sampler("runs/my-transformer")
        >>> sampler.classes, sampler.size
        (['blue', 'red'], (16, 16))
        >>> sampler.draw(classes=["blue", "red"], images=2, seed=1, top_k=32)  # two of each
        Drawn(4 of 16x16)
        >>> sampler.draw(images=1, size=(16, 32))  # larger than in training
        Drawn(1 of 16x32)
    """

    def __init__(self, model: Transformer, *, precision: Precision = "fp32") -> None:
        if precision not in DTYPES:
            raise UsageError(f"precision {precision!r} is not one of {', '.join(DTYPES)}")
        self._model, self._precision = model, precision
        self._names = ClassNames(model.classes, model.prior.spec.condition_size)

    @property
    def info(self) -> ModelInfo:
        """What the model's file says."""
        return self._model.info

    @property
    def tokenizer(self) -> Tokenizer:
        """Codes to images and back."""
        return self._model.tokenizer

    @property
    def classes(self) -> list[str]:
        """Names by label, as people know them; empty for a model without classes."""
        if self._model.prior.spec.condition != "class":
            return []
        return [self._names.name(label) for label in range(self._names.count)]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the training images in pixels."""
        height, width = self._model.prior.spec.grid
        f = self._model.tokenizer.downsampling
        return height * f, width * f

    def draw(
        self,
        *,
        classes: str | int | Sequence[str | int] | None = None,
        images: int = 8,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        guidance: float | None = None,
        guidance_schedule: Schedule | None = None,
        condition: PathLike | None = None,
        from_images: bool = False,
        complete: PathLike | None = None,
        known: str = "",
        blend: bool = False,
        variations: PathLike | None = None,
        strength: float = 0.5,
        stride: int = 1,
        max_batch: int = 16,
        progress: Callable[[int, int], object] | None = None,
    ) -> Drawn:
        """Draw images; what is left out is as the model says.

        Args:
            classes: names or numbers, or ``"all"``, of each of which so many images are drawn; None: so many in all, of
                all classes in turn, in an order drawn from the seed.
            images: how many of each class that is named, or of each map; else in all.
            seed: of all random numbers.
            size: (height, width) in pixels; None: as in training.
            temperature: divides the logits; 0: always the likeliest code.
            top_k: draw among the k likeliest codes; 0: all.
            top_p: draw among the likeliest codes that together have this probability.
            guidance: classifier-free guidance scale; 1: none.
            guidance_schedule: guidance over the image.
            condition: maps for a model that draws by maps: file, folder, glob, list of paths, or codes file.
            from_images: ``condition`` names pictures, from which the maps are computed.
            complete: photo of which the ``known`` part is kept, such as ``"top:0.5"``.
            known: that part, as ``--known`` takes it.
            blend: keep the known pixels themselves, with a soft seam.
            variations: photo of which a share ``strength`` of the codes is drawn anew.
            strength: 0 to 1.
            stride: cells that the window moves at a time, for images larger than those of the training.
            max_batch: images, or cells of one large image, that are drawn at once.
            progress: told the codes that are drawn and those of all images, many times.

        Raises:
            UsageError: the model does not draw so, or what is asked for contradicts itself.
            ConfigError: temperature, k, p or guidance are out of their bounds.
            DataError: a map or a photo cannot be used.
            MemoryLimitError: the device's memory is exhausted.
        """
        model = self._model
        request = Request(
            images=images,
            size=size,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            guidance=guidance,
            guidance_schedule=guidance_schedule,
            stride=stride,
            max_batch=max_batch,
            seed=seed,
            condition=None if condition is None else os.fspath(condition),
            from_images=from_images,
            complete=None if complete is None else Path(complete),
            known=known,
            blend=blend,
            variations=None if variations is None else Path(variations),
            strength=strength,
        )
        _require_sense(request)
        settings = sampling_settings(request, model)
        templates = templates_of(request, model, image_size(request, model), _refuse)
        labels = None
        if classes is not None:
            if isinstance(classes, str) or not isinstance(classes, Iterable):
                classes = [classes]
            labels = asked_classes(list(classes), self._names, by_class=model.prior.spec.condition == "class")
        plan = plan_shares(templates, model, self._names, labels=labels, images=images, keep=None, seed=seed)
        shares = [(entry, number) for entry in plan for number in range(entry.images)]
        starts = [entry.template for entry, _ in shares]
        cells = sum(start.grid[0] * start.grid[1] for start in starts)
        drawer = ImageDrawer(model, settings, self._precision, StopRequest(), preview=None)
        codes: list[npt.NDArray[np.int64]] = []
        pictures: list[Image.Image] = []
        done = 0

        def watch(of_batch: int) -> None:
            if progress is not None:
                progress(done + of_batch, cells)

        for batch in batches_of(starts, drawer):
            part = shares[batch.start : batch.stop]
            drawn = drawer.codes(
                batch.start, [entry.template for entry, _ in part], [entry.label for entry, _ in part], watch
            )
            for (entry, _), row, picture in zip(part, drawn, drawer.pictures(drawn), strict=True):
                photo = entry.template.photo
                codes.append(row)
                pictures.append(Image.fromarray(photo.finish(picture) if photo else picture))
            done += drawn.size
        return Drawn(
            pictures, codes, [entry.label for entry, _ in shares], [entry.files[n] for entry, n in shares]
        )


def load_sampler(
    path: PathLike, device: str | torch.device = "cpu", *, precision: Precision = "fp32"
) -> Sampler:
    """Load a model for drawing images.

    Args:
        path: a weights file, a run folder, or the name of a published model that was pulled.
        device: ``cpu``, ``cuda``, or ``auto`` for the fastest that there is.
        precision: of the numbers; ``bf16`` is faster on most GPUs and many CPUs.

    Raises:
        ModelError: the file is missing, damaged, or no transformer.

    Examples:
        >>> from vqgan_cli import load_sampler
        >>> sampler = load_sampler("runs/my-transformer")
        >>> sampler.draw(classes="blue", images=4, seed=0).grid(columns=2).size
        (34, 34)
    """
    return Sampler(load_transformer(Path(path), device), precision=precision)


def _require_sense(request: Request) -> None:
    """Refuse what the options of a command refuse; nothing that was asked for is left out quietly."""
    for name, least in (("images", 1), ("max_batch", 1), ("seed", 0)):
        if getattr(request, name) < least:
            raise UsageError(f"{name} {getattr(request, name)} is below {least}")
    if not 0 <= request.strength <= 1:
        raise UsageError(f"strength {request.strength} is not between 0 and 1")
    if request.complete is not None and request.variations is not None:
        raise UsageError("complete and variations are two photos; a call takes one")
    if request.complete is not None and not request.known:
        raise UsageError("complete needs known: which part is kept, such as 'top:0.5'")
    if request.complete is None and (request.known or request.blend):
        raise UsageError(f"{'known' if request.known else 'blend'} is for complete, which is not given")
    if request.from_images and request.condition is None:
        raise UsageError("from_images is for condition, which is not given")
    resolve(flags={f"sampling.{name}": getattr(request, name) for name in SamplingConfig.model_fields})


def _refuse(name: str, reason: str) -> None:
    """A command skips a map that it cannot read and says so; a call has nobody to tell but its caller."""
    raise ImageError(Path(name), reason)
