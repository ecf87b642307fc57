"""``vqgan encode``: images to integer codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from vqgan_cli.core.artifacts import load_tokenizer, read_model_info
from vqgan_cli.core.batching import full_batches, one_late, prefetch
from vqgan_cli.core.data.codes_format import CodesMetadata, Failure
from vqgan_cli.core.data.codes_writer import CodesWriter, require_free_target
from vqgan_cli.core.data.tensors import to_batch, to_input
from vqgan_cli.core.device import autocast_for, resolve_device
from vqgan_cli.core.files import require_writable_folder
from vqgan_cli.core.memory import in_batch, memory_errors
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.processes import join_processes, lost_process_named
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.tokenizer_inputs import Prepared, TokenizerInputs, open_inputs, utf8
from vqgan_cli.core.training.stopping import StopRequest

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


@lost_process_named()
def encode(options: EncodeOptions, reporter: Reporter) -> EncodeResult:
    """Encode every image of a source into one codes file; goes on where an earlier call was stopped.

    Raises:
        VqganError: see `vqgan_cli.core.errors`; `StoppedError` after a signal, when what is done is kept.
    """
    require_free_target(options.out, overwrite=options.force)
    require_writable_folder(options.out.parent)
    state, device = join_processes(resolve_device(options.device))
    info = read_model_info(options.tokenizer)
    inputs = open_inputs(options.source, info, size=options.size, native=options.native)
    source = inputs.source
    count = min(len(source), options.limit or len(source))
    metadata = CodesMetadata(
        codebook_size=info.config.tokenizer.codebook_size,
        downsampling=info.config.tokenizer.downsampling,
        fingerprint=info.fingerprint,
        tokenizer=utf8(str(options.tokenizer)),
        source=utf8(options.source),
        sizing="native" if options.native else "crop",
        size=inputs.size,
        precision=options.precision,
        classes=tuple(map(utf8, source.classes)),
    )
    reporter.info(f"{count} images of {source.name}, {inputs.describe()}, tokenizer {info.path}")
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
                _encode_pending(writer, inputs, tokenizer, options, stop, reporter)
            stop.require_going("while encoding; what is encoded is kept")
            if not state.is_main_process:
                writer.close()
            state.wait_for_everyone()
            failed = writer.finalise() if state.is_main_process else []
    state.wait_for_everyone()
    return EncodeResult(count - len(failed), failed)


def _encode_pending(
    writer: CodesWriter,
    inputs: TokenizerInputs,
    tokenizer: Tokenizer,
    options: EncodeOptions,
    stop: StopRequest,
    reporter: Reporter,
) -> None:
    device = next(tokenizer.parameters()).device
    source, size = inputs.source, inputs.size
    pending = writer.pending()
    batch_size = options.batch_size if size is not None else 1  # native sizes differ
    sizes: dict[int, Prepared] = {}

    def readable() -> Iterator[tuple[int, npt.NDArray[Any]]]:
        for item in inputs.read(pending, batch=batch_size, device=device.type):
            if stop.pending():
                return
            if item.pixels is None:
                reporter.warning(f"skipped {source.key(item.position)!r}: {item.reason}")
                writer.fail(item.position, source.key(item.position), item.reason)
            else:
                sizes[item.position] = item._replace(pixels=None)
                yield item.position, item.pixels

    def as_batch(group: tuple[list[int], npt.NDArray[Any]]) -> tuple[list[int], torch.Tensor]:
        indices, pixels = group
        batch = to_batch(pixels)
        return indices, batch.pin_memory() if device.type == "cuda" else batch

    def encoded(images: torch.Tensor) -> torch.Tensor:
        with autocast_for(device, options.precision):
            return tokenizer.encode(images.contiguous(memory_format=torch.channels_last))

    def encoded_batches() -> Iterator[tuple[list[int], torch.Tensor]]:
        groups = full_batches(readable(), batch_size)
        on_cpu = device.type == "cpu"
        for indices, batch in (
            map(as_batch, groups) if on_cpu else prefetch(as_batch, groups, threads=1, ahead=1)
        ):
            if stop.pending():
                return
            images = to_input(batch, tokenizer, device)
            height, width = images.shape[2:]
            codes = in_batch(
                encoded,
                images,
                f"on {device} with {batch_size} images of {height}x{width} (height x width)",
                f"--precision bf16 or {'a smaller --size' if size else '--size in place of --native'}",
            )
            yield indices, codes

    done = 0
    with reporter.progress("encoding", len(pending), "images") as progress:
        for indices, codes in one_late(encoded_batches()):
            for row, index in zip(codes.cpu().numpy(), indices, strict=False):
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
