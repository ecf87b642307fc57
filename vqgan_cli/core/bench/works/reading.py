"""Encoding a folder of image files: reading and computing at the same time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import read_model_info, save_tokenizer
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.tensors import to_input, to_tensor
from vqgan_cli.core.device import autocast_for
from vqgan_cli.core.recipes.encode import EncodeOptions, encode
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.tokenizer_inputs import open_inputs

__all__ = ["io_works"]

_QUALITY = 90  # of the JPEG files
_ENLARGED = 3  # sides of the files, in training sizes


def io_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """``vqgan encode`` of a folder, against reading and encoding one image after the other, by the same network.

    It can be no faster than the slower of the network on images that are in memory, and of reading without a network.
    """
    batch = settings.batch(subject.device.type)
    with tempfile.TemporaryDirectory() as folder:
        model, out = Path(folder) / "model.safetensors", Path(folder) / "codes.npy"
        provenance = {"version": __version__, "step": 0, "data": "none", "images": 0, "classes": []}
        save_tokenizer(model, subject.tokenizer.state_dict(), subject.config, provenance)
        data = settings.data or _write_photos(Path(folder) / "photos", subject, settings.images)
        inputs = open_inputs(data, read_model_info(model))
        count = min(settings.images, len(inputs.source))
        first = inputs.prepare(0).pixels
        assert first is not None
        ready = to_input(torch.stack([to_tensor(first)] * batch), subject.tokenizer, subject.device)
        ready = ready.contiguous(memory_format=torch.channels_last)

        def together() -> None:
            options = EncodeOptions(
                data, out, model, batch_size=batch, precision=subject.precision, limit=count,
                device=str(subject.device), force=True,
            )  # fmt: skip
            encode(options, Reporter())

        def one_by_one() -> None:
            for start in range(0, count, batch):
                pixels = [
                    inputs.prepare(start + number).pixels for number in range(min(batch, count - start))
                ]
                tensors = torch.stack([to_tensor(each) for each in pixels if each is not None])
                images = to_input(tensors, subject.tokenizer, subject.device)
                with autocast_for(subject.device, subject.precision):
                    subject.tokenizer.encode(images.contiguous(memory_format=torch.channels_last)).cpu()

        def network() -> None:
            for _ in range(-(-count // batch)):
                with autocast_for(subject.device, subject.precision):
                    subject.tokenizer.encode(ready).cpu()

        def reading() -> None:
            for _ in inputs.read(range(count), ahead=4 * batch):
                pass

        yield Work(
            f"io, {count} files, batch {batch}",
            "images",
            Way(together, count),
            Way(one_by_one, count),
            others={"network": Way(network, batch * -(-count // batch)), "reading": Way(reading, count)},
        )


def _write_photos(folder: Path, subject: Subject, count: int) -> str:
    folder.mkdir()
    side = _ENLARGED * subject.config.data.size
    source = open_source("synthetic:scenes", synthetic_size=side)
    for index in range(count):
        write_image(folder / f"{index:05}.jpg", source.read(index), quality=_QUALITY)
    return str(folder)
