"""``vqgan generate``: new images from a transformer over codes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import Transformer, load_transformer
from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.data.codes_format import CodesMetadata
from vqgan_cli.core.data.codes_writer import CodesWriter, require_free_target
from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import CodesError, UsageError
from vqgan_cli.core.files import require_writable_folder
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.generation.drawer import ImageDrawer
from vqgan_cli.core.generation.folder import Sample, SampleFolder
from vqgan_cli.core.generation.rejection import load_scorer
from vqgan_cli.core.generation.work import ClassShare, SampleWork
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sampling.sampler import SamplingSettings
from vqgan_cli.core.sizes import nearest_multiples
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["GenerateOptions", "GenerateResult", "generate"]


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate, and how. Sampling options that are None are the model's own.

    Attributes:
        model: transformer file or run folder.
        out: folder of the images.
        classes: text of ``--class``; None: all classes in turn, in an order drawn from the seed.
        images: images of each class that is named, else in all.
        size: (height, width) in pixels; None: the training size.
        temperature: divides the logits; 0: greedy.
        top_k: draw among the k likeliest codes; 0: all.
        top_p: draw among the likeliest codes that together have this probability.
        guidance: classifier-free guidance scale; 1: none.
        guidance_schedule: ``constant``, ``linear`` or ``cosine``.
        stride: cells that the window moves at a time, for images larger than those of the training.
        max_batch: images, or cells of one large image, that are drawn at once.
        seed: of all random numbers.
        codes: codes file to write too, ``.npy``.
        keep: share of the candidates that stays after rejection; None: no rejection.
        scorer: classifier for the rejection, see `load_scorer`.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: see `resolve_device`.
        force: replace what is there.
    """

    model: Path
    out: Path
    classes: str | None = None
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
    codes: Path | None = None
    keep: float | None = None
    scorer: str = "torchvision:resnet101"
    precision: str = "fp32"
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class GenerateResult:
    """The images in their order, the contact sheet, and the codes file if there is one."""

    samples: list[Sample]
    sheet: Path
    codes: Path | None


def generate(options: GenerateOptions, reporter: Reporter) -> GenerateResult:
    """Draw images and write them; goes on where an earlier call of the same options was stopped.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when what is done is kept.
    """
    if options.codes is not None and options.codes.suffix != ".npy":
        require_free_target(options.codes)
    device = resolve_device(options.device)
    model = load_transformer(options.model, device)
    size = _image_size(options, model)
    settings = _sampling_settings(options, model)
    names = ClassNames(model.classes, model.prior.spec.condition_size)
    plan = _plan(options, model, names)
    scorer, scorer_fingerprint = None, None
    if options.keep is not None:
        if not names.is_imagenet:
            raise UsageError(
                "--keep needs a model of ImageNet's 1,000 classes in their order, which the classifier knows; "
                f"this one has {f'{names.count} classes of its own' if names.count else 'no classes'}"
            )
        scorer, scorer_fingerprint = load_scorer(options.scorer)
    folder = SampleFolder(
        options.out,
        {
            "vqgan": __version__,
            "model": str(options.model),
            "fingerprint": model.info.fingerprint,
            "classes": [entry.label for entry in plan] if options.classes else None,
            "images": options.images,
            "size": size,
            "temperature": settings.temperature,
            "top_k": settings.top_k,
            "top_p": settings.top_p,
            "guidance": settings.guidance,
            "guidance_schedule": settings.guidance_schedule,
            "stride": settings.stride,
            "max_batch": settings.max_batch,
            "seed": settings.seed,
            "precision": options.precision,
            "keep": options.keep,
            "scorer": options.scorer if scorer else None,
            "scorer_fingerprint": scorer_fingerprint,
        },
        [file for entry in plan for file in entry.files],
        force=options.force,
    )
    _announce(plan, size, model, reporter)
    if there := len(folder.files) - len(folder.missing(folder.files)):
        reporter.info(f"going on: {there} of them {'is' if there == 1 else 'are'} there already")
    grid = (size[0] // model.tokenizer.downsampling, size[1] // model.tokenizer.downsampling)
    with StopRequest(on_signal=lambda reason: reporter.warning(f"{reason}: stopping")) as stop:
        with _codes_writer(options, model, size, names, folder) as writer:
            drawer = ImageDrawer(model, settings, grid, options.precision, stop, folder.preview)
            work = SampleWork(drawer, folder, writer, settings.seed, size, reporter)
            samples = work.draw_all(plan) if scorer is None else work.draw_best(plan, scorer.to(device))
            if writer is not None:
                writer.finalise()
        if not folder.finished or folder.candidates.exists():
            folder.finish(samples, labels=drawer.makes_label_maps)
    return GenerateResult(samples, folder.sheet, options.codes)


def _image_size(options: GenerateOptions, model: Transformer) -> tuple[int, int]:
    f = model.tokenizer.downsampling
    rows, columns = model.prior.spec.grid
    height, width = options.size or (rows * f, columns * f)
    if height % f or width % f:
        raise UsageError(
            f"--size {height}x{width} is not a multiple of this model's f = {f}",
            hint="the nearest sizes (height x width) are "
            + " and ".join(nearest_multiples(height, width, f)),
        )
    return height, width


def _sampling_settings(options: GenerateOptions, model: Transformer) -> SamplingSettings:
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


def _plan(options: GenerateOptions, model: Transformer, names: ClassNames) -> list[ClassShare]:
    """Which images to draw, class by class."""
    spec = model.prior.spec
    if spec.condition not in ("none", "class"):
        raise UsageError(f"{str(model.info.path)!r} draws by an image, which generate cannot give it yet")
    wanted: dict[int | None, int]
    if spec.condition == "none":
        if options.classes is not None:
            raise UsageError(
                f"--class {options.classes}: this model was trained without classes", hint="leave --class out"
            )
        wanted = {None: options.images}
    elif options.classes is not None:
        wanted = dict.fromkeys(names.find(options.classes), options.images)
    else:
        order = np.random.default_rng(options.seed).permutation(names.count)
        wanted = dict(Counter(int(order[i % len(order)]) for i in range(options.images)))
    plan = []
    first = 0
    for label, images in wanted.items():
        drawn = images if options.keep is None else max(images, round(images / options.keep))
        stem = "" if label is None else f"{label:0{len(str(names.count - 1))}d}-{_slug(names.name(label))}-"
        files = [f"{stem}{number:04d}.png" for number in range(images)]
        name = None if label is None else names.name(label)
        plan.append(ClassShare(label, name, images, drawn, first, files))
        first += drawn
    return plan


def _slug(name: str) -> str:
    """A class name as part of a file name."""
    return re.sub(r"[^\w]+", "-", name).strip("-")[:40]


def _announce(
    plan: Sequence[ClassShare], size: tuple[int, int], model: Transformer, reporter: Reporter
) -> None:
    images = sum(entry.images for entry in plan)
    drawn = sum(entry.drawn for entry in plan)
    what = "1 image" if images == 1 else f"{images} images"
    if drawn > images:
        what += f", the best of {drawn}"
    classes = ""
    if plan[0].label is not None:
        shown = ", ".join(f"{entry.label} ({entry.name})" for entry in plan[:5])
        more = f" and {len(plan) - 5} more" if len(plan) > 5 else ""
        classes = f" of {'class' if len(plan) == 1 else 'classes'} {shown}{more}"
    reporter.info(f"{what}, {size[0]}x{size[1]} (height x width){classes}, model {model.info.path}")


@contextmanager
def _codes_writer(
    options: GenerateOptions,
    model: Transformer,
    size: tuple[int, int],
    names: ClassNames,
    folder: SampleFolder,
) -> Iterator[CodesWriter | None]:
    """A writer for the codes; None if none are wanted, or this very job has written them before."""
    if options.codes is None:
        yield None
        return
    target = options.codes
    source = f"vqgan generate {folder.job}"
    require_writable_folder(target.parent)
    if target.exists() and not options.force:
        earlier = open_codes(target, require_metadata=False)
        if earlier.metadata is not None and earlier.metadata.source == source:
            if len(earlier) != len(folder.files):
                raise CodesError(f"{str(target)!r} has {len(earlier)} images in place of {len(folder.files)}")
            yield None
            return
    metadata = CodesMetadata(
        codebook_size=model.tokenizer.codebook_size,
        downsampling=model.tokenizer.downsampling,
        fingerprint=model.info.prior["tokenizer_fingerprint"],
        tokenizer=str(options.model),
        source=source,
        size=size,
        precision=options.precision,
        classes=tuple(names.name(index) for index in range(names.count)),
    )
    writer = CodesWriter(
        target,
        metadata,
        count=len(folder.files),
        source_fingerprint=folder.job,
        overwrite=options.force,
    )
    with writer:
        yield writer
