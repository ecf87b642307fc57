"""How sure a figure is: intervals of the bootstrap over images (Efron 1979)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "bootstrap_interval", "centred_interval", "mean_interval", "quantiles"]

LEVEL = 0.95
"""Share of the resamples inside an interval."""

_NORMAL_QUANTILE = 1.96  # that of a normal distribution for the same level

Indices = npt.NDArray[np.int64]


def bootstrap_interval(
    statistic: Callable[[Indices], float], images: int, *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The interval in which a statistic lies when the images are drawn again, with replacement.

    Args:
        statistic: of the images with some indices, int64 [images], among which an image may be several times.
        images: how many there are, 0 to ``images - 1``.
        resamples: how often they are drawn.
        seed: the same seed gives the same interval.

    Returns:
        The quantiles that leave out 2.5 % of the resamples on each side; NaN without images.
    """
    if not images:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    found = [statistic(generator.integers(0, images, images)) for _ in range(resamples)]
    return quantiles(found)


def mean_interval(values: npt.NDArray[Any], *, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """`bootstrap_interval` of the mean of one value per image, [N]."""
    values = np.asarray(values, np.float64)
    return bootstrap_interval(
        lambda chosen: float(values[chosen].mean()), len(values), resamples=resamples, seed=seed
    )


def quantiles(found: Sequence[float] | npt.NDArray[Any]) -> tuple[float, float]:
    """The interval of statistics of resamples; NaN without any."""
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def centred_interval(
    value: float, resampled: Sequence[float], *, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """The interval of a figure that is biased when images repeat, as a Frechet distance is.

    Quantiles of the resamples may then leave out the value itself. Their standard deviation is still that of the
    figure, so the interval is the value plus and minus 1.96 of it.

    Args:
        value: of the images as they are.
        resampled: the same of images that were drawn again.
        bounds: within which the figure lies by definition.
    """
    half = _NORMAL_QUANTILE * float(np.std(resampled, ddof=1)) if len(resampled) > 1 else float("nan")
    return max(bounds[0], value - half), min(bounds[1], value + half)
