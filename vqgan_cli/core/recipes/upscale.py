"""``vqgan upscale``: small pictures to large ones."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from vqgan_cli.core.artifacts import Transformer, load_transformer, read_model_info
from vqgan_cli.core.data.attributes import Attributes, read_with_attributes
from vqgan_cli.core.data.images import OUTPUT_SUFFIXES, remove_unfinished
from vqgan_cli.core.data.listing import find_images
from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import DataError, ImageError, OutputError, UsageError
from vqgan_cli.core.files import require_writable_folder, reserved
from vqgan_cli.core.memory import memory_errors
from vqgan_cli.core.pretrained import perceptual_network
from vqgan_cli.core.processes import join_processes, lost_process_named, of_first
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sampling.preparing import require_precision
from vqgan_cli.core.sampling.sampler import SamplingSettings
from vqgan_cli.core.training.stopping import StopRequest
from vqgan_cli.core.upscaling.comparison import compare, read_reference
from vqgan_cli.core.upscaling.consistency import consistency
from vqgan_cli.core.upscaling.scratch import Scratch
from vqgan_cli.core.upscaling.upscaler import Upscaler
from vqgan_cli.core.upscaling.writing import too_large, write_upscaled

__all__ = ["STANDARD", "UpscaleOptions", "UpscaleResult", "Upscaled", "upscale"]

STANDARD = "-"
"""Standard input or output in place of a file."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class UpscaleOptions:
    """What to enlarge, and how. Sampling options that are None are the model's own.

    Attributes:
        source: a picture, a folder, a glob, a text file of paths, or ``-`` for standard input.
        out: a picture, a folder, or ``-`` for standard output; None: beside the current folder's files.
        model: transformer file or run folder, with low-resolution conditions.
        factor: of the sizes; None: the model's. A power of the model's is reached in several passes.
        samples: pictures of each one given.
        temperature: divides the logits; 0: greedy.
        top_k: draw among the k likeliest codes; 0: all.
        stride: cells that the window moves at a time.
        max_batch: codes that are drawn at once.
        seed: of all random numbers.
        consistent: make the small version of each result the picture given.
        tokenizer_only: bicubic enlargement through the tokenizer, the baseline.
        reference: large original, or a folder of them by name, to compare with.
        perceptual: network of the perceptual distance, see `perceptual_network`.
        precision: one of `vqgan_cli.core.sampling.preparing.DRAWING_PRECISIONS`.
        device: see `resolve_device`.
        force: replace what is there.
    """

    source: str
    out: Path
    model: Path
    factor: int | None = None
    samples: int = 1
    temperature: float | None = None
    top_k: int | None = None
    stride: int = 1
    max_batch: int = 16
    seed: int = 0
    consistent: bool = False
    tokenizer_only: bool = False
    reference: Path | None = None
    perceptual: str = "vgg"
    precision: str = "fp32"
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class Upscaled:
    """One result.

    Attributes:
        source: the picture given.
        path: the picture made; None if it went to standard output.
        size: (height, width).
        consistency: PSNR in dB of its small version against the picture given.
        measured: against the reference, where there is one: psnr, ssim, perceptual; and the same of a bicubic
            enlargement, as ``bicubic_psnr`` and so on.
    """

    source: str
    path: Path | None
    size: tuple[int, int]
    consistency: float
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class UpscaleResult:
    """Results in order, and what could not be read."""

    images: list[Upscaled]
    failed: list[tuple[str, str]]


@dataclass(frozen=True)
class _Job:
    name: str  # of the picture given
    path: Path
    targets: dict[int, Path | None]  # by the number of the sample


@dataclass
class _Done:
    position: int  # of the job
    name: str
    images: list[Upscaled] = field(default_factory=list)
    reason: str = ""  # why there are none

    def failure(self) -> str:
        return f"skipped {self.name!r}: {self.reason}"


@lost_process_named()
def upscale(options: UpscaleOptions, reporter: Reporter) -> UpscaleResult:
    """Enlarge pictures; with a folder, those that are there already are kept.

    Returns:
        The results of all processes, which divide the pictures among them.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when what is done is kept.
    """
    state, device = join_processes(resolve_device(options.device))
    require_precision(device, options.precision)
    read_model_info(options.model)  # a name that is wrong leaves no folder behind
    with _claimed(options, reporter) if state.is_main_process else nullcontext(list[_Job]()) as jobs:
        return _upscale(options, of_first(jobs), state, device, reporter)


@contextmanager
def _claimed(options: UpscaleOptions, reporter: Reporter) -> Iterator[list[_Job]]:
    """What is to be done, with the output reserved for it."""
    with tempfile.TemporaryDirectory() as folder:
        jobs, several = _jobs(options, Path(folder))
        targets = [target for job in jobs for target in job.targets.values() if target is not None]
        folders = sorted({target.parent for target in targets})
        for each in folders:
            require_writable_folder(each)
        output = options.out if several else targets[0] if targets else None
        with reserved(output, is_folder=several) if output else nullcontext():
            for each in folders if several else []:
                remove_unfinished(each)
            yield _still_to_do(options, jobs, several, reporter)


def _upscale(
    options: UpscaleOptions, jobs: list[_Job], state: PartialState, device: torch.device, reporter: Reporter
) -> UpscaleResult:
    model = load_transformer(options.model, device)
    passes = _passes(options, model)
    settings = _sampling_settings(options, model)
    references = _references(options, jobs)
    with StopRequest(on_signal=lambda reason: reporter.warning(f"{reason}: stopping")) as stop:
        perceptual: torch.nn.Module | None = None
        if references:
            with state.main_process_first():  # one download, not one per process
                perceptual = perceptual_network(options.perceptual, reporter)
            if perceptual is not None:
                perceptual.to(device)
        upscaler = Upscaler(
            model,
            settings,
            options.precision,
            stop,
            _room(jobs),
            reconstruct=options.tokenizer_only,
            consistent=options.consistent,
        )
        total = upscaler.factor**passes
        again = f" in {passes} passes of {upscaler.factor}" if passes > 1 else ""
        reporter.info(f"{len(jobs)} picture{'s' if len(jobs) > 1 else ''}, {total} times larger{again}")
        mine: list[_Done] = []
        for position in range(state.process_index, len(jobs), state.num_processes):
            job = jobs[position]
            done = _Done(position, job.name)
            mine.append(done)
            try:
                small, attributes = read_with_attributes(job.path)
                _require_format(job, small, total)
            except ImageError as error:
                if len(jobs) == 1:
                    raise
                done.reason = error.reason
                reporter.warning(done.failure())
                continue
            for number, target in job.targets.items():
                with memory_errors(*_memory_message(options, small.shape, device)):
                    picture = _drawn(upscaler, small, number, passes, job.name, reporter)
                    _write(picture, target, attributes, reporter)
                    faithful = consistency(picture, small, total, upscaler.filter)
                    measured: dict[str, float] = {}
                    if job.name in references:
                        reference = read_reference(references[job.name], picture.shape)
                        measured = compare(picture, small, reference, perceptual, device)
                result = Upscaled(job.name, target, picture.shape[:2], faithful, measured)
                done.images.append(result)
                reporter.info(_line(result))
    everything = sorted(gather_object(mine), key=lambda done: done.position)
    for done in everything:
        if done.position % state.num_processes:  # it was done in silence, by another process
            for result in done.images:
                reporter.info(_line(result))
            if done.reason:
                reporter.warning(done.failure())
    return UpscaleResult(
        [result for done in everything for result in done.images],
        [(done.name, done.reason) for done in everything if done.reason],
    )


def _require_format(job: _Job, small: Picture, factor: int) -> None:
    """Raise ImageError if the format cannot hold the result, before anything is drawn."""
    for target in job.targets.values():
        size = (small.shape[0] * factor, small.shape[1] * factor)
        if target is not None and (reason := too_large(target, *size)):
            raise ImageError(job.path, f"{reason}; name a .png with -o")


def _drawn(
    upscaler: Upscaler, small: Picture, number: int, passes: int, name: str, reporter: Reporter
) -> Picture:
    picture = small
    for done in range(passes):
        cells = math.prod(upscaler.grid(picture.shape))
        what = f"drawing {name}" + (f", pass {done + 1} of {passes}" if passes > 1 else "")
        with reporter.progress(what, cells, "codes") as progress:
            picture = upscaler.enlarge(picture, number, progress.update)
    return picture


def _passes(options: UpscaleOptions, model: Transformer) -> int:
    """How often the model's factor is applied."""
    if model.map_encoder is None or model.map_encoder.map_kind.name != "lowres":
        kind = model.info.config.condition.kind
        raise UsageError(
            f"{str(model.info.path)!r} is a model of condition {kind!r}; upscale needs one of lowres",
            hint="train one: vqgan train-transformer --preset superres",
        )
    own = model.map_encoder.map_kind.config.lowres_factor
    passes, reached = 1, own
    while reached < (options.factor or own):
        passes, reached = passes + 1, reached * own
    if options.factor not in (None, reached):
        raise UsageError(
            f"--factor {options.factor}: this model enlarges {own} times, or in several passes "
            f"{own**2} or {own**3} times",
            hint=f"--factor {own}, or train with --set data.maps.lowres_factor={options.factor}",
        )
    return passes


def _sampling_settings(options: UpscaleOptions, model: Transformer) -> SamplingSettings:
    own = model.info.config.sampling
    return SamplingSettings(
        temperature=own.temperature if options.temperature is None else options.temperature,
        top_k=own.top_k if options.top_k is None else options.top_k,
        top_p=own.top_p,
        stride=options.stride,
        max_batch=options.max_batch,
        seed=options.seed,
    )


def _memory_message(options: UpscaleOptions, shape: tuple[int, ...], device: torch.device) -> tuple[str, str]:
    drawn = options.max_batch > 1 and not options.tokenizer_only
    smaller = f"--max-batch {options.max_batch // 2} or " if drawn else ""
    return (
        f"on {device} with a picture of {shape[0]}x{shape[1]} (height x width)",
        f"try {smaller}--precision bf16, or enlarge parts of it",
    )


def _jobs(options: UpscaleOptions, scratch: Path) -> tuple[list[_Job], bool]:
    """Pictures and where their results go, and whether a folder of them was named."""
    if options.source == STANDARD:
        given = scratch / "stdin"
        given.write_bytes(sys.stdin.buffer.read())
        files, several = [("standard input", given)], False
    else:
        found = find_images(options.source)
        files = [(key, found.root / key) for key in found.keys]
        several = not Path(options.source).is_file() or len(files) > 1
    if str(options.out) == STANDARD:
        if several or options.samples > 1:
            raise UsageError("-o - takes one picture", hint="name a folder with -o")
        return [_Job(files[0][0], files[0][1], {0: None})], False
    as_file = options.out.suffix.lower() in OUTPUT_SUFFIXES
    if several and as_file:
        raise UsageError(f"-o {options.out}: several pictures need a folder", hint="leave out the suffix")
    jobs = []
    for name, path in files:
        if as_file:
            base = options.out
        else:
            stem = Path("stdin.png" if options.source == STANDARD else name)
            base = options.out / stem.with_suffix(
                stem.suffix if stem.suffix.lower() in OUTPUT_SUFFIXES else ".png"
            )
        numbered: dict[int, Path | None] = {0: base}
        if options.samples > 1:
            names = (f"{base.stem}-{number:02d}{base.suffix}" for number in range(options.samples))
            numbered = dict(enumerate(map(base.with_name, names)))
        jobs.append(_Job(name, path, numbered))
    targets = [target for job in jobs for target in job.targets.values()]
    if len(set(targets)) < len(targets):
        raise OutputError("several pictures would get the same name", hint="enlarge them one by one")
    return jobs, several


def _still_to_do(options: UpscaleOptions, jobs: list[_Job], several: bool, reporter: Reporter) -> list[_Job]:
    """Of a folder what is not there yet; of one picture nothing may be there."""
    targets = [target for job in jobs for target in job.targets.values()]
    existing = {target for target in targets if target is not None and target.exists()}
    if not existing or options.force:
        return jobs
    if len(existing) == len(targets) or not several:
        first = next(target for target in targets if target in existing)
        raise OutputError(f"{str(first)!r} exists", hint="overwrite with --force, or name another with -o")
    reporter.info(f"going on: {len(existing)} of {len(targets)} are there already")
    left = []
    for job in jobs:
        missing = {number: target for number, target in job.targets.items() if target not in existing}
        left += [_Job(job.name, job.path, missing)] if missing else []
    return left


def _references(options: UpscaleOptions, jobs: list[_Job]) -> dict[str, Path]:
    """The large original of each picture by its name."""
    if options.reference is None:
        return {}
    if options.reference.is_file():
        if len(jobs) > 1:
            raise UsageError(
                "--reference is one picture, and there are several to compare", hint="name a folder"
            )
        return {jobs[0].name: options.reference}
    found = find_images(str(options.reference))
    by_stem = {str(Path(key).with_suffix("")): found.root / key for key in found.keys}
    references = {}
    for job in jobs:
        reference = by_stem.get(str(Path(job.name).with_suffix("")))
        if reference is None:
            raise DataError(f"{job.name!r} has no reference of its name in {str(options.reference)!r}")
        references[job.name] = reference
    return references


def _write(picture: Picture, target: Path | None, attributes: Attributes, reporter: Reporter) -> None:
    if target is not None:
        lost = write_upscaled(target, picture, attributes)
        if lost:
            reporter.warning(f"{target.suffix} cannot hold {' and '.join(lost)}; write a .png to keep it")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        write_upscaled(path, picture, attributes)
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _room(jobs: list[_Job]) -> Scratch:
    """For pictures that are larger than memory: on the disk of the results."""
    target = next(iter(jobs[0].targets.values()))
    return Scratch(Path(tempfile.gettempdir()) if target is None else target.parent)


def _line(result: Upscaled) -> str:
    where = "standard output" if result.path is None else str(result.path)
    parts = [f"{where}: {result.size[0]}x{result.size[1]} (height x width)"]
    parts.append(f"made small again {result.consistency:.1f} dB")
    for name in ("psnr", "ssim", "perceptual"):
        if name in result.measured:
            value, bicubic = result.measured[name], result.measured[f"bicubic_{name}"]
            parts.append(f"{name} {value:.4g} (bicubic {bicubic:.4g})")
    return ", ".join(parts)
