"""Codes files that are damaged, dangerous or of something else, made by code, for every test that needs one.

Each maker changes a good pair of ``codes.npy`` and ``codes.json``: at least two images of 4x4 codes, of a tokenizer
with K codes, with one class or more.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BAD_CODES", "CANARY", "BadCodes", "Payload", "of_image"]

CANARY = "executed"
"""Made in the current folder by the programs that some of the files hold."""


class BadCodes(NamedTuple):
    """A way to spoil a codes file.

    Attributes:
        row: of the table of faults; 0: of none.
        spoil: changes the pair that lies at the path of the ``.npy`` file.
        complaint: what the message must say.
    """

    row: int
    spoil: Callable[[Path], object]
    complaint: str


class Payload:
    """Pickled as a call that makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (CANARY,)


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _array(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return lambda path: np.save(path, change(np.load(path)))


def _header(text: str) -> Callable[[Path], object]:
    """A file of a header of one's own and next to no data."""
    head = text.encode().ljust(117) + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little")
    return lambda path: path.write_bytes(start + head + bytes(64))


def _described(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        file = path.with_suffix(".json")
        description = json.loads(file.read_text())
        change(description)
        file.write_text(json.dumps(description))

    return spoil


def _description(text: str | bytes) -> Callable[[Path], object]:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda path: path.with_suffix(".json").write_bytes(data)


def _outside(path: Path) -> None:
    """The code K in the second image."""
    size = json.loads(path.with_suffix(".json").read_text())["metadata"]["codebook_size"]
    array = np.load(path)
    array[1, 2, 3] = size
    np.save(path, array)


def _flipped(array: np.ndarray) -> np.ndarray:
    array[1, 0, 0] ^= 1
    return array


def of_image(**values: Any) -> Callable[[Path], object]:
    """Changes what is said of the second image."""
    return _described(lambda description: description["images"][1].update(values))


def _metadata(**values: Any) -> Callable[[Path], object]:
    return _described(lambda description: description["metadata"].update(values))


def _archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, codes=np.zeros((2, 4, 4), int))


def _remove(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


_NO_ARRAY = "is damaged, truncated or no plain .npy array"
_OTHER = "does not describe codes"

BAD_CODES: dict[str, BadCodes] = {
    "cut by a byte": BadCodes(23, _bytes(lambda data: data[:-1]), _NO_ARRAY),
    "cut in the header": BadCodes(23, _bytes(lambda data: data[:20]), _NO_ARRAY),
    "empty": BadCodes(23, _bytes(lambda data: b""), _NO_ARRAY),
    "array of objects": BadCodes(23, lambda path: np.save(path, np.array([Payload()])), _NO_ARRAY),
    "pickle": BadCodes(23, _bytes(lambda data: pickle.dumps(Payload())), _NO_ARRAY),
    "archive": BadCodes(23, _archive, _NO_ARRAY),
    "more codes than memory": BadCodes(
        23, _header("{'descr': '<u2', 'fortran_order': False, 'shape': (100000, 100000, 100000)}"), _NO_ARRAY
    ),
    "more codes than numbers": BadCodes(
        23,
        _header("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 4, 10000000000000000000000)}"),
        _NO_ARRAY,
    ),
    "fewer codes than none": BadCodes(
        23, _header("{'descr': '<u2', 'fortran_order': False, 'shape': (-2, 4, 4)}"), _NO_ARRAY
    ),
    "header of a program": BadCodes(23, _header("__import__('os').mkdir('executed')"), _NO_ARRAY),
    "header without end": BadCodes(23, _header("{" * 100), _NO_ARRAY),
    "of a type without size": BadCodes(
        23, _header("{'descr': 'V0', 'fortran_order': False, 'shape': (2, 4, 4)}"), "codes.npy"
    ),
    "by columns": BadCodes(23, _array(np.asfortranarray), "is in column-major order"),
    "floats": BadCodes(23, _array(np.float32), "float32 values; codes are integers"),
    "one number": BadCodes(23, _array(lambda array: array[0, 0, 0]), "images that are not those of"),
    "one image less": BadCodes(23, _array(lambda array: array[1:]), "images that are not those of"),
    "no file": BadCodes(23, _remove, "no codes file at"),
    "a folder": BadCodes(23, _folder, "no codes file at"),
    "outside the codebook": BadCodes(24, _outside, "at row 2, column 3, outside the codebook of"),
    "negative": BadCodes(
        24, _array(lambda array: -array.astype(np.int64) - 1), "at row 0, column 0, outside the codebook of"
    ),
    "another code": BadCodes(24, _array(_flipped), "was changed or damaged since it was encoded"),
    "of another tokenizer": BadCodes(25, _metadata(fingerprint="0" * 64), "was made by another tokenizer"),
    "text for a description": BadCodes(0, _description("codes"), _OTHER),
    "half a description": BadCodes(0, lambda path: os.truncate(path.with_suffix(".json"), 300), _OTHER),
    "description without end": BadCodes(0, _description("[" * 100_000), _OTHER),
    "description of no text": BadCodes(0, _description(b"\xff\xfe{}"), _OTHER),
    "description of another version": BadCodes(0, _described(lambda each: each.update(version=2)), "version"),
    "unknown key": BadCodes(0, _metadata(command="rm"), "metadata.command"),
    "codebook of nothing": BadCodes(0, _metadata(codebook_size=0), "metadata.codebook_size"),
    "grid of nothing": BadCodes(0, of_image(grid=[0, 4]), "images.1"),
    "grid without end": BadCodes(0, of_image(grid=[10**30, 10**30]), "images"),
    "class without name": BadCodes(0, of_image(label=99), "has the class 99"),
    "negative class": BadCodes(0, of_image(label=-2), "has the class -2"),
    "endless class": BadCodes(0, of_image(label=10**30), "class"),
    "name that climbs": BadCodes(0, of_image(name="../../evil.png"), "does not stay inside an output folder"),
    "name from the root": BadCodes(
        0, of_image(name="/tmp/evil.png"), "does not stay inside an output folder"
    ),
    "name of nothing": BadCodes(0, of_image(name=""), "does not stay inside an output folder"),
    "name with an end": BadCodes(0, of_image(name="a\0b.png"), "does not stay inside an output folder"),
}
