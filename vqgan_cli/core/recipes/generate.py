"""``vqgan generate``: new images from a transformer over codes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import Transformer, load_transformer, read_model_info
from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.data.codes_format import CodesMetadata
from vqgan_cli.core.data.codes_writer import CodesWriter, require_free_target
from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import CodesError
from vqgan_cli.core.files import require_writable_folder, reserved
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.generation.drawer import ImageDrawer
from vqgan_cli.core.generation.fitting import image_size, sampling_settings, templates_of
from vqgan_cli.core.generation.folder import Sample, SampleFolder
from vqgan_cli.core.generation.plan import announce, asked_classes, plan_shares
from vqgan_cli.core.generation.rejection import DEFAULT_SCORER, load_scorer, require_imagenet
from vqgan_cli.core.generation.request import CommandRequest
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.generation.work import SampleWork
from vqgan_cli.core.processes import join_processes, lost_process_named
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sampling.preparing import require_precision
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["GenerateOptions", "GenerateResult", "generate"]


@dataclass(frozen=True)
class GenerateOptions(CommandRequest):
    """What to generate, how, and where to.

    Attributes:
        model: transformer file or run folder.
        out: folder of the images.
        classes: text of ``--class``; None: all classes in turn, in an order drawn from the seed.
        codes: codes file to write too, ``.npy``.
        precision: one of `vqgan_cli.core.sampling.preparing.DRAWING_PRECISIONS`.
        device: see `resolve_device`.
        force: replace what is there.
    """

    model: Path
    out: Path
    classes: str | None = None
    codes: Path | None = None
    precision: str = "fp32"
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class GenerateResult:
    """The images in their order, the contact sheet, the codes file if there is one, and maps that could not be read."""

    samples: list[Sample]
    sheet: Path
    codes: Path | None
    failed: list[tuple[str, str]]


@lost_process_named()
def generate(options: GenerateOptions, reporter: Reporter) -> GenerateResult:
    """Draw images and write them; goes on where an earlier call of the same options was stopped.

    Returns:
        The images of all processes, which divide the work among them; the files do not depend on how many there are.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when what is done is kept.
    """
    if options.codes is not None and options.codes.suffix != ".npy":
        require_free_target(options.codes)
    state, device = join_processes(resolve_device(options.device))
    require_precision(device, options.precision)
    read_model_info(options.model)  # a name that is wrong leaves no folder behind
    for folder in {options.out, options.codes.parent if options.codes else options.out}:
        require_writable_folder(folder)
    with reserved(options.out, is_folder=True) if state.is_main_process else nullcontext():
        return _generate(options, load_transformer(options.model, device), state, device, reporter)


def _generate(
    options: GenerateOptions,
    model: Transformer,
    state: PartialState,
    device: torch.device,
    reporter: Reporter,
) -> GenerateResult:
    size = image_size(options, model)
    settings = sampling_settings(options, model)
    names = ClassNames(model.classes, model.prior.spec.condition_size)
    failed: list[tuple[str, str]] = []

    def skip(name: str, reason: str) -> None:
        reporter.warning(f"skipped {name!r}: {reason}")
        failed.append((name, reason))

    templates = templates_of(options, model, size, skip)
    labels = None
    if options.classes is not None:
        labels = asked_classes([options.classes], names, by_class=model.prior.spec.condition == "class")
    plan = plan_shares(
        templates,
        model,
        names,
        labels=labels,
        images=options.images,
        keep=options.keep,
        seed=options.seed,
    )
    scorer, scorer_fingerprint = None, None
    scorer_text = options.scorer or DEFAULT_SCORER
    if options.keep is not None:
        require_imagenet(names, options.called("keep"))
        with state.main_process_first():  # one download, not one per process
            scorer, scorer_fingerprint = load_scorer(scorer_text)
    files = [file for entry in plan for file in entry.files]
    made_how = {
        "vqgan": __version__,
        "model": str(options.model),
        "fingerprint": model.info.fingerprint,
        "classes": [entry.label for entry in plan] if options.classes else None,
        "images": options.images,
        "size": size,
        "templates": _digest(templates),
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
        "scorer": scorer_text if scorer else None,
        "scorer_fingerprint": scorer_fingerprint,
    }
    leads = state.is_main_process
    with state.main_process_first():  # it prepares what the others look at
        folder = SampleFolder(options.out, made_how, files, force=options.force, leads=leads)
        writer = _codes_writer(options, model, templates, names, folder, state)
    announce(plan, model, reporter)
    if there := len(folder.files) - len(folder.missing(folder.files)):
        reporter.info(f"going on: {there} of them {'is' if there == 1 else 'are'} there already")
    state.wait_for_everyone()  # what one process draws must not be in the way of another's look
    with (
        StopRequest(on_signal=lambda reason: reporter.warning(f"{reason}: stopping")) as stop,
        writer or nullcontext(),
    ):
        drawer = ImageDrawer(model, settings, options.precision, stop, folder.preview if leads else None)
        work = SampleWork(
            drawer,
            folder,
            writer,
            settings.seed,
            reporter,
            process=state.process_index,
            processes=state.num_processes,
        )
        if scorer is None:
            samples = work.draw_all(plan)
        else:
            best = gather_object(work.draw_best(plan, scorer.to(device)))
            by_file = {sample.file: sample for sample in best}
            samples = [by_file[file] for file in files]
        if writer is not None and not leads:
            writer.close()
        state.wait_for_everyone()
        if leads:
            if writer is not None:
                writer.finalise()
            if not folder.finished or folder.candidates.exists():
                folder.finish(
                    samples, {each.name: each.shown for each in templates if each.shown is not None}
                )
    state.wait_for_everyone()
    return GenerateResult(samples, folder.sheet, options.codes, failed)


def _digest(templates: Sequence[Template]) -> str | None:
    """Hash of everything in the templates that images depend on; None where that is their grid alone."""
    digest = hashlib.sha256()
    for template in templates:
        digest.update(f"{template.name} {template.grid} {template.mark}".encode())
        photo = template.photo
        for array in (photo.codes, photo.picture, photo.mask) if photo else ():
            digest.update(b"-" if array is None else array.tobytes())
        digest.update(f"{photo.strength} {photo.seam}".encode() if photo else b"-")
    return digest.hexdigest()[:16] if any(each.name for each in templates) else None


def _codes_writer(
    options: GenerateOptions,
    model: Transformer,
    templates: Sequence[Template],
    names: ClassNames,
    folder: SampleFolder,
    state: PartialState,
) -> CodesWriter | None:
    """A writer for the codes; None if none are wanted, or this very job has written them before."""
    if options.codes is None:
        return None
    target = options.codes
    source = f"vqgan generate {folder.job}"
    require_writable_folder(target.parent)
    if target.exists() and not options.force:
        earlier = open_codes(target, require_metadata=False)
        if earlier.metadata is not None and earlier.metadata.source == source:
            if len(earlier) != len(folder.files):
                raise CodesError(f"{str(target)!r} has {len(earlier)} images in place of {len(folder.files)}")
            return None
    f = model.tokenizer.downsampling
    grids = {template.grid for template in templates}
    size = [side * f for side in templates[0].grid] if len(grids) == 1 else None
    metadata = CodesMetadata(
        codebook_size=model.tokenizer.codebook_size,
        downsampling=model.tokenizer.downsampling,
        fingerprint=model.info.prior["tokenizer_fingerprint"],
        tokenizer=str(options.model),
        source=source,
        sizing="crop" if size else "native",
        size=(size[0], size[1]) if size else None,
        precision=options.precision,
        classes=tuple(names.name(index) for index in range(names.count)),
    )
    return CodesWriter(
        target,
        metadata,
        count=len(folder.files),
        source_fingerprint=folder.job,
        process=state.process_index,
        processes=state.num_processes,
        overwrite=options.force,
    )
