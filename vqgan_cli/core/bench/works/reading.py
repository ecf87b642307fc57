"""Encoding a folder of image files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import read_model_info, save_tokenizer
from vqgan_cli.core.bench.limits import wait_for
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.tensors import to_batch, to_input
from vqgan_cli.core.device import autocast_for
from vqgan_cli.core.errors import DataError
from vqgan_cli.core.tokenizer_inputs import TokenizerInputs, open_inputs

__all__ = ["io_works"]

_SECONDS, _FEWEST, _MOST = 3.0, 16, 2000  # of the network, and images
_QUALITY = 90  # of the JPEG files
_ENLARGED = 3  # sides of the files, in training sizes


def io_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """``vqgan encode`` of a folder, against reading and encoding one image after the other, by the same network.

    It can be no faster than the slower of the network on images that are in memory, and of reading without a network.
    """
    batch = settings.batch(subject.device.type)
    wanted = settings.images or _enough(subject, batch)
    with tempfile.TemporaryDirectory() as folder:
        model, out = Path(folder) / "model.safetensors", Path(folder) / "codes.npy"
        provenance = {"version": __version__, "step": 0, "data": "none", "images": 0, "classes": []}
        save_tokenizer(model, subject.tokenizer.state_dict(), subject.config, provenance)
        data = settings.data or _write_photos(Path(folder) / "photos", subject, wanted)
        inputs = open_inputs(data, read_model_info(model))
        count = min(wanted, len(inputs.source))
        ready = _network_input(_readable(inputs, range(count))[:1] * batch, subject)

        def together() -> None:
            settings.encode_folder(data, out, model, batch, count)

        def one_by_one() -> None:
            for start in range(0, count, batch):
                images = _network_input(_readable(inputs, range(start, min(start + batch, count))), subject)
                with autocast_for(subject.device, subject.precision):
                    subject.tokenizer.encode(images).cpu()

        def network() -> None:
            for _ in range(-(-count // batch)):
                with autocast_for(subject.device, subject.precision):
                    subject.tokenizer.encode(ready).cpu()

        def reading() -> None:
            for _ in inputs.read(range(count), batch=batch):
                pass

        yield Work(
            f"io, {count} files, batch {batch}",
            "images",
            Way(together, count),
            Way(one_by_one, count),
            others={"network": Way(network, batch * -(-count // batch)), "reading": Way(reading, count)},
        )


def _enough(subject: Subject, batch: int) -> int:
    """Images that take the network some seconds, beside which the start of the command counts little."""
    side = subject.config.data.size
    images = torch.zeros(batch, subject.config.tokenizer.in_channels, side, side, device=subject.device)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(3):
        wait_for(subject.device)
        begun = time.perf_counter()
        with autocast_for(subject.device, subject.precision):
            subject.tokenizer.encode(images)
        wait_for(subject.device)
        seconds.append(time.perf_counter() - begun)
    return max(_FEWEST, min(_MOST, round(_SECONDS / min(seconds) * batch)))


def _readable(inputs: TokenizerInputs, indices: range) -> list[npt.NDArray[Any]]:
    """Pixels of images.

    Raises:
        DataError: one cannot be read.
    """
    arrays = []
    for item in map(inputs.prepare, indices):
        if item.pixels is None:
            name = inputs.source.key(item.position)
            raise DataError(f"{name!r} {item.reason}", hint="measure with images that can be read")
        arrays.append(item.pixels)
    return arrays


def _network_input(arrays: list[npt.NDArray[Any]], subject: Subject) -> Tensor:
    return to_input(to_batch(np.stack(arrays)), subject.tokenizer, subject.device)


def _write_photos(folder: Path, subject: Subject, count: int) -> str:
    folder.mkdir()
    side = _ENLARGED * subject.config.data.size
    source = open_source("synthetic:scenes", synthetic_size=side)
    for index in range(count):
        write_image(folder / f"{index:05}.jpg", source.read(index), quality=_QUALITY)
    return str(folder)
