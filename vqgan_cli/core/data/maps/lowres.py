"""Low resolution: the image made smaller and enlarged again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vqgan_cli.core.data.images import IMAGE_SUFFIXES, read_image, write_image
from vqgan_cli.core.data.maps.base import Array, MapKind, UInt8
from vqgan_cli.core.data.synthetic import Drawing, SyntheticSet

__all__ = ["LowRes", "enlarge", "shrink"]

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


class LowRes(MapKind):
    """uint8 [H, W, 3]: what is left of an image after ``lowres_factor``, at the size of the image."""

    name = "lowres"
    suffixes = IMAGE_SUFFIXES
    computable = True

    @property
    def signature(self) -> str:
        """See `MapKind.signature`."""
        return f"lowres {self.config.lowres_factor} {self.config.lowres_filter}"

    def read(self, path: Path, *, max_megapixels: float = 200.0) -> Array:
        """A small picture, enlarged by the factor."""
        small = read_image(path, max_megapixels=max_megapixels)
        factor = self.config.lowres_factor
        return enlarge(small, small.shape[0] * factor, small.shape[1] * factor)

    def compute(self, image: UInt8) -> Array:
        """Made smaller, then enlarged."""
        small = shrink(image, self.config.lowres_factor, self.config.lowres_filter)
        return enlarge(small, *image.shape[:2])

    def from_drawing(self, drawing: Drawing, drawn_by: SyntheticSet) -> Array:
        """Computed from the picture."""
        return self.compute(drawing.image)

    def picture(self, array: Array) -> UInt8:
        """As it is."""
        return array

    def write(self, path: Path, array: Array) -> None:
        """The small picture."""
        write_image(path, shrink(array, self.config.lowres_factor, self.config.lowres_filter))


def shrink(image: UInt8, factor: int, filter_: str) -> UInt8:
    """A picture [H, W, 3] made smaller: [ceil(H / factor), ceil(W / factor), 3].

    Args:
        image: uint8.
        factor: of the sizes.
        filter_: ``bicubic``, ``lanczos`` or ``box``, widened by the factor as Pillow does.
    """
    height, width = (-(-side // factor) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), _FILTERS[filter_]))


def enlarge(image: UInt8, height: int, width: int) -> UInt8:
    """A picture [H, W, 3] at a larger size, bicubic."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
