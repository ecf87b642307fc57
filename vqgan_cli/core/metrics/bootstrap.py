"""How sure a figure is: percentile intervals of the bootstrap over images (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "bootstrap_interval", "mean_interval"]

LEVEL = 0.95
"""Share of the resamples inside an interval."""

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
    return _quantiles(found)


def mean_interval(values: npt.NDArray[Any], *, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """`bootstrap_interval` of the mean of one value per image, [N]."""
    values = np.asarray(values, np.float64)
    return bootstrap_interval(
        lambda chosen: float(values[chosen].mean()), len(values), resamples=resamples, seed=seed
    )


def _quantiles(found: list[float]) -> tuple[float, float]:
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
