"""Images of a source, prepared as a trained tokenizer takes them: cropped to a size, or each at its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy.typing as npt

from vqgan_cli.core.batching import beside
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.data.transforms import cover_crop, round_to_multiple
from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.model_info import ModelInfo
from vqgan_cli.core.sizes import require_multiples

__all__ = ["Prepared", "TokenizerInputs", "open_inputs", "utf8"]


class Prepared(NamedTuple):
    """One image, or why it cannot be used.

    Attributes:
        position: in the source.
        pixels: what `to_batch` takes, at a size that the tokenizer takes; None if the image is bad.
        size: (height, width) of the original in pixels.
        resized: (height, width) after resizing, before the crop.
        reason: why it is bad, without its name.
    """

    position: int
    pixels: npt.NDArray[Any] | None
    size: tuple[int, int] = (0, 0)
    resized: tuple[int, int] = (0, 0)
    reason: str = ""


@dataclass(frozen=True)
class TokenizerInputs:
    """A source and how its images are prepared.

    Attributes:
        source: pictures, or maps of the tokenizer's kind.
        size: (height, width) of the crop in pixels; None: each image at its own size.
        downsampling: f, of which sizes are multiples.
        labels: number of classes of label maps that the tokenizer knows; 0 for all else.
    """

    source: ImageSource
    size: tuple[int, int] | None
    downsampling: int
    labels: int

    def describe(self) -> str:
        """The preparation in words."""
        if self.size is None:
            return "each image at its own size"
        return f"resized and centre-cropped to {self.size[0]}x{self.size[1]} (height x width)"

    def held_out(self, length: int) -> TokenizerInputs:
        """Of an endless set ``length`` images that no training with its default seed has seen; else the same."""
        unseen = self.source.held_out(length)
        return self if unseen is None else replace(self, source=unseen)

    def prepare(self, index: int) -> Prepared:
        """Read an image of the source; one that cannot be used is described, not raised."""
        source, size = self.source, self.size
        try:
            image = source.read(index, min_side=None if size is None else 2 * max(size))
            original = image.shape[:2] if size is None else source.size(index)
        except ImageError as error:
            return Prepared(index, None, reason=error.reason)
        if self.labels and image.max() >= self.labels:
            return Prepared(
                index, None, reason=f"has label {image.max()}; the tokenizer knows 0 to {self.labels - 1}"
            )
        if size is None:
            image = round_to_multiple(image, self.downsampling)
            return Prepared(index, source.finish(image), original, image.shape[:2])
        image, resized = cover_crop(image, *size)
        return Prepared(index, source.finish(image), original, resized)

    def read(self, indices: Iterable[int], *, batch: int, device: str = "cpu") -> Iterator[Prepared]:
        """Prepare images on threads, in order.

        Args:
            indices: of the images.
            batch: images that are used together; some batches are in memory at a time.
            device: type of the device that uses them, see `vqgan_cli.core.batching.beside`.
        """
        # Photos at their own size take tens of megabytes each.
        return beside(device, self.prepare, indices, ahead=batch * (4 if self.size is None else 8))


def open_inputs(
    spec: str, info: ModelInfo, *, size: tuple[int, int] | None = None, native: bool = False
) -> TokenizerInputs:
    """Find the images that a user asked for.

    Args:
        spec: see `open_source`.
        info: of the tokenizer, whose config says how files are read.
        size: (height, width) of the crop in pixels; None: the tokenizer's training size.
        native: each image at its own size, rounded to a multiple of f.

    Raises:
        UsageError: a size that is no multiple of f, or one with ``native``.
        DataError: nothing is there.
    """
    data = info.config.data
    crop = _crop_size(size, info, native=native)
    source = open_source(
        spec,
        kind=data.kind,
        maps=data.maps,
        background=data.background,
        max_megapixels=data.max_megapixels,
        synthetic_size=crop or data.size,
    )
    architecture = info.config.tokenizer
    labels = 0 if architecture.out_channels in (1, 3) else architecture.in_channels
    return TokenizerInputs(source, crop, architecture.downsampling, labels)


def _crop_size(size: tuple[int, int] | None, info: ModelInfo, *, native: bool) -> tuple[int, int] | None:
    if native:
        if size is not None:
            raise UsageError("--size and --native exclude each other")
        return None
    f = info.config.tokenizer.downsampling
    height, width = size or (info.config.data.size, info.config.data.size)
    require_multiples(height, width, f, "tokenizer")
    return height, width


def utf8(name: str) -> str:
    """A file name as JSON can hold it: bytes that are not UTF-8 become ``\\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
