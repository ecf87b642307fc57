"""The codes format: what ``codes.json`` says, and the types, names and checksums that go with it.

``codes.npy`` is unsigned and little-endian, in the smallest type that holds the codebook: ``[N, h, w]`` where all
images have the same grid, else one dimension, ``[sum of h_i * w_i]``, the grids one after the other in row-major
order. ``codes.json`` has the metadata, one line per image and one per input that failed. The checksum of each image
ties the two files together.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from vqgan_cli.core.errors import CodesError

__all__ = [
    "CodesDescription",
    "CodesMetadata",
    "Failure",
    "ImageRecord",
    "checksum",
    "codes_type",
    "description_path",
    "safe_name",
]

Side = Annotated[int, Field(gt=0)]
Size = tuple[Side, Side]


class CodesMetadata(BaseModel):
    """What all images of a codes file share.

    Attributes:
        codebook_size: K; codes are 0 to K - 1.
        downsampling: f, pixels of image side per code.
        fingerprint: of the tokenizer's weights.
        tokenizer: where the tokenizer was found, for people.
        source: what the user named as images, for people.
        sizing: crop: short side resized, centre cropped to `size`; native: each image at its own size, resized to
            the nearest multiple of f.
        size: [height, width] of the crop, in pixels; None for native.
        precision: number type of the encoder.
        classes: names of the classes by label; empty without labels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    codebook_size: Annotated[int, Field(ge=1, le=2**32)]
    downsampling: Side
    fingerprint: str
    tokenizer: str = ""
    source: str = ""
    sizing: Literal["crop", "native"] = "crop"
    size: Size | None = None
    precision: str = "fp32"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class ImageRecord:
    """One encoded image; sizes are [height, width].

    Attributes:
        name: relative path with forward slashes.
        grid: codes.
        size: pixels of the original; None where it is not known.
        resized: pixels after resizing, before the crop to grid * f; None where it is not known.
        label: class, or -1.
        crc32: CRC-32 of the codes as they lie in the file.
    """

    name: str
    grid: Size
    size: Size | None = None
    resized: Size | None = None
    label: int = -1
    crc32: int | None = None


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Failure:
    """One input that could not be encoded, and why."""

    name: str
    reason: str


class CodesDescription(BaseModel):
    """The content of ``codes.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["vqgan-codes"] = "vqgan-codes"
    version: Literal[1] = 1
    metadata: CodesMetadata
    images: list[ImageRecord]
    failed: list[Failure] = []


def safe_name(name: str) -> str:
    """A name that is safe to join to an output folder and to write as UTF-8; bytes that are not become ``\\xff``.

    Raises:
        CodesError: a name that is empty, absolute or climbs out with ``..``.
    """
    name = os.fsencode(name).decode("utf-8", "backslashreplace")
    parts = name.replace(os.sep, "/").split("/")
    if (
        parts[0] == ""
        or parts[-1] in ("", ".")
        or ".." in parts
        or "\0" in name
        or os.path.splitdrive(name)[0]
    ):
        raise CodesError(f"the image name {name!r} does not stay inside an output folder")
    return name


def description_path(path: Path) -> Path:
    """``codes.json`` for ``codes.npy``."""
    return path.with_suffix(".json")


def codes_type(codebook_size: int) -> np.dtype[Any]:
    """The smallest unsigned little-endian type for codes 0 to K - 1."""
    return np.dtype("u1" if codebook_size <= 2**8 else "<u2" if codebook_size <= 2**16 else "<u4")


def checksum(codes: npt.NDArray[Any], codebook_size: int) -> int:
    """CRC-32 of codes in row-major order, in the type in which they are stored."""
    return zlib.crc32(np.ascontiguousarray(codes, codes_type(codebook_size)).data)
