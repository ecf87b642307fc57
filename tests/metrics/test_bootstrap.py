"""Bootstrap intervals against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from vqgan_cli.core.metrics.bootstrap import bootstrap_interval, mean_interval


def test_interval_of_a_mean() -> None:
    """Closed form: for many values the mean plus and minus 1.96 standard errors."""
    values = np.random.default_rng(1).normal(5, 2, 4000)
    low, high = mean_interval(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_interval_of_a_share() -> None:
    """Closed form: of two images, one of which counts 1 and the other 0, the resampled mean is 0 or 1 in a quarter of
    the draws each, so both ends are reached; equal values leave no doubt.
    """
    assert mean_interval(np.array([0.0, 1.0])) == (0, 1)
    assert mean_interval(np.full(5, 3.0)) == (3, 3)


def test_same_seed_same_interval() -> None:
    """Determinism; and the statistic sees indices of all images, and nothing else."""
    seen: set[int] = set()

    def statistic(chosen: np.ndarray) -> float:
        assert len(chosen) == 7
        seen.update(chosen.tolist())
        return float(chosen.mean())

    first = bootstrap_interval(statistic, 7, resamples=50, seed=3)
    assert first == bootstrap_interval(statistic, 7, resamples=50, seed=3)
    assert first != bootstrap_interval(statistic, 7, resamples=50, seed=4)
    assert seen == set(range(7))
    assert np.isnan(mean_interval(np.zeros(0))).all()
