"""The codes that a prior trains on: computed once from images and cached, or read from a codes file."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.batching import beside
from vqgan_cli.core.cache import cache_root
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.data.codes import check_fingerprint, open_codes
from vqgan_cli.core.data.codes_format import codes_type
from vqgan_cli.core.data.pairs import Pairs
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.tensors import to_batch, to_input
from vqgan_cli.core.data.transforms import resize, resize_short_side
from vqgan_cli.core.errors import CodesError, DataError, ImageError
from vqgan_cli.core.files import locked, require_writable_folder, staged_folder
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["VIEWS", "Augmentation", "CodeSet", "cache_folder", "cached_codes", "read_codes", "views"]

Augmentation = Literal["none", "flip", "ten-crop"]
Array = npt.NDArray[Any]

_CODES, _CONDITION = "codes.bin", "condition.bin"
_NOTHING_KEPT = "while encoding; nothing is kept of it"

TEN_CROP_SCALE = 1.1
"""Short side before the ten crops, in training sizes (LlamaGen's)."""

VIEWS = {"none": 1, "flip": 2, "ten-crop": 10}
"""Squares that are encoded of an image, by augmentation."""
_ASPECT_TOLERANCE = 0.03


@dataclass(frozen=True)
class CodeSet:
    """Codes of N images, of which a file holds M: they stay in it, memory-mapped, until they are asked for.

    Attributes:
        codes: unsigned [M, views, h, w].
        condition: codes of the map of each view, unsigned of the same shape; None without maps.
        labels: int64 [N]; -1 without a class.
        classes: names by label.
        failed: path and reason of images that could not be read.
        rows: of `codes` and `condition`, int64 [N]; None: all of them, N = M.
    """

    codes: Array
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...] = ()
    failed: list[tuple[str, str]] = field(default_factory=list)
    condition: Array | None = None
    rows: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def grid(self) -> tuple[int, int]:
        """Cells [h, w]."""
        return self.codes.shape[2], self.codes.shape[3]

    @property
    def views(self) -> int:
        """Squares of each image."""
        return self.codes.shape[1]

    def part(self, indices: npt.NDArray[np.int64]) -> CodeSet:
        """Some of the images; their codes are not copied."""
        rows = indices if self.rows is None else self.rows[indices]
        return replace(self, labels=self.labels[indices], rows=rows)

    def read(
        self, images: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64] | None]:
        """One view of each of some images: codes int64 [B, h, w], and those of its map."""
        rows = images if self.rows is None else self.rows[images]
        condition = None if self.condition is None else self.condition[rows, views].astype(np.int64)
        return self.codes[rows, views].astype(np.int64), condition


def views(
    image: Array,
    size: int,
    augmentation: Augmentation,
    map_: Array | None = None,
    mirror: Callable[[Array], Array] = lambda array: array[:, ::-1],
    *,
    side: int = 0,
) -> list[tuple[Array, Array | None]]:
    """The squares of ``size`` pixels that are encoded of an image, and the same squares of its map.

    The centre; with ``flip`` its mirror image too; with ``ten-crop`` centre and corners, and their mirror images.

    Args:
        image: uint8 [H, W, 3].
        size: side of a square.
        augmentation: which squares.
        map_: of the image, [H', W'] or [H', W', 3], of about the same aspect ratio.
        mirror: mirrors a map.
        side: short side of the picture in pixels before squares are cut; 0: the size, and 1.1 times that for ten crops.

    Raises:
        DataError: the map has another aspect ratio.
    """
    ten = augmentation == "ten-crop"
    image = resize_short_side(image, side or _side_for(size, augmentation))
    height, width = image.shape[:2]
    if map_ is not None:
        if abs(map_.shape[0] * width / (map_.shape[1] * height) - 1) > _ASPECT_TOLERANCE:
            shapes = f"{map_.shape[0]}x{map_.shape[1]}", f"{height}:{width}"
            raise DataError(f"its map is {shapes[0]} (height x width), but its own sides are as {shapes[1]}")
        map_ = resize(map_, height, width)
    bottom, right = height - size, width - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)] if ten else []
    corners.append((bottom // 2, right // 2))
    squares: list[tuple[Array, Array | None]] = []
    for top, left in corners:
        rows, columns = slice(top, top + size), slice(left, left + size)
        squares.append((image[rows, columns], None if map_ is None else map_[rows, columns]))
    if augmentation != "none":
        squares += [
            (square[:, ::-1], None if of_map is None else mirror(of_map)) for square, of_map in squares
        ]
    return squares


def _side_for(size: int, augmentation: Augmentation) -> int:
    """Short side in pixels of a picture before squares of a size are cut out of it."""
    return round(TEN_CROP_SCALE * size) if augmentation == "ten-crop" else size


def cache_folder() -> Path:
    """Where codes are kept between runs."""
    return cache_root() / "codes"


def cached_codes(
    source: ImageSource,
    indices: Sequence[int] | npt.NDArray[np.int64],
    tokenizer: Tokenizer,
    fingerprint: str,
    *,
    size: int,
    side: int = 0,
    augmentation: Augmentation,
    labels: Sequence[int],
    classes: tuple[str, ...],
    stop: StopRequest,
    reporter: Reporter,
    map_encoder: MapEncoder | None = None,
    what: str = "encoding",
    batch_size: int = 16,
    leads: bool = True,
) -> CodeSet:
    """The codes of some images of a source, from the cache or computed and put there.

    Args:
        source: the images.
        indices: those wanted.
        tokenizer: on its device, in evaluation mode.
        fingerprint: of the tokenizer; with that of the source, it names the entry in the cache.
        size: side of the training square in pixels.
        side: short side of an image in pixels before squares are cut, see `views`.
        augmentation: the views of each image.
        labels: class of each image of the source; not part of the cache.
        classes: names of the classes.
        stop: asked between batches.
        reporter: who listens.
        map_encoder: for the maps of ``source``, which then are `Pairs`.
        what: for the progress display.
        batch_size: views encoded at a time.
        leads: whether this process encodes what is not there. The others of its machine wait for it, which may take
            hours; no operation of the process group would wait so long, nor hear of a signal meanwhile.

    Raises:
        DataError: no image can be read.
        OutputError: the cache cannot be written.
        StoppedError: asked to stop.
    """
    indices = np.asarray(indices, np.int64)
    facts = [fingerprint, source.fingerprint, size, side, augmentation]
    if map_encoder is not None:
        facts += [map_encoder.map_kind.signature, map_encoder.fingerprint]
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
    digest.update(indices.tobytes())
    folder = cache_folder() / digest.hexdigest()
    require_writable_folder(folder.parent)

    def waiting() -> None:
        stop.require_going(_NOTHING_KEPT)

    while not leads and not (folder / "facts.json").is_file():
        waiting()
        time.sleep(0.2)
    # Two runs on the same images encode them once: the second waits, and finds them.
    with locked(folder.with_suffix(".lock"), waiting):
        if (folder / "facts.json").is_file():
            reporter.info(f"{what}: codes of {len(indices)} images from the cache, {folder}")
        else:
            with staged_folder(folder) as staging:
                encoder = _Encoder(tokenizer, map_encoder, staging)
                _encode(source, indices, encoder, size, side, augmentation, stop, reporter, what, batch_size)
    found = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    kept = np.asarray(found["kept"], np.int64)
    if not len(kept):
        raise DataError(
            f"none of the {len(indices)} images of {source.name!r} can be read: {found['failed'][0]}"
        )
    f = tokenizer.downsampling
    shape = (len(kept), VIEWS[augmentation], size // f, size // f)
    codes = np.memmap(folder / _CODES, codes_type(tokenizer.codebook_size), "r", shape=shape)
    condition = None
    if map_encoder is not None:
        condition = np.memmap(folder / _CONDITION, codes_type(map_encoder.codebook_size), "r", shape=shape)
    chosen = np.asarray(labels, np.int64)[kept]
    failed = [(path, reason) for path, reason in found["failed"]]
    return CodeSet(codes, chosen, classes, failed, condition)


class _Encoder:
    """Writes the codes of squares, and of their maps, as they come."""

    def __init__(self, tokenizer: Tokenizer, map_encoder: MapEncoder | None, folder: Path) -> None:
        self.folder = folder
        self.device = next(tokenizer.parameters()).device.type
        self._tokenizer = tokenizer
        self._map_encoder = map_encoder

    def write(self, squares: Sequence[tuple[Array, Array | None]], count: int) -> None:
        """Encode a full batch and keep the first ``count``."""
        device = next(self._tokenizer.parameters()).device
        batch = to_batch(np.stack([image for image, _ in squares]))
        images = to_input(batch, self._tokenizer, device).contiguous(memory_format=torch.channels_last)
        self._append(
            _CODES, self._tokenizer.encode(images).cpu().numpy()[:count], self._tokenizer.codebook_size
        )
        if self._map_encoder is not None:
            maps = [each for _, each in squares if each is not None]
            self._append(_CONDITION, self._map_encoder.encode(maps)[:count], self._map_encoder.codebook_size)

    def _append(self, name: str, codes: Array, codebook_size: int) -> None:
        with (self.folder / name).open("ab") as file:
            file.write(codes.astype(codes_type(codebook_size)).tobytes())


def _encode(
    source: ImageSource,
    indices: npt.NDArray[np.int64],
    encoder: _Encoder,
    size: int,
    side: int,
    augmentation: Augmentation,
    stop: StopRequest,
    reporter: Reporter,
    what: str,
    batch_size: int,
) -> None:
    kept: list[int] = []
    failed: list[tuple[str, str]] = []

    def read(index: int) -> tuple[int, list[tuple[Array, Array | None]] | str]:
        try:
            image = source.read(index, min_side=2 * (side or _side_for(size, augmentation)))
            if not isinstance(source, Pairs):
                return index, views(image, size, augmentation, side=side)
            of_image = source.whole_map(index, image)
            squares = views(image, size, augmentation, of_image, source.map_kind.mirror, side=side)
        except ImageError as error:
            return index, error.reason
        except DataError as error:
            return index, error.message
        if of_image is None:
            squares = [(square, source.map_kind.compute(square)) for square, _ in squares]
        return index, squares

    def squares() -> Iterator[tuple[Array, Array | None]]:
        for index, found in beside(encoder.device, read, map(int, indices), ahead=2 * batch_size):
            stop.require_going(_NOTHING_KEPT)
            if isinstance(found, str):
                reporter.warning(f"skipped {source.key(index)!r}: {found}")
                failed.append((source.key(index), found))
                continue
            kept.append(index)
            yield from found

    written = 0
    with reporter.progress(what, len(indices), "images") as progress:
        waiting = squares()
        # Full batches, as in `full_batches`: a code must not depend on how many images came with it.
        while batch := list(itertools.islice(waiting, batch_size)):
            encoder.write(batch + batch[-1:] * (batch_size - len(batch)), len(batch))
            written += len(batch)
            progress.update(written // VIEWS[augmentation] + len(failed))
    text = json.dumps({"kept": kept, "failed": failed})
    (encoder.folder / "facts.json").write_text(text, encoding="utf-8")


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
