"""What every built-in synthetic set offers: a picture for each (seed, index), with exact annotations."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Drawing", "SyntheticSet", "balanced_label", "generator", "part_edges"]


@dataclass(frozen=True)
class Drawing:
    """One picture and what is in it.

    Attributes:
        image: uint8 [H, W, 3], sRGB.
        label: the image class, an index into the set's `classes`.
        segmentation: uint8 [H, W], per pixel an index into the set's `parts`; the part that covers at least
            half of the pixel, on top of what was painted before it.
        depth: float32 [H, W], distance from the viewer in metres.
        keypoints: name -> (x, y) in pixels of this size, from the top left corner of the image; the centre of
            the first pixel is (0.5, 0.5). Points may lie outside the frame or behind something.
    """

    image: NDArray[np.uint8]
    label: int
    segmentation: NDArray[np.uint8]
    depth: NDArray[np.float32]
    keypoints: Mapping[str, tuple[float, float]]

    @cached_property
    def edges(self) -> NDArray[np.uint8]:
        """uint8 [H, W]: 255 where a pixel's right or lower neighbour belongs to another part, else 0."""
        return part_edges(self.segmentation)


class SyntheticSet(Protocol):
    """An endless set of pictures, a pure function of (seed, index) at any size.

    Attributes:
        name: as in `synthetic:<name>`.
        description: one sentence for listings.
        classes: names of the image classes; the index is the label.
        parts: names of the values of the label map.
        skeleton: pairs of key-point names that a limb joins.
    """

    name: str
    description: str
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    skeleton: tuple[tuple[str, str], ...]

    def label(self, seed: int, index: int) -> int:
        """The class of picture `index`, without drawing it."""
        ...

    def draw(self, seed: int, index: int, height: int, width: int) -> Drawing:
        """Draw picture `index` at `height` x `width` pixels."""
        ...


def generator(name: str, seed: int, *path: int) -> np.random.Generator:
    """The random numbers of set `name` at `path`: (index,), or (index, further non-negative keys...)."""
    return np.random.default_rng((zlib.crc32(name.encode()), seed, *path))


def balanced_label(name: str, seed: int, index: int, count: int) -> int:
    """A class such that each run of `count` indices from a multiple of `count` holds every class once."""
    block, place = divmod(index, count)
    return int(generator(name + "/label", seed, block).permutation(count)[place])


def part_edges(segmentation: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Boundaries of a label map [H, W]: 255 where the right or the lower neighbour differs, else 0."""
    edges = np.zeros_like(segmentation)
    edges[:, :-1][segmentation[:, :-1] != segmentation[:, 1:]] = 255
    edges[:-1][segmentation[:-1] != segmentation[1:]] = 255
    return edges
