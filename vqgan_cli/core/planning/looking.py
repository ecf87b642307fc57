"""What a set of images is like, from the headers of some of them and the pixels of a few."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vqgan_cli.core.data.listing import user_path
from vqgan_cli.core.data.maps import MAP_KINDS
from vqgan_cli.core.data.opening import PAIRED_IMAGES, open_source
from vqgan_cli.core.data.sources import ImageSource, SyntheticSource
from vqgan_cli.core.data.tables import has_column, is_table
from vqgan_cli.core.data.training_sets import found_classes
from vqgan_cli.core.errors import DataError, ImageError

__all__ = ["DataFacts", "look_at"]

_HEADERS = 500
_PICTURES = 24


@dataclass(frozen=True)
class DataFacts:
    """A set of images.

    Attributes:
        source: what the user wrote.
        images: how many, bad ones included.
        looked_at: of so many the header was read, spread over all.
        unreadable: name and reason of those among them that cannot be read.
        short_side: the smallest, the median and the largest short side, in pixels.
        sizes: the most frequent sizes (height, width), each with its share of those looked at.
        gray_share: of the pictures that were read whole, those without colour.
        classes: images of each class by its name; empty without classes.
        maps: kinds of maps that lie beside the pictures.
        labels: classes in the label maps beside the pictures, one more than the highest; 0 without such maps.
        endless: drawn as they are needed, at any size.
    """

    source: str
    images: int
    looked_at: int
    unreadable: list[tuple[str, str]]
    short_side: tuple[int, int, int]
    sizes: list[tuple[tuple[int, int], float]]
    gray_share: float
    classes: dict[str, int] = field(default_factory=dict)
    maps: tuple[str, ...] = ()
    labels: int = 0
    endless: bool = False


def look_at(spec: str) -> DataFacts:
    """Look at the images that a user named; see `open_source` for how.

    Raises:
        DataError: nothing is there, or not one image that was looked at can be read.
    """
    source = open_source(spec)
    unreadable: list[tuple[str, str]] = []
    sizes: list[tuple[int, int]] = []
    chosen = _spread(len(source), _HEADERS)
    pictures = set(chosen[_spread(len(chosen), _PICTURES)].tolist())
    gray: list[bool] = []
    for index in chosen.tolist():
        try:
            sizes.append(source.size(index))
            if index in pictures:
                gray.append(_is_gray(source, index))
        except ImageError as error:
            unreadable.append((source.key(index), error.reason))
    if not gray:
        raise DataError(
            f"not one of the images of {spec!r} that were looked at can be read: "
            f"{unreadable[0][0]!r} {unreadable[0][1]}"
        )
    short = sorted(min(size) for size in sizes)
    labels = Counter(source.label(index) for index in range(len(source)))
    maps = _maps(spec)
    return DataFacts(
        source=spec,
        images=len(source),
        looked_at=len(chosen),
        unreadable=unreadable,
        short_side=(short[0], short[len(short) // 2], short[-1]),
        sizes=[(size, count / len(sizes)) for size, count in Counter(sizes).most_common(3)],
        gray_share=sum(gray) / len(gray),
        classes={name: labels[label] for label, name in enumerate(source.classes)},
        maps=maps,
        labels=_labels(spec) if "segmentation" in maps else 0,
        endless=isinstance(source, SyntheticSource),
    )


def _spread(count: int, most: int) -> np.ndarray:
    """Up to ``most`` of ``count`` indices, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _is_gray(source: ImageSource, index: int) -> bool:
    pixels = source.read(index, min_side=64).astype(np.int16)
    return bool(np.ptp(pixels, axis=2).max() == 0)


def _labels(spec: str) -> int:
    maps = open_source(spec, kind="segmentation")
    return found_classes(maps, _spread(len(maps), _HEADERS))


def _maps(spec: str) -> tuple[str, ...]:
    """Kinds of maps that somebody gave with the pictures."""
    if is_table(spec):
        return tuple(name for name in MAP_KINDS if has_column(spec, name))
    root = user_path(spec)
    paired = (root / PAIRED_IMAGES).is_dir()
    return tuple(name for name in MAP_KINDS if paired and (root / name).is_dir())
