"""Where images come from: a folder, a list, a glob, one file, or a built-in synthetic set.

`open_source` turns what the user wrote after ``--data`` into an `ImageSource`: an ordered, immutable set of images
with a stable name for each. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vqgan_cli import __version__
from vqgan_cli.core.data.images import image_size, read_image, read_label_map
from vqgan_cli.core.data.listing import find_images, natural_order
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.errors import UsageError, did_you_mean

__all__ = ["FileSource", "ImageSource", "SyntheticSource", "open_source", "split"]

Kind = Literal["image", "segmentation"]

_SYNTHETIC = "synthetic:"
_VALIDATION_SEED_OFFSET = 1_000_003


class ImageSource(ABC):
    """An ordered set of pictures or label maps; index i names the same one for as long as the source lives.

    Attributes:
        name: what the user wrote, such as ``photos/`` or ``synthetic:faces``.
        classes: names of the classes by label; empty when the source has none.
        fingerprint: hex digest that changes when the set or the content of its files changes.
    """

    name: str
    classes: tuple[str, ...]

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hex digest of the set's specification."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images, bad files included."""

    @abstractmethod
    def key(self, index: int) -> str:
        """Name of an image inside the source: a relative path with forward slashes."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Index into `classes`, or -1."""

    @abstractmethod
    def size(self, index: int) -> tuple[int, int]:
        """(height, width) without decoding.

        Raises:
            ImageError: the file cannot be read or is refused.
        """

    @abstractmethod
    def read(self, index: int, min_side: int | None = None) -> npt.NDArray[Any]:
        """The picture, uint8 ``[H, W, 3]``, or the label map, uint8 or uint16 ``[H, W]``.

        Args:
            index: 0 to ``len(self) - 1``.
            min_side: a JPEG may come reduced, with a short side of at least so many pixels.

        Raises:
            ImageError: the file cannot be read or is refused.
        """


class FileSource(ImageSource):
    """Image files in a given order.

    Args:
        name: what the user wrote.
        root: the folder that keys are relative to.
        keys: paths below ``root``, with forward slashes.
        by_class: the first folder below ``root`` is the class of an image.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        keys: Sequence[str],
        *,
        by_class: bool = False,
        kind: Kind = "image",
        background: tuple[int, int, int] = (255, 255, 255),
        max_megapixels: float = 200.0,
    ) -> None:
        self.name = name
        self.root = root
        self.classes = ()
        self._keys = tuple(keys)
        self._kind = kind
        self._background = background
        self._max_megapixels = max_megapixels
        self._labels: npt.NDArray[np.int64] | None = None
        if by_class:
            folders = [key.partition("/")[0] for key in keys]
            self.classes = tuple(sorted(set(folders), key=natural_order))
            labels = {folder: label for label, folder in enumerate(self.classes)}
            self._labels = np.array([labels[folder] for folder in folders])

    @cached_property
    def fingerprint(self) -> str:
        """Digest of kind, keys, sizes and modification times; the location does not matter."""
        digest = hashlib.blake2b(f"files {self._kind} {self._background}".encode(), digest_size=16)
        for index, key in enumerate(self._keys):
            try:
                stat = self.path(index).stat()
                state = f"{stat.st_size} {stat.st_mtime_ns}"
            except OSError:
                state = "unreadable"
            digest.update(b"\0" + os.fsencode(key) + b"\0" + state.encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """Path below `root`, with forward slashes."""
        return self._keys[index]

    def path(self, index: int) -> Path:
        """Where the file is."""
        return self.root / self._keys[index]

    def label(self, index: int) -> int:
        """Index into `classes`, or -1 when the source has none."""
        return -1 if self._labels is None else int(self._labels[index])

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of the upright image, from its header."""
        return image_size(self.path(index), max_megapixels=self._max_megapixels)

    def read(self, index: int, min_side: int | None = None) -> npt.NDArray[Any]:
        """See `ImageSource.read`."""
        path = self.path(index)
        if self._kind == "segmentation":
            return read_label_map(path, max_megapixels=self._max_megapixels)
        return read_image(
            path, background=self._background, max_megapixels=self._max_megapixels, min_side=min_side
        )


class SyntheticSource(ImageSource):
    """A stretch of an endless drawn set; image i depends on the seed and i only, at every size.

    Args:
        set_name: a key of ``SYNTHETIC_SETS``.
        height: pixels.
        width: pixels.
        length: images that count as one pass over the set.
        seed: another seed gives other images.
        kind: the picture or its label map.
    """

    def __init__(
        self, set_name: str, height: int, width: int, length: int, *, seed: int = 0, kind: Kind = "image"
    ) -> None:
        self.name = f"{_SYNTHETIC}{set_name}"
        self.seed = seed
        self._set_name = set_name
        self._set = SYNTHETIC_SETS[set_name]
        self.classes = tuple(self._set.classes)
        self._shape = (height, width)
        self._length = length
        self._kind: Kind = kind

    def held_out(self, length: int) -> SyntheticSource:
        """Validation images: the same set under another seed, so that training may be as long as it likes."""
        seed = self.seed + _VALIDATION_SEED_OFFSET
        return SyntheticSource(self._set_name, *self._shape, length, seed=seed, kind=self._kind)

    @property
    def fingerprint(self) -> str:
        """Digest of set, seed, length, size and the version of this package, which draws it."""
        spec = (__version__, self._set_name, self._kind, self._shape, self._length, self.seed)
        return hashlib.blake2b(repr(spec).encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return self._length

    def key(self, index: int) -> str:
        """Such as ``faces-000012``."""
        return f"{self._set_name}-{index:06d}"

    def label(self, index: int) -> int:
        """Class of the drawing, without drawing it."""
        return int(self._set.label(self.seed, index))

    def size(self, index: int) -> tuple[int, int]:
        """(height, width), the same for all."""
        return self._shape

    def read(self, index: int, min_side: int | None = None) -> npt.NDArray[Any]:
        """See `ImageSource.read`; ``min_side`` has no effect."""
        drawing = self._set.draw(self.seed, index, *self._shape)
        return drawing.segmentation if self._kind == "segmentation" else drawing.image


def open_source(
    spec: str,
    *,
    kind: Kind = "image",
    background: tuple[int, int, int] = (255, 255, 255),
    max_megapixels: float = 200.0,
    seed: int = 0,
    synthetic_size: int | tuple[int, int] = 64,
    synthetic_length: int = 20_000,
) -> ImageSource:
    """Find the images that a user asked for.

    Args:
        spec: one of

            - a folder: all images below it in natural order. Hidden files and ``__MACOSX`` are left out, each real
              folder is read once, links to folders that contain the link are not followed. If every image lies in
              a subfolder, the first level of folders are the classes.
            - a text file: one path per line, relative to that file; empty lines and lines that start with ``#``
              do not count. The order is kept.
            - a pattern with ``*``, ``?``, ``[...]`` or ``**`` (any depth; links to folders are not followed).
            - one image file.
            - ``synthetic:faces`` or ``synthetic:scenes``.
        kind: pictures or label maps.
        background: red, green, blue (0-255) behind transparent pixels.
        max_megapixels: larger files fail as decompression bombs when they are read.
        seed: of a synthetic set.
        synthetic_size: side or (height, width) in pixels of synthetic images.
        synthetic_length: number of synthetic images.

    Raises:
        DataError: nothing is there, or nothing that counts as an image.
        UsageError: there is no such synthetic set.
    """
    if spec.startswith(_SYNTHETIC) or spec == _SYNTHETIC.removesuffix(":"):
        return _open_synthetic(spec, kind, seed, synthetic_size, synthetic_length)
    listing = find_images(spec)
    return FileSource(
        spec,
        listing.root,
        listing.keys,
        by_class=listing.by_class,
        kind=kind,
        background=background,
        max_megapixels=max_megapixels,
    )


def split(
    source: ImageSource, fraction: float, maximum: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Divide a source into training and validation images.

    Each image is drawn by a hash of seed and key, so more files leave the side of the others as it is, unless
    ``maximum`` is reached: then the validation images with the lowest hashes stay.

    Args:
        source: with at least one image.
        fraction: expected share of validation images; 0: none at all.
        maximum: most validation images.
        seed: another seed gives another split.

    Returns:
        Ascending indices for training and for validation. Of two or more images at least one is on either side
        (unless ``fraction`` is 0); a single image is for training.
    """
    count = len(source)
    hashes = np.array([_uniform(seed, source.key(index)) for index in range(count)])
    order = np.argsort(hashes, kind="stable")
    drawn = min(int((hashes < fraction).sum()), maximum, count - 1)
    if count >= 2 and fraction > 0:
        drawn = max(drawn, 1)
    return np.sort(order[drawn:]), np.sort(order[:drawn])


def _uniform(seed: int, key: str) -> float:
    """A number in [0, 1) that looks random."""
    digest = hashlib.blake2b(os.fsencode(f"{seed} {key}"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def _open_synthetic(
    spec: str, kind: Kind, seed: int, size: int | tuple[int, int], length: int
) -> SyntheticSource:
    name = spec.removeprefix(_SYNTHETIC)
    if name not in SYNTHETIC_SETS:
        known = ", ".join(_SYNTHETIC + name for name in SYNTHETIC_SETS)
        raise UsageError(
            f"no synthetic set {spec!r}{did_you_mean(name, SYNTHETIC_SETS)}", hint=f"there are {known}"
        )
    height, width = (size, size) if isinstance(size, int) else size
    return SyntheticSource(name, height, width, length, seed=seed, kind=kind)
