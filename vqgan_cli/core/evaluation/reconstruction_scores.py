"""How near decoded images are to their originals: what is measured of pictures, of label maps, and of depth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from vqgan_cli.core.config import map_form
from vqgan_cli.core.data.maps import MapKind
from vqgan_cli.core.data.maps.depth import Depth
from vqgan_cli.core.evaluation.figures import Figure, shown
from vqgan_cli.core.evaluation.report import Section, Table
from vqgan_cli.core.metrics.reconstruction import picture_distances
from vqgan_cli.core.metrics.segmentation import SegmentationScores

__all__ = ["DepthScores", "LabelScores", "PictureScores", "Scores", "ValueScores", "scores_for"]

Array = npt.NDArray[Any]


class Scores:
    """Measures pairs of original and reconstruction; a subclass does so by `distances` or by `count`.

    Attributes:
        labels: what there is of each image: name in JSON to name for people.
        rank: by which of them the best and the worst images are chosen.
        higher_is_better: whether a high value of it is good.
        raw_bits: per pixel of the originals as files hold them without compression.
    """

    labels: dict[str, str]
    rank: str
    higher_is_better: bool
    raw_bits: int

    def distances(self, images: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        """Of a batch on its device, one value per image each, [B]; changes nothing.

        Args:
            images: as the tokenizer takes them, [B, C, H, W].
            decoded: as it decodes them.
        """
        return {}

    def count(self, original: Array, decoded: Array) -> dict[str, float]:
        """Of one image, both as files hold them; counts towards `totals`."""
        return {}

    def totals(self, images: int) -> list[Figure]:
        """What is not a mean over images."""
        return []

    def details(self) -> dict[str, Any]:
        """What JSON says besides."""
        return {}

    def sections(self) -> list[Section]:
        """What a report says besides."""
        return []


class PictureScores(Scores):
    """Pictures, and maps that are pictures.

    Args:
        perceptual: the network of a perceptual distance, on the device; None to leave it out.
        perceptual_name: what it is called.
    """

    raw_bits = 24

    def __init__(self, perceptual: nn.Module | None, perceptual_name: str) -> None:
        self._perceptual = perceptual
        self.labels = {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "L1, of pixels in [-1, 1]"}
        self.rank, self.higher_is_better = "psnr", True
        if perceptual is not None:
            self.rank, self.higher_is_better = "perceptual_distance", False
            self.labels["perceptual_distance"] = f"perceptual distance ({perceptual_name})"

    def distances(self, images: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        """See `picture_distances`."""
        values = picture_distances(decoded, images, self._perceptual)
        if self._perceptual is not None:
            values["perceptual_distance"] = values.pop("perceptual")
        return values


class LabelScores(Scores):
    """Label maps.

    Args:
        classes: number of classes.
        ignored: class of pixels that do not count; None: all count.
    """

    rank = "accuracy"
    higher_is_better = True

    def __init__(self, classes: int, ignored: int | None) -> None:
        self.labels = {"accuracy": "pixel accuracy"}
        self.raw_bits = 8 if classes <= 256 else 16
        self._scores = SegmentationScores(classes, ignored)

    def count(self, original: Array, decoded: Array) -> dict[str, float]:
        """See `SegmentationScores.update`."""
        return {"accuracy": self._scores.update(original, decoded)}

    def totals(self, images: int) -> list[Figure]:
        """Mean intersection over union."""
        scores = self._scores
        return [Figure("mean_iou", "mean IoU", scores.mean_iou, images, scores.mean_iou_interval)]

    def details(self) -> dict[str, Any]:
        """The IoU of each class that appears."""
        iou = self._scores.iou.tolist()
        return {
            "iou_by_class": {str(label): value for label, value in enumerate(iou) if not math.isnan(value)}
        }

    def sections(self) -> list[Section]:
        """The same as a table."""
        rows = [(label, shown(value)) for label, value in self.details()["iou_by_class"].items()]
        return [Section("By class", "Intersection over union, in all images.", Table(("class", "IoU"), rows))]


class DepthScores(Scores):
    """Depth maps, by the pixels whose depth is known.

    Args:
        map_kind: how depth is scaled.
    """

    rank = "depth_error"
    higher_is_better = False
    raw_bits = 16

    def __init__(self, map_kind: Depth) -> None:
        self._kind = map_kind
        span = map_kind.config.depth_range
        self._metres = span[1] - span[0] if span else None
        self.labels = {"depth_error": "mean error of depth, as a share of the range from near to far"}
        if self._metres is not None:
            self.labels["depth_error_metres"] = "mean error of depth (m)"
        self.labels["known_accuracy"] = "pixels rightly known or unknown, share"

    def count(self, original: Array, decoded: Array) -> dict[str, float]:
        """Errors over the pixels that are known in the original."""
        known = self._kind.known(original)
        errors = np.abs(self._kind.share(original) - self._kind.share(decoded))[known]
        error = float(errors.mean()) if len(errors) else float("nan")
        values = {"depth_error": error, "known_accuracy": float((known == self._kind.known(decoded)).mean())}
        return values if self._metres is None else values | {"depth_error_metres": error * self._metres}


class ValueScores(Scores):
    """Maps of one value per pixel, of which no more is known."""

    rank = "mean_error"
    higher_is_better = False
    raw_bits = 16

    def __init__(self) -> None:
        self.labels = {"mean_error": "mean absolute error of values in [-1, 1]"}

    def count(self, original: Array, decoded: Array) -> dict[str, float]:
        """Over all pixels of an image."""
        return {"mean_error": float(np.abs(original - decoded).mean())}


def scores_for(
    map_kind: MapKind | None, classes: int, perceptual: nn.Module | None, perceptual_name: str
) -> Scores:
    """What is measured of a kind of images.

    Args:
        map_kind: None for pictures.
        classes: that the tokenizer knows, for label maps.
        perceptual: see `PictureScores`.
        perceptual_name: what it is called.
    """
    if isinstance(map_kind, Depth):
        return DepthScores(map_kind)
    if map_kind is not None and map_form(map_kind.name) == "labels":
        ignored = map_kind.config.classes if map_kind.config.ignore_label is not None else None
        return LabelScores(classes, ignored)
    if map_kind is not None and map_form(map_kind.name) == "value":
        return ValueScores()
    return PictureScores(perceptual, perceptual_name)
