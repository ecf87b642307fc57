"""``vqgan decode``: integer codes to images."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from vqgan_cli.core.artifacts import load_tokenizer, read_model_info
from vqgan_cli.core.batching import THREADS, Background, full_batches
from vqgan_cli.core.config import map_form
from vqgan_cli.core.data.codes import Codes, check_fingerprint, open_codes
from vqgan_cli.core.data.codes_format import description_path, safe_name
from vqgan_cli.core.data.images import contact_sheet, remove_unfinished, write_image
from vqgan_cli.core.data.maps import MapKind, build_map_kind
from vqgan_cli.core.data.tensors import to_arrays
from vqgan_cli.core.data.transforms import resize
from vqgan_cli.core.device import autocast_for, resolve_device
from vqgan_cli.core.errors import CodesError, OutputError, UsageError
from vqgan_cli.core.files import require_writable_folder, reserved, write_text
from vqgan_cli.core.memory import in_batch, memory_errors
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.processes import join_processes, lost_process_named
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["DecodeOptions", "decode"]

GRID_IMAGES = 400

_NOTE = ".decoding.json"
"""In the output folder until all images are there: which call goes on with those that are missing."""


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode.

    Attributes:
        codes: the codes file, ``.npy``.
        out: folder of the images; with ``grid`` the picture, or a folder to put ``grid.png`` into.
        tokenizer: model file or run folder.
        format: ``png``, ``jpg`` or ``webp``.
        quality: of jpg and webp, 1 to 100.
        grid: one contact sheet in place of single images.
        keep_size: leave images at the size of their codes.
        batch_size: images at a time.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: see `resolve_device`.
        force: overwrite images, and decode codes of another tokenizer.
    """

    codes: Path
    out: Path
    tokenizer: Path
    format: str = "png"
    quality: int = 95
    grid: bool = False
    keep_size: bool = False
    batch_size: int = 8
    precision: str = "fp32"
    device: str = "auto"
    force: bool = False


@lost_process_named()
def decode(options: DecodeOptions, reporter: Reporter) -> list[Path]:
    """Decode a codes file into images under the names of the originals; goes on where an earlier call was stopped.

    Returns:
        The files of all processes, in the order of the codes.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when what is done is kept.
    """
    codes = open_codes(options.codes, require_metadata=False)
    if not len(codes):
        raise CodesError(f"{str(options.codes)!r} holds no images")
    info = read_model_info(options.tokenizer)
    check_fingerprint(codes, info.fingerprint, force=options.force)
    codes.validate(info.config.tokenizer.codebook_size)
    if not (options.keep_size or options.grid):
        _require_plausible_sizes(codes, info.config.data.max_megapixels)
    kind = info.config.data.kind
    map_kind = None if kind == "image" else build_map_kind(kind, info.config.data.maps)
    if map_form(kind) != "picture" and options.format != "png" and not options.grid:
        raise UsageError(f"{kind} maps are written as png: other formats would change their values")
    state, device = join_processes(resolve_device(options.device))
    targets = _targets(codes, options)
    claim = _claimed(targets, options, info.fingerprint) if state.is_main_process else nullcontext()
    with claim:
        state.wait_for_everyone()  # what one process writes must not be in the way of another's check
        tokenizer = load_tokenizer(info.path, device)
        shown = min(len(codes), GRID_IMAGES) if options.grid else len(codes)
        note = f", the first {shown} of them shown" if shown < len(codes) else ""
        reporter.info(f"{len(codes)} images in {options.codes}{note}, tokenizer {info.path}")
        if options.grid:  # one picture, of one process
            share = list(range(shown if state.is_main_process else 0))
        else:
            everything = range(state.process_index, shown, state.num_processes)
            share = [index for index in everything if not targets[index].exists()]
            if there := len(everything) - len(share):
                reporter.info(f"going on: {there} of them {'is' if there == 1 else 'are'} there already")
        with StopRequest(on_signal=lambda reason: reporter.warning(f"{reason}: stopping")) as stop:
            with memory_errors(f"with --batch-size {options.batch_size}", "lower --batch-size"):
                cells = _decode_all(codes, share, tokenizer, map_kind, targets, options, stop, reporter)
            stop.require_going("while decoding; the images written so far are whole")
        if cells:
            largest = max(cell.shape[0] for cell in cells), max(cell.shape[1] for cell in cells)
            columns = max(1, round((shown * largest[0] / largest[1]) ** 0.5))
            write_image(targets[0], contact_sheet(cells, columns=columns), quality=options.quality)
        state.wait_for_everyone()
    return targets


def _require_plausible_sizes(codes: Codes, max_megapixels: float) -> None:
    """A size in ``codes.json`` is what an image is enlarged to, so a few digits could ask for any amount of memory."""
    for index, image in enumerate(codes.images):
        if image.size is not None and image.size[0] * image.size[1] > max_megapixels * 1e6:
            raise CodesError(
                f"{str(codes.path)!r}: image {index} ({image.name!r}) has an original of {image.size[0]}x"
                f"{image.size[1]} (height x width), above the tokenizer's limit of {max_megapixels:g} megapixels",
                hint="leave the images at the size of their codes: --keep-size",
            )


def _targets(codes: Codes, options: DecodeOptions) -> list[Path]:
    """A path per image; two originals that differ only in their suffix both keep theirs."""
    if options.grid:
        is_file = options.out.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")
        return [options.out if is_file else options.out / f"grid.{options.format}"]
    names = [Path(safe_name(image.name)) for image in codes.images]
    alike = Counter(name.with_suffix("") for name in names)
    suffix = f".{options.format}"
    targets = [
        options.out
        / (name.with_suffix(suffix) if alike[name.with_suffix("")] == 1 else Path(f"{name}{suffix}"))
        for name in names
    ]
    target, images = Counter(targets).most_common(1)[0]
    if images > 1:
        raise CodesError(
            f"{str(options.codes)!r} has {images} images for {str(target)!r}", hint="look at them with --grid"
        )
    return targets


@contextmanager
def _claimed(targets: list[Path], options: DecodeOptions, fingerprint: str) -> Iterator[None]:
    """Reserve the output; of the images, those are there inside that the same call wrote before it was stopped."""
    folders = sorted({target.parent for target in targets} | ({options.out} - {*targets}))
    for folder in folders:
        require_writable_folder(folder)
    with reserved(targets[0] if options.grid else options.out, is_folder=not options.grid):
        if options.grid:
            _require_free(targets, options)
            yield
            return
        note, job = options.out / _NOTE, {"job": _job(options, fingerprint)}
        if _read(note) != job:
            _require_free(targets, options)
            write_text(note, json.dumps(job) + "\n")
        for folder in folders:
            remove_unfinished(folder)
        yield
        note.unlink(missing_ok=True)


def _require_free(targets: list[Path], options: DecodeOptions) -> None:
    """Remove what may be overwritten; raise where something may not."""
    try:
        existing = [target for target in targets if target.exists()]
    except OSError as error:  # such as a name that is too long
        raise OutputError(f"cannot write {error.filename!r}: {error.strerror}") from None
    if existing and not options.force:
        raise OutputError(
            f"{str(existing[0])!r} exists", hint="overwrite with --force, or name another folder with -o"
        )
    for target in existing:
        target.unlink()


def _job(options: DecodeOptions, fingerprint: str) -> str:
    """Hash of everything that the images depend on; a batch changes no more than how they are rounded."""
    digest = hashlib.sha256()
    settings = (fingerprint, options.format, options.quality, options.keep_size, options.precision)
    digest.update(repr(settings).encode())
    for path in (options.codes, description_path(options.codes)):
        with suppress(FileNotFoundError), path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _read(note: Path) -> Any:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _decode_all(
    codes: Codes,
    share: list[int],
    tokenizer: Tokenizer,
    map_kind: MapKind | None,
    targets: list[Path],
    options: DecodeOptions,
    stop: StopRequest,
    reporter: Reporter,
) -> list[npt.NDArray[Any]]:
    """Decode a share of the images; writes them, or returns them for a contact sheet."""
    device = next(tokenizer.parameters()).device
    batch_size = options.batch_size if codes.shape is not None else 1
    cells: dict[int, npt.NDArray[Any]] = {}
    done = 0

    def finish(index: int, image: npt.NDArray[Any]) -> None:
        if not options.keep_size:
            image = _restored(codes, index, image, tokenizer.downsampling)
        if map_kind is not None and options.format == "png":
            map_kind.write(targets[index], image)
        else:
            write_image(targets[index], image, quality=options.quality)

    def decoded(codes: torch.Tensor) -> torch.Tensor:
        with autocast_for(device, options.precision):
            return tokenizer.decode(codes).cpu()

    with (
        reporter.progress("decoding", len(share), "images") as progress,
        Background(THREADS, ahead=4 * batch_size) as writers,
    ):
        grids = ((index, codes.grid(index)) for index in share if not stop.pending())
        for indices, batch in full_batches(grids, batch_size):
            output = in_batch(
                decoded,
                torch.from_numpy(batch).to(device),
                f"on {device} with {batch_size} grids of {batch.shape[1]}x{batch.shape[2]} codes",
                "--precision bf16",
            )
            for index, image in zip(indices, to_arrays(output), strict=False):
                if options.grid:
                    cells[index] = map_kind.picture(image) if map_kind else image
                else:
                    writers.submit(finish, index, image)
            done += len(indices)
            progress.update(done)
    return [cells[index] for index in sorted(cells)]


def _restored(codes: Codes, index: int, image: npt.NDArray[Any], f: int) -> npt.NDArray[Any]:
    """The image at its original size, where nothing was cropped away; else as it was cropped."""
    record = codes.images[index]
    whole = record.resized == (record.grid[0] * f, record.grid[1] * f)
    if record.size is None or not whole:
        return image
    return resize(image, *record.size)
