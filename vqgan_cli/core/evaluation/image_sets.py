"""Sets of pictures that are compared: which they are, of which class, and how each is prepared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.listing import user_path
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.sources import FileSource, ImageSource
from vqgan_cli.core.data.transforms import cover_crop
from vqgan_cli.core.errors import DataError, ImageError
from vqgan_cli.core.generation.folder import described_samples
from vqgan_cli.core.tokenizer_inputs import utf8

__all__ = ["OF_AN_ENDLESS_SET", "ImageSet", "describe_size", "open_image_set"]

OF_AN_ENDLESS_SET = 1000
"""Images of a synthetic set without a limit."""

UInt8 = npt.NDArray[np.uint8]


def describe_size(size: tuple[int, int]) -> str:
    """How every picture is prepared, in words; equal words, equal preparation."""
    return f"resized and centre-cropped to {size[0]}x{size[1]} (height x width)"


@dataclass(frozen=True)
class ImageSet:
    """Pictures of a source.

    Attributes:
        source: that they are of.
        positions: in the source, int64 [N].
        labels: class of each, int64 [N]; -1 for none.
        classes: name by class.
    """

    source: ImageSource
    positions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def name(self) -> str:
        """What the user wrote."""
        return utf8(self.source.name)

    def image_name(self, index: int) -> str:
        """Of an image of the set."""
        return utf8(self.source.key(int(self.positions[index])))

    def size(self) -> tuple[int, int]:
        """(height, width) of the first image that can be opened.

        Raises:
            DataError: none can.
        """
        problem: ImageError | None = None
        for position in self.positions:
            try:
                return self.source.size(int(position))
            except ImageError as error:
                problem = problem or error
        assert problem is not None, "a source has images"
        raise DataError(f"not one image of {self.name!r} can be read; the first, {problem.message}")

    def read(self, index: int, size: tuple[int, int], *, as_it_is: bool = False) -> UInt8:
        """An image of the set, prepared: resized to cover a size, and its centre cut out, [H, W, 3].

        Args:
            index: of the set.
            size: (height, width) in pixels.
            as_it_is: all images should have the size already.

        Raises:
            ImageError: it cannot be read.
            DataError: it has another size than it should.
        """
        # A picture of the right size is not decoded at half of it, and one that is twice as large hides the difference.
        image = self.source.read(int(self.positions[index]), min_side=2 * max(size))
        if as_it_is and image.shape[:2] != size:
            raise DataError(
                f"the images of {self.name!r} are not of one size: {self.image_name(index)!r} is "
                f"{image.shape[0]}x{image.shape[1]}, the first {size[0]}x{size[1]} (height x width)",
                hint="resize and crop them all: --size HEIGHTxWIDTH",
            )
        return cover_crop(image, *size)[0]


def open_image_set(
    spec: str, size: tuple[int, int] | None, *, limit: int | None = None, unseen: bool = False
) -> ImageSet:
    """Find the pictures that a user asked for.

    Args:
        spec: as `open_source` takes it; of a folder that ``vqgan generate`` filled only the samples count, and they
            have the classes that they were drawn by.
        size: (height, width) of the pictures of a synthetic set.
        limit: at most so many, spread evenly over the source.
        unseen: of a synthetic set those that no training with its default seed draws.

    Raises:
        DataError: nothing is there.
    """
    folder = user_path(spec)
    samples = described_samples(folder) if folder.is_dir() else []
    if samples:
        source: ImageSource = FileSource(spec, folder, [sample.file for sample in samples])
        chosen = _spread(len(source), limit)
        labels = np.array([-1 if each.label is None else each.label for each in samples])
        named = {each.label: each.class_name or str(each.label) for each in samples if each.label is not None}
        return ImageSet(source, chosen, labels[chosen], named)
    length = limit or OF_AN_ENDLESS_SET
    source = open_source(spec, synthetic_size=size or 64, synthetic_length=length)
    if unseen:
        source = source.held_out(length) or source
    chosen = _spread(len(source), limit)
    labels = np.array([source.label(int(position)) for position in chosen])
    return ImageSet(source, chosen, labels, {n: utf8(name) for n, name in enumerate(source.classes)})


def _spread(count: int, limit: int | None) -> npt.NDArray[np.int64]:
    if limit is None or limit >= count:
        return np.arange(count)
    return np.arange(limit) * count // limit
