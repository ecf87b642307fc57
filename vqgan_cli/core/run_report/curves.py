"""Curves of a run's log in bounded memory, however long it is, and what is left of them in a page."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CAPACITY", "LAST_STEP", "MAX_POINTS", "Curve", "thin"]

CAPACITY = 4096
"""Points that a curve has at most; those of a longer one stand for two values each, or four, and so on."""

MAX_POINTS = 1500
"""A curve of more points is drawn as means with a band from the least to the greatest value."""

LAST_STEP = 2**53
"""Steps are below it: JavaScript has no greater whole numbers, nor have the floats in which they are kept."""

_BUCKETS = 500
_MAX_MARKS = 20
"""Steps named of those at which a value was no number."""

Floats = npt.NDArray[np.float64]

# The columns of a curve's points. Values that are no finite number are in none but the first.
_STEP, _COUNT, _TOTAL, _LOW, _LOW_AT, _HIGH, _HIGH_AT = range(7)


@dataclass(frozen=True)
class Curve:
    """What was logged under one name.

    Attributes:
        points: [N, 7], N at most `CAPACITY`, in the order of steps: the last step of a point, how many finite values it
            stands for, their sum, the least one and its step, the greatest one and its step.
        size: values for each point but the last; a power of two.
        length: values in all.
        newest: the last step and its value; a curve that is not empty has one.
        odd: values that are no finite number.
        odd_at: the steps of the first of these.
    """

    points: Floats = field(default_factory=lambda: np.empty((0, 7)))
    size: int = 1
    length: int = 0
    newest: tuple[int, float] = (-1, math.nan)
    odd: int = 0
    odd_at: tuple[int, ...] = ()

    @staticmethod
    def of(steps: npt.ArrayLike, values: npt.ArrayLike) -> Curve:
        """A curve of steps [M] and their values [M]."""
        return Curve().extended(np.asarray(steps, np.int64), np.asarray(values, np.float64))

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """The last step of each point, [N], rising."""
        return self.points[:, _STEP].astype(np.int64)

    @property
    def values(self) -> Floats:
        """The mean of the finite values of each point, [N]; NaN where it has none."""
        return _means(self.points)

    def extended(self, steps: npt.NDArray[np.int64], values: Floats) -> Curve:
        """The curve with more values, NaN and infinite ones included.

        Args:
            steps: [M]. Where one is there twice, the later value counts. A log that was not rewound goes back in its
                steps: then so it is with those of the curve, if its points are single values yet; else both count.
            values: [M].
        """
        if not len(steps):
            return self
        if (np.diff(steps) <= 0).any():
            order = np.argsort(steps, kind="stable")
            order = order[np.append(np.diff(steps[order]) > 0, True)]
            steps, values = steps[order], values[order]
        again = int(np.searchsorted(steps, self.newest[0], side="right"))
        curve = self._with_earlier(steps[:again], values[:again]) if again else self
        return curve._with_later(steps[again:], values[again:]) if again < len(steps) else curve

    def times(self, factor: float) -> Curve:
        """All values multiplied by a positive number."""
        points = self.points.copy()
        points[:, [_TOTAL, _LOW, _HIGH]] *= factor
        return replace(self, points=points, newest=(self.newest[0], self.newest[1] * factor))

    def last(self) -> tuple[int, float]:
        """The newest step and its value; a curve has at least one."""
        return self.newest

    def last_finite(self) -> tuple[int, float] | None:
        """The newest point with a finite value, and its mean; None without any."""
        found = np.flatnonzero(self.points[:, _COUNT])
        if not len(found):
            return None
        if math.isfinite(self.newest[1]):
            return self.newest
        return int(self.points[found[-1], _STEP]), float(self.values[found[-1]])

    def extreme(self, *, greatest: bool) -> tuple[int, float] | None:
        """Step and value of the greatest or least finite value, the first of equal ones; None without any."""
        value, at = (_HIGH, _HIGH_AT) if greatest else (_LOW, _LOW_AT)
        if not self.points[:, _COUNT].any():
            return None
        index = int((np.nanargmax if greatest else np.nanargmin)(self.points[:, value]))
        return int(self.points[index, at]), float(self.points[index, value])

    def _with_later(self, steps: npt.NDArray[np.int64], values: Floats) -> Curve:
        """With values at steps after its last, rising."""
        place = np.arange(self.length, self.length + len(steps)) // self.size
        # The last point may have room for some of them.
        full = len(self.points) - (self.length % self.size > 0)
        points = np.concatenate((self.points[full:], _single(steps, values)))
        place = np.concatenate((np.full(len(self.points) - full, full), place))
        points = _joined(points, np.flatnonzero(np.diff(place, prepend=-1)))
        points, size = _bounded(np.concatenate((self.points[:full], points)), self.size)
        odd = steps[~np.isfinite(values)]
        return Curve(
            points=points,
            size=size,
            length=self.length + len(steps),
            newest=(int(steps[-1]), float(values[-1])),
            odd=self.odd + len(odd),
            odd_at=(*self.odd_at, *odd[: _MAX_MARKS - len(self.odd_at)].tolist()),
        )

    def _with_earlier(self, steps: npt.NDArray[np.int64], values: Floats) -> Curve:
        """With values at steps up to its last, rising."""
        newest = (self.newest[0], float(values[-1])) if steps[-1] == self.newest[0] else self.newest
        if self.size == 1:
            kept = self.points[~np.isin(self.points[:, _STEP], steps)]
            points = np.concatenate((kept, _single(steps, values)))
            points = points[np.argsort(points[:, _STEP])]
            odd = points[points[:, _COUNT] == 0, _STEP]
            marks = tuple(odd[:_MAX_MARKS].astype(int).tolist())
            return Curve(*_bounded(points, 1), len(points), newest, len(odd), marks)
        into = np.searchsorted(self.points[:, _STEP], steps)
        both = np.concatenate((self.points, _single(steps, values)))
        place = np.concatenate((np.arange(len(self.points)), into))
        order = np.argsort(place, kind="stable")
        points = _joined(both[order], np.flatnonzero(np.diff(place[order], prepend=-1)))
        points[:, _STEP] = self.points[:, _STEP]
        odd = steps[~np.isfinite(values)]
        marks = tuple(sorted({*self.odd_at, *odd.tolist()})[:_MAX_MARKS])
        return replace(self, points=points, newest=newest, odd=self.odd + len(odd), odd_at=marks)


def thin(curve: Curve) -> dict[str, Any]:
    """A curve as plain values of JSON, of bounded size whatever its length.

    Returns:
        ``x`` steps and ``y`` values, None for those that are no finite number; of a long curve each point is the mean
        of a bucket at its last step, with ``low`` and ``high``, its least and greatest value. ``odd_at`` has the first
        steps with a value that is no finite number.
    """
    result: dict[str, Any] = {"odd_at": [*curve.odd_at]}
    if curve.length <= MAX_POINTS:
        return result | {"x": curve.steps.tolist(), "y": _plain(curve.values)}
    buckets = _joined(curve.points, np.linspace(0, len(curve.points), _BUCKETS, endpoint=False).astype(int))
    return result | {
        "x": buckets[:, _STEP].astype(int).tolist(),
        "y": _plain(_means(buckets)),
        "low": _plain(buckets[:, _LOW]),
        "high": _plain(buckets[:, _HIGH]),
    }


def _single(steps: npt.NDArray[np.int64], values: Floats) -> Floats:
    """Points [M, 7] of one value each."""
    finite = np.isfinite(values)
    known, at = np.where(finite, values, math.nan), np.where(finite, steps, math.nan)
    return np.stack((steps, finite, np.where(finite, values, 0.0), known, at, known, at), axis=1)


def _joined(points: Floats, starts: npt.NDArray[np.intp]) -> Floats:
    """Points [N, 7] as fewer, [M, 7], of which each is made of those from a start to the next one."""
    ends = np.append(starts[1:], len(points))
    joined = np.empty((len(starts), points.shape[1]))
    joined[:, _STEP] = points[ends - 1, _STEP]
    with np.errstate(over="ignore"):  # a sum may be too large for a float, and then so is its mean
        joined[:, [_COUNT, _TOTAL]] = np.add.reduceat(points[:, [_COUNT, _TOTAL]], starts)
    for value, at, best in ((_LOW, _LOW_AT, np.fmin), (_HIGH, _HIGH_AT, np.fmax)):
        joined[:, value] = best.reduceat(points[:, value], starts)
        has_it = points[:, value] == np.repeat(joined[:, value], ends - starts)
        joined[:, at] = np.fmin.reduceat(np.where(has_it, points[:, at], math.nan), starts)
    return joined


def _bounded(points: Floats, size: int) -> tuple[Floats, int]:
    """At most `CAPACITY` points, and how many values each stands for, if it was ``size`` before."""
    while len(points) > CAPACITY:
        points, size = _joined(points, np.arange(0, len(points), 2)), 2 * size
    return points, size


def _means(points: Floats) -> Floats:
    known = points[:, _COUNT] > 0
    return np.divide(points[:, _TOTAL], points[:, _COUNT], out=np.full(len(points), math.nan), where=known)


def _plain(values: Floats) -> list[float | None]:
    """Six significant digits, which is more than a chart shows."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]
