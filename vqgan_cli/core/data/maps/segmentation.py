"""Label maps: the class of each pixel."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.images import IMAGE_SUFFIXES, read_label_map, write_image
from vqgan_cli.core.data.maps.base import Array, MapKind, UInt8
from vqgan_cli.core.data.synthetic import Drawing, SyntheticSet
from vqgan_cli.core.errors import ImageError, UsageError

__all__ = ["Segmentation", "label_colors"]


class Segmentation(MapKind):
    """Classes 0 to ``classes`` - 1, and one more for ignored pixels where ``ignore_label`` is given."""

    name = "segmentation"
    suffixes = IMAGE_SUFFIXES

    def __init__(self, config: MapsConfig) -> None:
        super().__init__(config)
        if config.ignore_label is not None and not config.classes:
            raise UsageError(
                "data.maps.ignore_label needs the number of classes, after which the ignored pixels come",
                hint="--set data.maps.classes=19",
            )

    @property
    def signature(self) -> str:
        """See `MapKind.signature`."""
        return f"segmentation {self.config.classes} {self.config.ignore_label}"

    @property
    def codes(self) -> int:
        """The classes, the ignored one included; 0 while they are not known."""
        return self.config.classes + (self.config.ignore_label is not None)

    def read(self, path: Path, *, max_megapixels: float = 200.0) -> Array:
        """Class of each pixel, uint8 or uint16 [H, W]; raises as `MapKind.read`, also for unknown classes."""
        labels: Array = read_label_map(path, max_megapixels=max_megapixels)
        classes, ignored = self.config.classes, self.config.ignore_label
        if ignored is not None:
            unclassed = labels == ignored
            labels = np.where(unclassed, labels.dtype.type(0), labels)
        if classes and labels.max() >= classes:
            raise ImageError(
                path, f"has class {labels.max()}; there are {classes} classes, 0 to {classes - 1}"
            )
        if ignored is not None:
            labels = labels.astype(np.uint8 if classes < 256 else np.uint16)
            labels[unclassed] = classes
        return labels

    def from_drawing(self, drawing: Drawing, drawn_by: SyntheticSet) -> Array:
        """Part of each pixel."""
        return drawing.segmentation

    def picture(self, array: Array) -> UInt8:
        """See `label_colors`."""
        return label_colors(array)

    def write(self, path: Path, array: Array) -> None:
        """Gray values are classes, 8 bits up to class 255, else 16; ignored pixels get their label back."""
        if self.config.ignore_label is not None:
            wide = array.astype(np.uint16)
            wide[array == self.config.classes] = self.config.ignore_label
            array = wide
        write_image(path, array.astype(np.uint8 if array.max() < 256 else np.uint16))


def label_colors(labels: Array) -> UInt8:
    """A label map [H, W] as a picture: hues a golden angle apart, so that neighbours in number differ."""
    table = [
        [round(255 * c) for c in colorsys.hsv_to_rgb(index * 0.61803 % 1, 0.35 + 0.4 * (index % 2), 0.95)]
        for index in range(int(labels.max()) + 1)
    ]
    return np.array(table, np.uint8)[labels]
