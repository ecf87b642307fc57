"""``vqgan encode``: images to integer codes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState

from vqgan_cli.core.artifacts import ModelInfo, load_tokenizer, read_model_info
from vqgan_cli.core.batching import full_batches, prefetch
from vqgan_cli.core.data.codes_format import CodesMetadata, Failure
from vqgan_cli.core.data.codes_writer import CodesWriter, require_free_target
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.tensors import to_input, to_tensor
from vqgan_cli.core.data.transforms import cover_crop, round_to_multiple
from vqgan_cli.core.device import autocast_for, resolve_device
from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.files import require_writable_folder
from vqgan_cli.core.memory import in_batch, memory_errors
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sizes import nearest_multiples
from vqgan_cli.core.training.stopping import StopRequest, stopped

__all__ = ["EncodeOptions", "EncodeResult", "encode"]


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode.

    Attributes:
        source: images, as ``open_source`` takes them.
        out: the codes file, ``.npy``.
        tokenizer: model file or run folder.
        size: (height, width) of the crop in pixels; None: the tokenizer's training size.
        native: each image at its own size, rounded to a multiple of f.
        batch_size: images at a time.
        precision: ``fp32``, ``bf16`` or ``fp16``; the quantizer always computes in float32.
        device: see `resolve_device`.
        limit: at most so many images, from the first.
        force: replace an existing codes file.
    """

    source: str
    out: Path
    tokenizer: Path
    size: tuple[int, int] | None = None
    native: bool = False
    batch_size: int = 8
    precision: str = "fp32"
    device: str = "auto"
    limit: int | None = None
    force: bool = False


@dataclass(frozen=True)
class EncodeResult:
    """How many images are in the codes file, and which could not be encoded."""

    images: int
    failed: list[Failure]


class _Prepared(NamedTuple):
    position: int
    pixels: npt.NDArray[Any] | None  # None: the image cannot be read
    size: tuple[int, int] = (0, 0)
    resized: tuple[int, int] = (0, 0)
    reason: str = ""


def encode(options: EncodeOptions, reporter: Reporter) -> EncodeResult:
    """Encode every image of a source into one codes file; goes on where an earlier call was stopped.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when what is done is kept.
    """
    require_free_target(options.out, overwrite=options.force)
    require_writable_folder(options.out.parent)
    device = resolve_device(options.device)
    state = PartialState(cpu=device.type == "cpu")
    if state.num_processes > 1:
        device = state.device  # each process has its own
    info = read_model_info(options.tokenizer)
    size = _crop_size(options, info)
    source = open_source(
        options.source,
        kind=info.config.data.kind,
        maps=info.config.data.maps,
        background=info.config.data.background,
        max_megapixels=info.config.data.max_megapixels,
        synthetic_size=size or info.config.data.size,
    )
    count = min(len(source), options.limit or len(source))
    metadata = CodesMetadata(
        codebook_size=info.config.tokenizer.codebook_size,
        downsampling=info.config.tokenizer.downsampling,
        fingerprint=info.fingerprint,
        tokenizer=_utf8(str(options.tokenizer)),
        source=_utf8(options.source),
        sizing="native" if options.native else "crop",
        size=size,
        precision=options.precision,
        classes=tuple(map(_utf8, source.classes)),
    )
    sizing = (
        "each image at its own size" if size is None else f"resized and centre-cropped to {size[0]}x{size[1]}"
    )
    reporter.info(f"{count} images of {source.name}, {sizing} (height x width), tokenizer {info.path}")
    tokenizer = load_tokenizer(info.path, device)

    with StopRequest(on_signal=lambda reason: reporter.warning(f"{reason}: stopping")) as stop:
        # Process 0 prepares the staging folder that the others write into.
        with state.main_process_first():
            writer = CodesWriter(
                options.out,
                metadata,
                count=count,
                source_fingerprint=source.fingerprint,
                process=state.process_index,
                processes=state.num_processes,
                overwrite=options.force,
            )
        with writer:
            if writer.resumed:
                reporter.info(f"going on: {writer.resumed} images were encoded before")
            with memory_errors(f"with --batch-size {options.batch_size}", "lower --batch-size"):
                _encode_pending(writer, source, tokenizer, options, size, stop, reporter)
            reason = stop.agreed(device)
            if reason:
                raise stopped(reason, "while encoding; what is encoded is kept")
            if not state.is_main_process:
                writer.close()
            state.wait_for_everyone()
            failed = writer.finalise() if state.is_main_process else []
    state.wait_for_everyone()
    return EncodeResult(count - len(failed), failed)


def _crop_size(options: EncodeOptions, info: ModelInfo) -> tuple[int, int] | None:
    if options.native:
        if options.size is not None:
            raise UsageError("--size and --native exclude each other")
        return None
    f = info.config.tokenizer.downsampling
    height, width = options.size or (info.config.data.size, info.config.data.size)
    if height % f or width % f:
        raise UsageError(
            f"--size {height}x{width} is not a multiple of this tokenizer's f = {f}",
            hint="the nearest sizes (height x width) are "
            + " and ".join(nearest_multiples(height, width, f)),
        )
    return height, width


def _utf8(name: str) -> str:
    """A file name as JSON can hold it: bytes that are not UTF-8 become ``\\xff``, as they do in image names."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _encode_pending(
    writer: CodesWriter,
    source: ImageSource,
    tokenizer: Tokenizer,
    options: EncodeOptions,
    size: tuple[int, int] | None,
    stop: StopRequest,
    reporter: Reporter,
) -> None:
    device = next(tokenizer.parameters()).device
    pending = writer.pending()
    batch_size = options.batch_size if size is not None else 1  # native sizes differ
    sizes: dict[int, _Prepared] = {}
    classes = tokenizer.config.in_channels if tokenizer.makes_labels else None

    def prepare(index: int) -> _Prepared:
        try:
            image = source.read(index, min_side=None if size is None else 2 * max(size))
            original = image.shape[:2] if size is None else source.size(index)
        except ImageError as error:
            return _Prepared(index, None, reason=error.reason)
        if classes is not None and image.max() >= classes:
            return _Prepared(
                index, None, reason=f"has label {image.max()}; the tokenizer knows 0 to {classes - 1}"
            )
        if size is None:
            image = round_to_multiple(image, tokenizer.downsampling)
            return _Prepared(index, source.finish(image), original, image.shape[:2])
        image, resized = cover_crop(image, *size)
        return _Prepared(index, source.finish(image), original, resized)

    def readable() -> Iterator[tuple[int, npt.NDArray[Any]]]:
        threads = os.cpu_count() or 1
        for item in prefetch(prepare, pending, threads=min(8, threads), ahead=4 * batch_size):
            if stop.pending():
                return
            if item.pixels is None:
                reporter.warning(f"skipped {source.key(item.position)!r}: {item.reason}")
                writer.fail(item.position, source.key(item.position), item.reason)
            else:
                sizes[item.position] = item._replace(pixels=None)
                yield item.position, item.pixels

    def encoded(images: torch.Tensor) -> npt.NDArray[np.int64]:
        with autocast_for(device, options.precision):
            return tokenizer.encode(images.contiguous(memory_format=torch.channels_last)).cpu().numpy()

    done = 0
    with reporter.progress("encoding", len(pending), "images") as progress:
        for indices, pixels in full_batches(readable(), batch_size):
            images = to_input(torch.stack([to_tensor(each) for each in pixels]), tokenizer, device)
            codes = in_batch(
                encoded,
                images,
                f"on {device} with {batch_size} images of {pixels.shape[1]}x{pixels.shape[2]} (height x width)",
                f"--precision bf16 or {'a smaller --size' if size else '--size in place of --native'}",
            )
            for row, index in zip(codes, indices, strict=False):
                item = sizes.pop(index)
                writer.add(
                    index,
                    row,
                    name=source.key(index),
                    size=item.size,
                    resized=item.resized,
                    label=source.label(index),
                )
            done += len(indices)
            progress.update(done)
