"""Curves in bounded memory: what they keep of long logs, and what thinning keeps of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vqgan_cli.core.run_report.charts import charts_of, derived_curves
from vqgan_cli.core.run_report.curves import CAPACITY, MAX_POINTS, Curve, thin


def test_thinning_keeps_extremes_means_and_ends() -> None:
    """Oracle: numpy over the whole curve; a bound on the size."""
    steps = np.arange(10, 1_000_010, 10)
    values = np.random.default_rng(0).normal(size=len(steps))
    values[[777, 50_123]] = 99.0, -99.0
    values[31_000] = math.nan
    thinned = thin(Curve.of(steps, values))
    assert len(thinned["x"]) == len(thinned["y"]) == len(thinned["low"]) == len(thinned["high"]) <= MAX_POINTS
    assert (max(thinned["high"]), min(thinned["low"])) == (99.0, -99.0)
    assert thinned["x"][-1] == steps[-1]
    assert thinned["x"] == sorted(set(thinned["x"]))
    bucket = int(np.searchsorted(thinned["x"], steps[777]))
    assert thinned["high"][bucket] == 99.0
    assert np.mean(thinned["y"]) == pytest.approx(np.nanmean(values), abs=1e-3)
    assert thinned["odd_at"] == [int(steps[31_000])]


def noise(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps in tens, and values some of which are NaN or infinite, or all of a thousand."""
    values = np.random.default_rng(count).normal(size=count)
    values[1::97], values[5000:6000], values[3::1013] = math.nan, math.nan, math.inf
    return np.arange(10, 10 * count + 1, 10), values


def assert_tells(curve: Curve, steps: np.ndarray, values: np.ndarray) -> None:
    """What does not depend on how a curve is kept. Oracle: numpy over all values."""
    finite = np.isfinite(values)
    for greatest, find in ((True, np.argmax), (False, np.argmin)):
        index = int(find(values[finite]))
        assert curve.extreme(greatest=greatest) == (steps[finite][index], values[finite][index])
    assert curve.last() == pytest.approx((steps[-1], values[-1]), nan_ok=True)
    assert curve.odd == (~finite).sum()
    assert curve.odd_at == tuple(steps[~finite][:20])
    assert (np.diff(curve.steps) > 0).all()
    assert curve.steps[-1] == steps[-1]
    counts = curve.points[:, 1]
    assert counts.sum() == finite.sum()
    assert np.nansum(curve.values * counts) == pytest.approx(values[finite].sum())


@pytest.mark.parametrize("count", [1, 3000, CAPACITY, CAPACITY + 1, 70_001])
def test_curves_are_bounded_and_do_not_depend_on_the_parts(count: int) -> None:
    """Oracle: numpy over all values, and the same curve made at once; a bound on the points."""
    steps, values = noise(count)
    curve = Curve.of(steps, values)
    assert len(curve.points) == math.ceil(count / curve.size) <= CAPACITY
    assert_tells(curve, steps, values)
    grown, done = Curve(), 0
    for part in np.random.default_rng(1).integers(0, 3000, 1000):
        grown = grown.extended(steps[done : done + part], values[done : done + part])
        done += part
    assert (grown.size, grown.length) == (curve.size, count)
    assert grown.points == pytest.approx(curve.points, nan_ok=True)
    assert_tells(grown, steps, values)
    twice = grown.times(2)
    assert_tells(twice, steps, 2 * values)


def test_later_value_of_a_step_counts() -> None:
    """A log that was not rewound goes back in its steps; a chart needs them rising."""
    curve = Curve.of([1, 3, 2, 3], [1.0, 3.0, 20.0, 30.0])
    for same in (curve, Curve.of([1, 3], [1.0, 3.0]).extended(np.array([2, 3]), np.array([20.0, 30.0]))):
        assert (same.steps.tolist(), same.values.tolist()) == ([1, 2, 3], [1.0, 20.0, 30.0])
        assert (same.last(), same.odd) == ((3, 30.0), 0)
    other = curve.extended(np.array([2, 3, 4]), np.array([math.nan, 5.0, 6.0]))
    assert other.values.tolist() == pytest.approx([1.0, math.nan, 5.0, 6.0], nan_ok=True)
    assert (other.last(), other.odd, other.odd_at) == ((4, 6.0), 1, (2,))


def test_many_values_between_those_of_a_curve() -> None:
    """The bound holds there too. Oracle: numpy over both."""
    steps, values = noise(2 * CAPACITY)
    curve = Curve.of(steps[::2], values[::2]).extended(steps[1:-1:2], values[1:-1:2])
    assert len(curve.points) <= CAPACITY
    assert_tells(curve, steps[:-1], values[:-1])


def test_a_long_curve_that_goes_back_tells_of_both() -> None:
    """Oracle: the least and greatest of all values, at the steps at which they are."""
    steps, values = noise(50_000)
    again = steps >= 300_000
    curve = Curve.of(steps, values).extended(
        steps[again] - 5, np.where(np.arange(again.sum()) == 7, -50.0, 1.0)
    )
    assert len(curve.points) <= CAPACITY
    assert curve.steps.tolist() == Curve.of(steps, values).steps.tolist()
    assert curve.extreme(greatest=False) == (300_065, -50.0)
    finite = np.isfinite(values)
    assert curve.extreme(greatest=True) == (steps[finite][values[finite].argmax()], values[finite].max())
    assert curve.last() == (500_000, values[-1])
    assert curve.points[:, 1].sum() == finite.sum() + again.sum()
    assert curve.odd_at == tuple(steps[~finite][:20])
    assert curve.extended(np.array([500_000]), np.array([3.0])).last() == (500_000, 3.0)
    longer = curve.extended(np.array([500_010]), np.array([2.0]))
    assert (longer.last(), longer.length) == ((500_010, 2.0), 50_001)


def test_newest_finite_value() -> None:
    """Oracle: the values."""
    assert Curve.of([1, 2, 3], [1.0, 2.0, math.nan]).last_finite() == (2, 2.0)
    assert Curve.of([1, 2], [1.0, 2.0]).last_finite() == (2, 2.0)
    assert Curve.of([1, 2], [math.nan, math.inf]).last_finite() is None
    assert Curve.of(np.arange(10_000), np.arange(10_000)).last_finite() == (9999, 9999.0)
    assert Curve.of([1, 2], [math.nan, math.inf]).extreme(greatest=True) is None


def test_short_curves_are_kept_as_they_are() -> None:
    curve = Curve.of(np.arange(MAX_POINTS), np.linspace(0, 1, MAX_POINTS))
    assert thin(curve)["y"] == pytest.approx(curve.values, rel=1e-5)
    assert "low" not in thin(curve)


def test_bits_per_pixel_of_training() -> None:
    """Oracle: the definition. 1 nat for each code of 4 x 4 pixels."""
    curves = {"loss": Curve.of([5], [1.0])}
    assert derived_curves(curves, 4)["bits_per_pixel"].last() == (5, pytest.approx(1.4426950 / 16))
    assert derived_curves(curves, None) == curves


def test_every_logged_name_is_in_one_chart() -> None:
    """What nobody has foreseen has a chart of its own, and a hostile log cannot make thousands of them."""
    curve = Curve.of([1], [1.0])
    names = ["loss/total", "validation/loss", "quantizer/commitment", "quantizer/entropy", "mine/new"]
    charts = charts_of([dict.fromkeys(names, curve)])
    assert [chart.key for chart in charts] == ["loss", "codebook", "other-0"]
    assert charts[-1].title == "mine/new"
    assert len(charts_of([{f"x{number}": curve for number in range(1000)}])) < 50
