"""Sources of images: ordered, immutable sets with a stable name for each image. Nothing here imports torch."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqgan_cli import __version__
from vqgan_cli.core.data.images import IMAGE_SUFFIXES, image_size, read_image
from vqgan_cli.core.data.listing import natural_order
from vqgan_cli.core.data.maps import MapKind
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS

__all__ = [
    "SYNTHETIC",
    "ComputedSource",
    "FileSource",
    "ImageSource",
    "SyntheticSource",
]

SYNTHETIC = "synthetic:"
"""Names of built-in sets begin with it."""
_VALIDATION_SEED_OFFSET = 1_000_003


class ImageSource(ABC):
    """An ordered set of pictures or maps; index i names the same one for as long as the source lives.

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
        """The picture, uint8 ``[H, W, 3]``, or the map, in the form of its `MapKind`.

        Args:
            index: 0 to ``len(self) - 1``.
            min_side: a JPEG may come reduced, with a short side of at least so many pixels.

        Raises:
            ImageError: the file cannot be read or is refused.
        """

    def mirror(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What `read` would give of the mirrored picture."""
        return array[:, ::-1]

    def finish(self, square: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """From a cropped square of what `read` gave to what is asked for; computed maps are made here."""
        return square

    def held_out(self, length: int) -> ImageSource | None:
        """Validation images of an endless set, which needs no split; else None."""
        return None


class FileSource(ImageSource):
    """Image files in a given order.

    Args:
        name: what the user wrote.
        root: the folder that keys are relative to.
        keys: paths below ``root``, with forward slashes.
        by_class: the first folder below ``root`` is the class of an image.
        map_kind: reads the files as maps; None: pictures.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        keys: Sequence[str],
        *,
        by_class: bool = False,
        map_kind: MapKind | None = None,
        background: tuple[int, int, int] = (255, 255, 255),
        max_megapixels: float = 200.0,
    ) -> None:
        self.name = name
        self.root = root
        self.classes = ()
        self._keys = tuple(keys)
        self._map_kind = map_kind
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
        what = self._map_kind.signature if self._map_kind else f"image {self._background}"
        digest = hashlib.blake2b(f"files {what}".encode(), digest_size=16)
        root = os.fspath(self.root)
        for key in self._keys:
            try:
                stat = os.stat(os.path.join(root, key))  # noqa: PTH116, PTH118 - a Path per file doubles the time
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
        """(height, width) of the upright image, from its header if it is an image file."""
        path = self.path(index)
        if self._map_kind is not None and path.suffix.lower() not in IMAGE_SUFFIXES:
            return self._map_kind.read(path, max_megapixels=self._max_megapixels).shape[:2]
        return image_size(path, max_megapixels=self._max_megapixels)

    def read(self, index: int, min_side: int | None = None) -> npt.NDArray[Any]:
        """See `ImageSource.read`."""
        path = self.path(index)
        if self._map_kind is not None:
            return self._map_kind.read(path, max_megapixels=self._max_megapixels)
        return read_image(
            path, background=self._background, max_megapixels=self._max_megapixels, min_side=min_side
        )

    def mirror(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `ImageSource.mirror`."""
        return self._map_kind.mirror(array) if self._map_kind else super().mirror(array)


class SyntheticSource(ImageSource):
    """A stretch of an endless drawn set; image i depends on the seed and i only, at every size.

    Args:
        set_name: a key of ``SYNTHETIC_SETS``.
        height: pixels.
        width: pixels.
        length: images that count as one pass over the set.
        seed: another seed gives other images.
        map_kind: gives the maps of the drawings; None: the pictures.
    """

    def __init__(
        self,
        set_name: str,
        height: int,
        width: int,
        length: int,
        *,
        seed: int = 0,
        map_kind: MapKind | None = None,
    ) -> None:
        self.name = f"{SYNTHETIC}{set_name}"
        self.seed = seed
        self._set_name = set_name
        self._set = SYNTHETIC_SETS[set_name]
        self.classes = tuple(self._set.classes)
        self._shape = (height, width)
        self._length = length
        self._map_kind = map_kind

    def held_out(self, length: int) -> SyntheticSource:
        """Validation images: the same set under another seed, so that training may be as long as it likes."""
        seed = self.seed + _VALIDATION_SEED_OFFSET
        return SyntheticSource(self._set_name, *self._shape, length, seed=seed, map_kind=self._map_kind)

    @property
    def fingerprint(self) -> str:
        """Digest of set, seed, length, size and the version of this package, which draws it."""
        what = self._map_kind.signature if self._map_kind else "image"
        spec = (__version__, self._set_name, what, self._shape, self._length, self.seed)
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
        return self._map_kind.from_drawing(drawing, self._set) if self._map_kind else drawing.image

    def mirror(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `ImageSource.mirror`."""
        return self._map_kind.mirror(array) if self._map_kind else super().mirror(array)


class ComputedSource(ImageSource):
    """Maps that are computed from pictures, each from the square that was cut out of its picture.

    `read` gives the picture, `finish` its map: an edge is one pixel wide at the size at which it is used.
    """

    def __init__(self, images: ImageSource, map_kind: MapKind) -> None:
        self.name = images.name
        self.classes = images.classes
        self._images = images
        self._map_kind = map_kind

    @property
    def fingerprint(self) -> str:
        """Digest of the pictures and of how maps are computed."""
        spec = (self._images.fingerprint, self._map_kind.signature)
        return hashlib.blake2b(repr(spec).encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self._images)

    def key(self, index: int) -> str:
        """That of the picture."""
        return self._images.key(index)

    def label(self, index: int) -> int:
        """That of the picture."""
        return self._images.label(index)

    def size(self, index: int) -> tuple[int, int]:
        """That of the picture."""
        return self._images.size(index)

    def read(self, index: int, min_side: int | None = None) -> npt.NDArray[Any]:
        """The picture."""
        return self._images.read(index, min_side)

    def finish(self, square: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The map of a square."""
        return self._map_kind.compute(square)

    def held_out(self, length: int) -> ImageSource | None:
        """Maps of the validation images of an endless set."""
        images = self._images.held_out(length)
        return None if images is None else ComputedSource(images, self._map_kind)
