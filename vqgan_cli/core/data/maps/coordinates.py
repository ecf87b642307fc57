"""Coordinates: where in the whole image each pixel lies, which helps unconditional models of large images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqgan_cli.core.data.maps.base import Array, MapKind, UInt8
from vqgan_cli.core.data.synthetic import Drawing, SyntheticSet
from vqgan_cli.core.errors import ImageError

__all__ = ["Coordinates"]


class Coordinates(MapKind):
    """uint32 [H, W]: the place of a pixel in row-major order, as a share of all, in ``coordinate_levels`` steps.

    As published for unconditional models (Esser et al. 2021, appendix on coordinate conditioning): a crop knows from
    which part of its image it comes, so that a large image gets its sky at the top. The original averages the places of
    a cell's pixels, which is the place of the corner in its middle; so a pixel has the place of its upper left corner.
    """

    name = "coordinates"
    suffixes = ()
    computable = True
    of_whole_image = True

    @property
    def signature(self) -> str:
        """See `MapKind.signature`."""
        return f"coordinates {self.config.coordinate_levels}"

    @property
    def codes(self) -> int:
        """The steps."""
        return self.config.coordinate_levels

    def read(self, path: Path, *, max_megapixels: float = 200.0) -> Array:
        """Coordinates are in no file."""
        raise ImageError(path, "is a file, and coordinates come from the size of an image alone")

    def compute(self, image: UInt8) -> Array:
        """The coordinates of a picture [H, W, 3], of which only the size matters."""
        height, width = image.shape[:2]
        rows, columns = np.arange(height)[:, None] - 0.5, np.arange(width) - 0.5
        steps = np.rint(self.codes * (rows * width + columns) / (height * width))
        return steps.clip(0, self.codes - 1).astype(np.uint32)

    def from_drawing(self, drawing: Drawing, drawn_by: SyntheticSet) -> Array:
        """Computed from the size."""
        return self.compute(drawing.image)

    def picture(self, array: Array) -> UInt8:
        """From black at the upper left to white at the lower right."""
        gray = (array.astype(np.int64) * 255 // max(1, self.codes - 1)).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)

    def write(self, path: Path, array: Array) -> None:
        """Coordinates are in no file."""
        raise NotImplementedError("coordinates come from the size of an image alone")
