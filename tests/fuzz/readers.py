"""Reads damaged files for as long as it is told to, in a process of its own whose memory and time are limited.

``python -m tests.fuzz.readers FIRST LAST images`` damages a good file by each seed from FIRST to LAST - 1 and gives it
to the readers of pictures and maps; ``checkpoints`` are those of other projects, ``models`` our own. A reader may raise
an error of the project, and nothing else. It must end within seconds, and stay within a limit of memory; it may neither
start a program, nor unpickle, nor connect, nor write. The seeds are printed one after the other, so that the last one
is that of a finding; lines of JSON say how many files were read and refused, and how much memory it took.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from tests.fuzz.damage import damaged
from tests.security.audit import EXECUTION, NETWORK, REMOVAL, WRITING, Audit
from vqgan_cli.core.errors import VqganError

SECONDS = 20
"""For one file; a good one takes a few milliseconds."""
MEMORY = 512 << 20
"""Bytes that reading may take at most, beside what the process has when it begins."""
MAX_MEGAPIXELS = 4.0

FORBIDDEN = (*NETWORK, *EXECUTION, *REMOVAL, *WRITING)
"""Events of Python's audit that no reading causes."""

Reader = Callable[[Path], object]
Corpus = dict[str, bytes]  # file name -> content


def images(folder: Path) -> tuple[Corpus, list[Reader]]:
    """Small pictures of every format and mode, with metadata; arrays and points."""
    from tests.data.bad_images import write_odd_images, write_turned_images
    from vqgan_cli.core.config import MapsConfig
    from vqgan_cli.core.data.attributes import read_with_attributes
    from vqgan_cli.core.data.images import image_size, read_image
    from vqgan_cli.core.data.maps import MAP_KINDS

    write_odd_images(folder / "odd")
    write_turned_images(folder / "turned")
    corpus = {path.name: path.read_bytes() for path in sorted(folder.glob("*/*"))}
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    for suffix, options in {
        "jpg": {"progressive": True, "comment": b"x" * 50}, "bmp": {}, "gif": {},
        "tif": {"compression": "tiff_lzw"}, "tiff": {"compression": "tiff_adobe_deflate"}, "webp": {}, "jpeg": {},
    }.items():  # fmt: skip
        picture.save(folder / f"picture.{suffix}", **options)
    np.save(folder / "depth.npy", np.linspace(1, 9, 320, dtype=np.float32).reshape(16, 20))
    points = {"size": [24, 32], "points": {"nose": [3, 4], "neck": [9.5, 20]}, "skeleton": [["nose", "neck"]]}
    (folder / "points.json").write_text(json.dumps(points))
    corpus |= {path.name: path.read_bytes() for path in sorted(folder.glob("*.*"))}

    def of_kind(name: str) -> Reader:
        kind = MAP_KINDS[name](MapsConfig())
        return lambda path: path.suffix in kind.suffixes and kind.read(path, max_megapixels=MAX_MEGAPIXELS)

    limits = {"max_megapixels": MAX_MEGAPIXELS}
    readers = [partial(read, **limits) for read in (read_image, image_size, read_with_attributes)]
    readers.append(partial(read_image, min_side=8, **limits))
    return corpus, [*readers, *map(of_kind, ("segmentation", "depth", "keypoints"))]


def checkpoints(folder: Path) -> tuple[Corpus, list[Reader]]:
    """Both formats of torch.save in every protocol, safetensors, and configs."""
    import torch
    from safetensors.torch import save_file

    from vqgan_cli.core.interop.reading import read_foreign

    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3, dtype=torch.float16)}
    content = {"state_dict": state, "epoch": 3, "args": {"lr": 1e-4, "name": "x" * 20, "sizes": (1, 2, 3)}}
    for protocol in (2, 4):
        for zipped in (True, False):
            name = f"{'zip' if zipped else 'older'}-{protocol}.ckpt"
            torch.save(
                content, folder / name, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
            )
    save_file(state, folder / "plain.safetensors", {"format": "pt"})
    config = (
        "model:\n  target: taming.models.vqgan.VQModel\n  params: &p {n_embed: 16, lr: 4.5e-06}\n  more: *p\n"
    )
    corpus = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    save_file(state, folder / "good.safetensors")
    corpus |= {
        "config.yaml": config.encode(),
        "config.json": b'{"_class_name": "VQModel", "in_channels": 3, "x": [1, {}]}',
    }

    def read(path: Path) -> object:
        if path.suffix in (".yaml", ".json"):
            return read_foreign(folder / "good.safetensors", path)
        return {name: float(tensor.sum()) for name, tensor in read_foreign(path).tensors.items()}

    return corpus, [read]


def models(folder: Path) -> tuple[Corpus, list[Reader]]:
    """A tokenizer and a transformer of this program, of a few kilobytes."""
    from tests.fuzz.tiny_models import save_tiny_models
    from vqgan_cli.core.artifacts import load_tokenizer, load_transformer, read_model_info
    from vqgan_cli.core.recipes.info import info

    saved = save_tiny_models(folder)
    return {path.name: path.read_bytes() for path in saved}, [
        read_model_info,
        load_tokenizer,
        load_transformer,
        info,
    ]


KINDS = {"images": images, "checkpoints": checkpoints, "models": models}


def without_checksums(data: bytes) -> bytes:
    """An archive that says that it has none, so that damage reaches what is behind them."""
    result = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        start = result.find(mark)
        while start >= 0:
            result[start + place : start + place + 4] = bytes(4)
            start = result.find(mark, start + 4)
    return bytes(result)


def files(corpus: Corpus, first: int, last: int) -> Iterator[tuple[int, str, bytes]]:
    """Seed, name and damaged content."""
    names = list(corpus)
    for seed in range(first, last):
        rng = Random(seed)
        name = names[seed % len(names)]
        data = corpus[name]
        if rng.random() < 0.5:
            data = without_checksums(data)
        yield seed, name, damaged(data, rng, corpus[rng.choice(names)])


def main(first: int, last: int, kinds: list[str]) -> None:
    audit = Audit()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "given").mkdir()
        made = []
        for kind in kinds:
            (folder / kind).mkdir()
            corpus, readers = KINDS[kind](folder / kind)
            for good, data in corpus.items():  # whatever is imported or allocated once
                given(folder / "given", good, data, readers, audit, ())
            made.append((corpus, readers))
        before = peak()
        limit()
        for kind, (corpus, readers) in zip(kinds, made, strict=True):
            read = []
            for seed, file, data in files(corpus, first, last):
                print(f"{kind}, seed {seed}, a damaged {file}", flush=True)
                faulthandler.dump_traceback_later(SECONDS, exit=True)
                read += given(folder / "given", file, data, readers, audit, FORBIDDEN)
                assert not audit.happened, audit.happened
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps({"kind": kind, "read": read.count(True), "refused": read.count(False)}))
        print(json.dumps({"grown": peak() - before}))


def given(
    folder: Path, name: str, data: bytes, readers: list[Reader], audit: Audit, forbidden: tuple[str, ...]
) -> list[bool]:
    """Whether each reader read a file."""
    path = folder / name
    path.write_bytes(data)
    read = []
    for reader in readers:
        audit.forbidden = forbidden
        try:
            reader(path)
            read.append(True)
        except VqganError:
            read.append(False)
        finally:
            audit.forbidden = ()
    return read


def peak() -> int:
    """Bytes of memory that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit() -> None:
    """No more memory than there is now and `MEMORY`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
