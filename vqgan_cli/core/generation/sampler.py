"""Drawing images in Python, with what ``vqgan generate`` draws with."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vqgan_cli.core.artifacts import ModelInfo, Transformer, load_transformer
from vqgan_cli.core.data.notebook import Images
from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.generation.drawer import ImageDrawer
from vqgan_cli.core.generation.fitting import image_size, sampling_settings, templates_of
from vqgan_cli.core.generation.plan import asked_classes, plan_shares
from vqgan_cli.core.generation.rejection import (
    DEFAULT_SCORER,
    BestCandidates,
    load_scorer,
    require_imagenet,
)
from vqgan_cli.core.generation.request import Request, require_sense
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.generation.work import Share, batches_of, draw_candidates
from vqgan_cli.core.models.classifiers import ImageClassifier
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.sampling.preparing import DRAWING_PRECISIONS, require_precision
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["Drawn", "Sampler", "load_sampler"]

PathLike = str | os.PathLike[str]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
Schedule = Literal["constant", "linear", "cosine"]


class Drawn(Images):
    """Pictures that were drawn, with what they were drawn of.

    Attributes:
        codes: int64 [h, w] of each.
        labels: class of each; None for a model without classes.
        names: of each, as `vqgan generate` calls its file.
        scores: probability of its class that the scorer gave each; None where none was asked.

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
        scores: Sequence[float] | None = None,
    ) -> None:
        super().__init__(images)
        self.codes, self.labels, self.names = list(codes), list(labels), list(names)
        self.scores = None if scores is None else list(scores)


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
        if precision not in DRAWING_PRECISIONS:
            raise UsageError(f"precision {precision!r} is not one of {', '.join(DRAWING_PRECISIONS)}")
        require_precision(next(model.prior.parameters()).device, precision)
        self._model, self._precision = model, precision
        self._names = ClassNames(model.classes, model.prior.spec.condition_size)
        self._scorer: tuple[str, ImageClassifier] | None = None

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
        keep: float | None = None,
        scorer: PathLike | None = None,
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
            known: that part: ``top``, ``bottom``, ``left`` or ``right`` with a share, as in ``"top:0.5"``;
                ``"box:T,L,B,R"`` (what is inside) or ``"outside:T,L,B,R"``, in pixels or in shares; or the path of a
                mask, white where the photo is known.
            blend: keep the known pixels themselves, with a soft seam.
            variations: photo of which a share ``strength`` of the codes is drawn anew.
            strength: 0 to 1.
            keep: draw ``images / keep`` candidates of each class, and keep those that the scorer finds likeliest, the
                best first. For models of ImageNet's 1,000 classes. None: keep everything.
            scorer: classifier for ``keep``: ``"torchvision:NAME"`` (published weights, cached or downloaded),
                ``"NAME:FILE"``, or the path of a torchvision classifier's state dict; None: torchvision's resnet101.
            stride: cells that the window moves at a time, for images larger than those of the training.
            max_batch: images, or cells of one large image, that are drawn at once.
            progress: told the codes that are drawn and those of all images, candidates included, many times.

        Raises:
            UsageError: the model does not draw so, a value is out of its bounds, or one contradicts another.
            DataError: a map or a photo cannot be used.
            WeightsError: the scorer's weights are not there, cannot be downloaded, or are none.
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
            keep=keep,
            scorer=None if scorer is None else os.fspath(scorer),
        )
        require_sense(request)
        settings = sampling_settings(request, model)
        templates = templates_of(request, model, image_size(request, model), _refuse)
        labels = None
        if classes is not None:
            if isinstance(classes, str) or not isinstance(classes, Iterable):
                classes = [classes]
            labels = asked_classes(list(classes), self._names, by_class=model.prior.spec.condition == "class")
        plan = plan_shares(templates, model, self._names, labels=labels, images=images, keep=keep, seed=seed)
        chooser = None if keep is None else self._classifier(request)
        drawer = ImageDrawer(model, settings, self._precision, StopRequest(), preview=None)
        told = _Told(progress, sum(entry.drawn * math.prod(entry.template.grid) for entry in plan))
        return _all_of(plan, drawer, told) if chooser is None else _best_of(plan, drawer, chooser, told)

    def _classifier(self, request: Request) -> ImageClassifier:
        """The one that chooses, on the model's device; kept for the next call."""
        require_imagenet(self._names, request.called("keep"))
        text = request.scorer or DEFAULT_SCORER
        if self._scorer is None or self._scorer[0] != text:
            device = next(self._model.prior.parameters()).device
            self._scorer = (text, load_scorer(text)[0].to(device))
        return self._scorer[1]


def load_sampler(
    path: PathLike, device: str | torch.device = "cpu", *, precision: Precision = "fp32"
) -> Sampler:
    """Load a model for drawing images.

    Args:
        path: a weights file, a run folder, or the name of a published model that was pulled.
        device: ``cpu``, ``cuda``, or ``auto`` for the fastest that there is.
        precision: of the numbers; ``bf16`` is faster on most GPUs and many CPUs, ``int8`` on many CPUs.

    Raises:
        ModelError: the file is missing, damaged, or no transformer.

    Examples:
        >>> from vqgan_cli import load_sampler
        >>> sampler = load_sampler("runs/my-transformer")
        >>> sampler.draw(classes="blue", images=4, seed=0).grid(columns=2).size
        (34, 34)
    """
    return Sampler(load_transformer(Path(path), device), precision=precision)


class _Told:
    """Tells whoever wants to know of the codes of all batches."""

    def __init__(self, told: Callable[[int, int], object] | None, total: int) -> None:
        self._told, self._total, self._done = told, total, 0

    def within_batch(self, codes: int) -> None:
        if self._told is not None:
            self._told(self._done + codes, self._total)

    def batch_done(self, codes: int) -> None:
        self._done += codes


def _all_of(plan: Sequence[Share], drawer: ImageDrawer, told: _Told) -> Drawn:
    """Every image of a plan."""
    shares = [(entry, number) for entry in plan for number in range(entry.images)]
    starts = [entry.template for entry, _ in shares]
    labels = [entry.label for entry, _ in shares]
    codes: list[npt.NDArray[np.int64]] = []
    pictures: list[Image.Image] = []
    for batch in batches_of(starts, drawer):
        part = slice(batch.start, batch.stop)
        drawn = drawer.codes(batch.start, starts[part], labels[part], told.within_batch)
        for start, row, picture in zip(starts[part], drawn, drawer.pictures(drawn), strict=True):
            codes.append(row)
            pictures.append(Image.fromarray(start.photo.finish(picture) if start.photo else picture))
        told.batch_done(drawn.size)
    return Drawn(pictures, codes, labels, [entry.files[number] for entry, number in shares])


def _best_of(plan: Sequence[Share], drawer: ImageDrawer, scorer: ImageClassifier, told: _Told) -> Drawn:
    """The images of a plan that a classifier finds likeliest, class by class, the best first."""

    def draw(
        first: int, templates: Sequence[Template], labels: Sequence[int | None]
    ) -> npt.NDArray[np.int64]:
        codes = drawer.codes(first, templates, labels, told.within_batch)
        told.batch_done(codes.size)
        return codes

    codes: list[npt.NDArray[np.int64]] = []
    scores: list[float] = []
    for entry in plan:
        best = BestCandidates(None, entry.images, entry.template.grid)
        draw_candidates(entry, best, drawer, scorer, draw)
        codes += list(best.codes)
        scores += best.scores.tolist()
    # One at a time, as the command does, so that the pictures are the same to the last bit.
    pictures = [Image.fromarray(drawer.pictures(row[None])[0]) for row in codes]
    labels = [entry.label for entry in plan for _ in range(entry.images)]
    return Drawn(pictures, codes, labels, [name for entry in plan for name in entry.files], scores)


def _refuse(name: str, reason: str) -> None:
    """A command skips a map that it cannot read and says so; a call has nobody to tell but its caller."""
    raise ImageError(Path(name), reason)
