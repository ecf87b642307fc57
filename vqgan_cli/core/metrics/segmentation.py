"""How well label maps are reproduced: pixel accuracy and intersection over union (IoU)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.metrics.bootstrap import quantiles

__all__ = ["SegmentationScores"]

Labels = npt.NDArray[Any]


class SegmentationScores:
    """Counts over any number of label maps.

    The IoU of a class is that of all its pixels in all images; the mean is over the classes that appear at all, as the
    PASCAL VOC and Cityscapes benchmarks define it.

    Args:
        classes: number of classes, 0 to ``classes`` - 1.
        ignored: pixels of this class count nowhere, whatever is predicted for them; None: all count.
        resamples: of the bootstrap. Each image has a Poisson weight in each, so that counts suffice and memory is flat.
        seed: of those weights.
    """

    def __init__(
        self, classes: int, ignored: int | None = None, *, resamples: int = 1000, seed: int = 0
    ) -> None:
        self.classes = classes
        self.ignored = ignored
        self.counts = np.zeros((2, classes))  # pixels in the intersection, in the union
        self._resampled = np.zeros((resamples, 2, classes))
        self._generator = np.random.default_rng(seed)

    def update(self, truth: Labels, predicted: Labels) -> float:
        """Count one map, [H, W] each; returns its pixel accuracy, NaN where all pixels are ignored."""
        counted = np.ones(truth.shape, np.bool_) if self.ignored is None else truth != self.ignored
        truth, predicted = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
        right = truth == predicted
        intersection = np.bincount(truth[right], minlength=self.classes)
        both = np.bincount(truth, minlength=self.classes) + np.bincount(predicted, minlength=self.classes)
        counts = np.stack([intersection, both - intersection])
        weights = self._generator.poisson(1.0, len(self._resampled))
        self.counts += counts
        self._resampled += weights[:, None, None] * counts
        return float(right.mean()) if len(right) else float("nan")

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """Of each class, [classes]; NaN for one that appears neither in the maps nor in what is predicted."""
        return self._iou(self.counts)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that appear; NaN before the first."""
        return float(self._mean(self.counts))

    @property
    def mean_iou_interval(self) -> tuple[float, float]:
        """The interval of the mean if the images were drawn again."""
        means = self._mean(self._resampled)
        return quantiles(means[~np.isnan(means)])

    def _iou(self, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        intersection, union = counts[..., 0, :], counts[..., 1, :]
        iou: npt.NDArray[np.float64] = np.where(union > 0, intersection / np.maximum(union, 1), np.nan)
        if self.ignored is not None:
            iou[..., self.ignored] = np.nan  # it may be predicted where another class is true
        return iou

    def _mean(self, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        iou = self._iou(counts)
        appear = ~np.isnan(iou)
        number = appear.sum(-1)
        mean: npt.NDArray[np.float64] = np.where(
            number > 0, np.where(appear, iou, 0).sum(-1) / np.maximum(number, 1), np.nan
        )
        return mean
