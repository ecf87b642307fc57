"""Encoding and decoding of images that are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vqgan_cli.core.bench.limits import Pass
from vqgan_cli.core.bench.plain.autoencoder import PlainTokenizer
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.tensors import to_batch, to_input
from vqgan_cli.core.data.transforms import cover_crop
from vqgan_cli.core.device import autocast_for

__all__ = ["counted_flops", "decode_works", "encode_works", "sample_images"]

_COMPARED = 64  # images of given data


def encode_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """Images to codes; with it, the share of codes that are those of the plain way in float32."""
    tokenizer, plain = subject.tokenizer, PlainTokenizer(subject.tokenizer)
    batch, side = settings.batch(subject.device.type), subject.config.data.size
    laid_out = sample_images(subject, settings, batch)
    images = laid_out.contiguous()

    def ours() -> Tensor:
        with autocast_for(subject.device, subject.precision):
            return tokenizer.encode(laid_out)

    @torch.inference_mode()
    def theirs() -> Tensor:
        return plain.encode(images)

    def check() -> dict[str, float]:
        count = (settings.images or _COMPARED) if settings.data else batch
        shown = sample_images(subject, settings, count)
        same = total = 0
        for part in shown.split(batch):
            with autocast_for(subject.device, subject.precision):
                found = tokenizer.encode(part)
            with torch.inference_mode():
                same += int((found == plain.encode(part.contiguous())).sum())
            total += found.numel()
        return {"equal_codes": same / total, "images": len(shown)}

    name = f"encode {side}x{side}, batch {batch}"
    flops = counted_flops(ours)
    yield Work(name, "images", Way(ours, batch), Way(theirs, batch), lambda: [Pass(flops)], check=check)


def decode_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """Codes to images; with it, the largest and the mean difference of their values, which go from -1 to 1."""
    tokenizer, plain = subject.tokenizer, PlainTokenizer(subject.tokenizer)
    batch, side = settings.batch(subject.device.type), subject.config.data.size
    cells = side // tokenizer.downsampling
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(tokenizer.codebook_size, (batch, cells, cells), generator=generator).to(
        subject.device
    )

    def ours() -> Tensor:
        with autocast_for(subject.device, subject.precision):
            return tokenizer.decode(codes)

    @torch.inference_mode()
    def theirs() -> Tensor:
        return plain.decode(codes)

    def check() -> dict[str, float]:
        difference = (ours() - theirs()).abs()
        return {
            "largest_difference": float(difference.max()),
            "mean_difference": float(difference.mean()),
        }

    name = f"decode {side}x{side}, batch {batch}"
    flops = counted_flops(ours)
    yield Work(name, "images", Way(ours, batch), Way(theirs, batch), lambda: [Pass(flops)], check=check)


def sample_images(subject: Subject, settings: BenchSettings, count: int) -> Tensor:
    """The first images of the data, [count, 3, S, S] in [-1, 1], as `vqgan encode` gives them to a network; repeated
    where there are fewer.
    """
    side = subject.config.data.size
    source = open_source(settings.data or "synthetic:scenes", synthetic_size=side)
    arrays = [cover_crop(source.read(index % len(source)), side, side)[0] for index in range(count)]
    return to_input(to_batch(np.stack(arrays)), subject.tokenizer, subject.device)


def counted_flops(call: Callable[[], object]) -> float:
    """Floating point operations of matrix products and convolutions in a call, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())
