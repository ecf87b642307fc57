"""The codes that a prior trains on: computed once from images and cached, or read from a codes file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.batching import full_batches, prefetch
from vqgan_cli.core.data.codes import check_fingerprint, open_codes
from vqgan_cli.core.data.codes_format import codes_type
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.transforms import center_crop, resize_short_side
from vqgan_cli.core.errors import CodesError, DataError, ImageError
from vqgan_cli.core.files import require_writable_folder, staged_folder
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["Augmentation", "CodeSet", "cache_folder", "cached_codes", "read_codes", "views"]

Augmentation = Literal["none", "flip", "ten-crop"]
Array = npt.NDArray[Any]

TEN_CROP_SCALE = 1.1
"""Short side before the ten crops, in training sizes (LlamaGen's)."""

_VIEWS = {"none": 1, "flip": 2, "ten-crop": 10}


@dataclass(frozen=True)
class CodeSet:
    """Codes in memory-mapped form.

    Attributes:
        codes: unsigned [M, views, h, w].
        labels: int64 [M]; -1 without a class.
        classes: names by label.
        failed: path and reason of images that could not be read.
    """

    codes: Array
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...] = ()
    failed: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def grid(self) -> tuple[int, int]:
        """Cells [h, w]."""
        return self.codes.shape[2], self.codes.shape[3]

    def part(self, indices: npt.NDArray[np.int64]) -> CodeSet:
        """Some of the images, held in memory."""
        return CodeSet(self.codes[indices], self.labels[indices], self.classes, self.failed)


def views(image: Array, size: int, augmentation: Augmentation) -> list[Array]:
    """The squares of ``size`` pixels that are encoded of an image, uint8 [size, size, 3] each.

    The centre; with ``flip`` its mirror image too; with ``ten-crop`` centre and corners of a picture whose short side
    is 1.1 times the size, and their mirror images.
    """
    if augmentation != "ten-crop":
        square = center_crop(resize_short_side(image, size), size)
        return [square, square[:, ::-1]][: _VIEWS[augmentation]]
    image = resize_short_side(image, round(TEN_CROP_SCALE * size))
    bottom, right = image.shape[0] - size, image.shape[1] - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    squares = [image[top : top + size, left : left + size] for top, left in corners]
    return squares + [square[:, ::-1] for square in squares]


def cache_folder() -> Path:
    """Where codes are kept between runs: ``$VQGAN_CACHE``, else ``~/.cache/vqgan``; in it ``codes/``."""
    return Path(os.environ.get("VQGAN_CACHE") or Path.home() / ".cache/vqgan") / "codes"


def cached_codes(
    source: ImageSource,
    indices: Sequence[int] | npt.NDArray[np.int64],
    tokenizer: Tokenizer,
    fingerprint: str,
    *,
    size: int,
    augmentation: Augmentation,
    labels: Sequence[int],
    classes: tuple[str, ...],
    stop: StopRequest,
    reporter: Reporter,
    what: str = "encoding",
    batch_size: int = 16,
) -> CodeSet:
    """The codes of some images of a source, from the cache or computed and put there.

    Args:
        source: the images.
        indices: those wanted.
        tokenizer: on its device, in evaluation mode.
        fingerprint: of the tokenizer; with that of the source, it names the entry in the cache.
        size: side of the training square in pixels.
        augmentation: the views of each image.
        labels: class of each image of the source; not part of the cache.
        classes: names of the classes.
        stop: asked between batches.
        reporter: who listens.
        what: for the progress display.
        batch_size: views encoded at a time.

    Raises:
        DataError: no image can be read.
        OutputError: the cache cannot be written.
        InterruptedError: asked to stop.
    """
    indices = np.asarray(indices, np.int64)
    digest = hashlib.blake2b(
        json.dumps([fingerprint, source.fingerprint, size, augmentation]).encode(), digest_size=16
    )
    digest.update(indices.tobytes())
    folder = cache_folder() / digest.hexdigest()
    if (folder / "facts.json").is_file():
        reporter.info(f"{what}: codes of {len(indices)} images from the cache, {folder}")
    else:
        require_writable_folder(folder.parent)
        with staged_folder(folder) as staging:
            _encode(source, indices, tokenizer, size, augmentation, staging, stop, reporter, what, batch_size)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    kept = np.asarray(facts["kept"], np.int64)
    if not len(kept):
        raise DataError(
            f"none of the {len(indices)} images of {source.name!r} can be read: {facts['failed'][0]}"
        )
    f = tokenizer.downsampling
    grid = (size // f, size // f)
    codes = np.memmap(
        folder / "codes.bin",
        codes_type(tokenizer.codebook_size),
        "r",
        shape=(len(kept), _VIEWS[augmentation], *grid),
    )
    chosen = np.asarray(labels, np.int64)[kept]
    return CodeSet(codes, chosen, classes, [(path, reason) for path, reason in facts["failed"]])


def _encode(
    source: ImageSource,
    indices: npt.NDArray[np.int64],
    tokenizer: Tokenizer,
    size: int,
    augmentation: Augmentation,
    folder: Path,
    stop: StopRequest,
    reporter: Reporter,
    what: str,
    batch_size: int,
) -> None:
    device = next(tokenizer.parameters()).device
    kept: list[int] = []
    failed: list[tuple[str, str]] = []

    def read(index: int) -> tuple[int, list[Array] | str]:
        try:
            image = source.read(int(index), min_side=2 * size)
        except ImageError as error:
            return index, error.reason
        return index, views(image, size, augmentation)

    def squares() -> Iterator[tuple[int, Array]]:
        threads = min(8, os.cpu_count() or 1)
        for index, found in prefetch(read, map(int, indices), threads=threads, ahead=2 * batch_size):
            if stop.pending():
                raise InterruptedError
            if isinstance(found, str):
                reporter.warning(f"skipped {source.key(index)!r}: {found}")
                failed.append((source.key(index), found))
                continue
            kept.append(index)
            yield from ((index, square) for square in found)

    dtype = codes_type(tokenizer.codebook_size)
    written = 0
    with (
        reporter.progress(what, len(indices), "images") as progress,
        (folder / "codes.bin").open("wb") as file,
    ):
        for numbers, pixels in full_batches(squares(), batch_size):
            images = torch.from_numpy(pixels.transpose(0, 3, 1, 2)).to(device).float() / 127.5 - 1
            images = images.contiguous(memory_format=torch.channels_last)
            codes = tokenizer.encode(images)[: len(numbers)].cpu().numpy()
            file.write(codes.astype(dtype).tobytes())
            written += len(numbers)
            progress.update(written // _VIEWS[augmentation] + len(failed))
    (folder / "facts.json").write_text(json.dumps({"kept": kept, "failed": failed}), encoding="utf-8")


def read_codes(path: Path, fingerprint: str, codebook_size: int) -> CodeSet:
    """The codes of a file that ``vqgan encode`` wrote.

    Raises:
        CodesError: no codes file, empty, of several sizes, damaged, or of another tokenizer.
    """
    codes = open_codes(path)
    check_fingerprint(codes, fingerprint)
    if not len(codes):
        raise CodesError(
            f"{str(path)!r} holds no images", hint="encode some: vqgan encode IMAGES -o codes.npy"
        )
    if codes.shape is None:
        raise CodesError(
            f"{str(path)!r} holds grids of several sizes; training needs one", hint="encode without --native"
        )
    codes.validate(codebook_size)
    array = np.load(path, mmap_mode="r")
    classes = codes.metadata.classes if codes.metadata else ()
    return CodeSet(array[:, None], codes.labels, classes)
