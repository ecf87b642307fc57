"""What every kind of map offers that can be the condition of an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.config import MapKindName, MapsConfig
from vqgan_cli.core.data.synthetic import Drawing, SyntheticSet

__all__ = ["Array", "MapKind", "UInt8"]

Array = npt.NDArray[Any]
UInt8 = npt.NDArray[np.uint8]


class MapKind(ABC):
    """Reads, computes, shows and writes maps of one kind.

    A map is an array of one of three forms, which tells how it is resampled and what a tokenizer sees of it:
    classes, uint8 or uint16 ``[H, W]`` (nearest pixel; one-hot); one value per pixel, float32 ``[H, W]`` in [-1, 1]
    (nearest pixel; one channel); a picture, uint8 ``[H, W, 3]`` (filtered; as images).

    Attributes:
        name: as in the registry, in ``condition.kind``, and as the folder beside ``image/``.
        suffixes: of files that hold such maps, in lower case.
        companions: names of files beside the maps that are none.
        computable: whether `compute` makes it from a picture.
        of_whole_image: whether it is computed from the whole picture, not from the part that is shown.
    """

    name: ClassVar[MapKindName]
    suffixes: ClassVar[tuple[str, ...]]
    companions: ClassVar[tuple[str, ...]] = ()
    computable: ClassVar[bool] = False
    of_whole_image: ClassVar[bool] = False

    def __init__(self, config: MapsConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def signature(self) -> str:
        """Everything of the config on which the result of `read`, `compute` and `from_drawing` depends."""

    @property
    def codes(self) -> int:
        """Number of codes, where the label of a cell is its code without a tokenizer; else 0."""
        return 0

    @abstractmethod
    def read(self, path: Path, *, max_megapixels: float = 200.0) -> Array:
        """The map in a file.

        Raises:
            ImageError: the file cannot be read, or holds no map of this kind.
        """

    def compute(self, image: UInt8) -> Array:
        """The map of a picture uint8 [H, W, 3], at its size; only where `computable`."""
        raise NotImplementedError(f"{self.name} cannot be computed from a picture")

    @abstractmethod
    def from_drawing(self, drawing: Drawing, drawn_by: SyntheticSet) -> Array:
        """The exact map of a synthetic picture."""

    def mirror(self, array: Array) -> Array:
        """The map of the mirrored picture."""
        return array[:, ::-1]

    @abstractmethod
    def picture(self, array: Array) -> UInt8:
        """The map for people, uint8 [H, W, 3]."""

    @abstractmethod
    def write(self, path: Path, array: Array) -> None:
        """Write a ``.png`` that `read` reads back.

        Raises:
            OutputError: the file cannot be written.
        """
