"""Read codes files: an array of codes and the JSON file beside it that says what they are.

`vqgan_cli.core.data.codes_format` describes the pair, `vqgan_cli.core.data.codes_writer` makes one.
"""

from __future__ import annotations

import gc
import itertools
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from vqgan_cli.core.data.codes_format import (
    CodesDescription,
    Failure,
    ImageRecord,
    codes_type,
    description_path,
    safe_name,
)
from vqgan_cli.core.errors import CodesError, FingerprintError

__all__ = ["Codes", "check_fingerprint", "open_codes"]

_CHUNK = 2**22  # codes looked at in one piece
_SPOT_CHECKS = 16

Array = npt.NDArray[Any]


class Codes:
    """The codes of N images, memory-mapped: a sequence of grids, as torch's DataLoader takes it.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> from vqgan_cli import open_codes
        >>> codes = open_codes("codes.npy")
        >>> len(codes), codes.shape, codes.metadata.codebook_size
        (48, (8, 8), 64)
        >>> batch = next(iter(DataLoader(codes, batch_size=4, shuffle=True)))
        >>> batch.shape, batch.dtype
        (torch.Size([4, 8, 8]), torch.int64)

    Attributes:
        path: the ``.npy`` file.
        metadata: None for an array without ``codes.json``.
        images: one record per image.
        failed: inputs that have no codes.
    """

    def __init__(self, path: Path, array: Array, description: CodesDescription | None) -> None:
        self.path = path
        self.metadata = description.metadata if description else None
        self.failed: Sequence[Failure] = description.failed if description else ()
        if description:
            self.images: Sequence[ImageRecord] = description.images
        else:
            grid = (array.shape[1], array.shape[2])
            self.images = [ImageRecord(name=f"{index:06d}", grid=grid) for index in range(len(array))]
        areas = np.array([image.grid[0] * image.grid[1] for image in self.images], np.int64)
        self._starts = np.concatenate([np.zeros(1, np.int64), areas.cumsum()])  # [N + 1], in the flat array
        self._flat = array.reshape(-1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> npt.NDArray[np.int64]:
        """The codes of one image, int64 [h, w], a copy; negative indices count from the end.

        Raises:
            IndexError: there are not so many.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return self.grid(index % len(self))

    def grid(self, index: int) -> npt.NDArray[np.int64]:
        """The codes of one image: [h, w], a copy."""
        return self._stored(index).astype(np.int64).reshape(self.images[index].grid)

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the tokenizer; None where it is not known."""
        return self.metadata.fingerprint if self.metadata else None

    @property
    def shape(self) -> tuple[int, int] | None:
        """The grid [h, w] of all images, or None where they differ."""
        grids = {image.grid for image in self.images}
        return grids.pop() if len(grids) == 1 else None

    @property
    def names(self) -> list[str]:
        """Name of each image."""
        return [image.name for image in self.images]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class of each image, [N]; -1 without one."""
        return np.array([image.label for image in self.images], np.int64)

    def validate(self, codebook_size: int | None = None) -> None:
        """Look at every code, a few megabytes at a time.

        Args:
            codebook_size: K of the tokenizer that will decode; None: the one in the metadata.

        Raises:
            CodesError: a code outside the codebook, with image, row, column and value; or an image that was changed
                or damaged since it was encoded.
        """
        begin = 0
        while begin < len(self):
            end = int(np.searchsorted(self._starts, self._starts[begin] + _CHUNK, "right")) - 1
            end = min(max(end, begin + 1), len(self))
            self._check(begin, end, codebook_size)
            begin = end

    def spot_check(self) -> None:
        """`validate` for a few images spread over the file, whatever its size: are the two files one pair?"""
        for index in {round(place) for place in np.linspace(0, len(self) - 1, _SPOT_CHECKS) if len(self)}:
            self._check(index, index + 1, None)

    def _stored(self, begin: int, end: int | None = None) -> Array:
        return self._flat[self._starts[begin] : self._starts[begin + 1 if end is None else end]]

    def _check(self, begin: int, end: int, codebook_size: int | None) -> None:
        """Check the images from ``begin`` up to ``end``."""
        codes = np.asarray(self._stored(begin, end))
        size = codebook_size or (self.metadata.codebook_size if self.metadata else None)
        if codes.min() < 0 or (size is not None and codes.max() >= size):
            bad = codes < 0 if size is None else (codes < 0) | (codes >= size)
            position = int(self._starts[begin]) + int(bad.argmax())
            index = int(np.searchsorted(self._starts, position, "right")) - 1
            row, column = divmod(position - int(self._starts[index]), self.images[index].grid[1])
            raise CodesError(
                f"{str(self.path)!r}: image {index} ({self.images[index].name!r}) has the code {self._flat[position]} "
                f"at row {row}, column {column}, outside "
                + (f"the codebook of {size} (0 to {size - 1})" if size else "any codebook"),
                hint="decode with the tokenizer that made the codes, or encode again",
            )
        if self.metadata is None:
            return
        stored = np.ascontiguousarray(codes, codes_type(self.metadata.codebook_size))
        ends = (self._starts[begin : end + 1] - self._starts[begin]) * stored.itemsize
        content = stored.view(np.uint8).data
        for index, (first, last) in enumerate(itertools.pairwise(ends.tolist()), begin):
            expected = self.images[index].crc32
            if expected is not None and zlib.crc32(content[first:last]) != expected:
                raise CodesError(
                    f"{str(self.path)!r}: image {index} ({self.images[index].name!r}) was changed or damaged since "
                    f"it was encoded, or {description_path(self.path).name!r} belongs to other codes",
                    hint="encode again; codes changed on purpose go into a new .npy file, without the .json",
                )


def open_codes(path: Path | str, *, require_metadata: bool = True) -> Codes:
    """Open a codes file without reading it; a few images are checked against ``codes.json``.

    Args:
        path: the ``.npy`` file.
        require_metadata: refuse an array without ``codes.json`` beside it; else it may be any integers [N, h, w],
            and the images are called 000000, 000001 and so on.

    Examples:
        >>> from vqgan_cli import open_codes
        >>> codes = open_codes("codes.npy")
        >>> codes.names[0], codes.metadata.classes[codes.labels[0]], codes[0].shape
        ('blue/0.png', 'blue', (8, 8))

    Raises:
        CodesError: not there, truncated, pickled, not integers, or the two files do not fit each other.
    """
    path = Path(path)
    array = _map_array(path)
    description = (
        _read_description(path, array) if require_metadata or description_path(path).exists() else None
    )
    if description is None and (array.ndim != 3 or not all(array.shape[1:])):
        raise CodesError(f"{str(path)!r} has the shape {array.shape}; codes alone must be [N, h, w]")
    codes = Codes(path, array, description)
    codes.spot_check()
    return codes


def check_fingerprint(codes: Codes, expected: str, *, force: bool = False) -> None:
    """Refuse codes of another tokenizer; codes that do not say whose they are pass.

    Raises:
        FingerprintError: unless ``force``.
    """
    if not force and codes.fingerprint is not None and codes.fingerprint != expected:
        raise FingerprintError(
            f"{str(codes.path)!r} was made by another tokenizer: its fingerprint is {codes.fingerprint}, "
            f"that of the tokenizer given is {expected}",
            hint="name the tokenizer that made the codes with --ae, or decode all the same with --force",
        )


@contextmanager
def _without_collector() -> Iterator[None]:
    """Python looks for cycles the more often, the more objects are made; a million records have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _map_array(path: Path) -> Array:
    if not path.is_file():
        raise CodesError(f"no codes file at {str(path)!r}")
    try:
        # Maps plain arrays only: object arrays, pickles and archives are refused before their content is read.
        array = np.lib.format.open_memmap(path, mode="r")
    # The header is a text of Python, whose parser meets damage with anything from SyntaxError to OverflowError.
    except Exception as error:
        raise CodesError(
            f"{str(path)!r} is damaged, truncated or no plain .npy array ({error})", hint="encode again"
        ) from None
    if array.dtype.kind not in "iu":
        raise CodesError(f"{str(path)!r} holds {array.dtype} values; codes are integers")
    if not array.flags.c_contiguous:
        raise CodesError(
            f"{str(path)!r} is in column-major order", hint="save numpy.ascontiguousarray(codes)"
        )
    return array


def _read_description(path: Path, array: Array) -> CodesDescription:
    file = description_path(path)
    try:
        with _without_collector():
            description = CodesDescription.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise CodesError(
            f"{file.name!r} is missing beside {str(path)!r}: it says which tokenizer made the codes",
            hint="copy both files together",
        ) from None
    except OSError as error:
        raise CodesError(f"cannot read {str(file)!r}: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CodesError(
            f"{str(file)!r} does not describe codes: {where + ': ' if where else ''}{first['msg']}"
        ) from None
    grids = [image.grid for image in description.images]
    if array.ndim == 3:
        fits = len(grids) == len(array) and set(grids) <= {array.shape[1:]}
    else:
        fits = array.ndim == 1 and len(array) == sum(height * width for height, width in grids)
    if not fits:
        raise CodesError(
            f"{file.name!r} describes {len(grids)} images that are not those of {str(path)!r}, "
            f"an array of shape {array.shape}",
            hint="copy both files together, or encode again",
        )
    classes = len(description.metadata.classes)
    for index, image in enumerate(description.images):
        try:
            safe_name(image.name)
        except CodesError as error:
            raise CodesError(f"{str(file)!r}: {error.message}") from None
        if not -1 <= image.label < classes:
            raise CodesError(
                f"{str(file)!r}: image {index} ({image.name!r}) has the class {image.label}; there are {classes}"
            )
    return description
