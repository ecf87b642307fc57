"""Curves of a run's log, and what is left of long ones in a page."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_POINTS", "Curve", "read_curves", "thin"]

MAX_POINTS = 1500
"""A curve of more points is drawn as means with a band from the least to the greatest value."""

_BUCKETS = 500
_MAX_MARKS = 20
"""Steps named of those at which a value was no number."""

_LAST_STEP = 2**53  # JavaScript has no greater whole numbers

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """What was logged under one name.

    Attributes:
        steps: [N], int64, rising.
        values: [N], NaN or infinite where the run was so.
    """

    steps: npt.NDArray[np.int64]
    values: Floats

    @property
    def finite(self) -> Curve:
        """Without what is no finite number."""
        kept = np.isfinite(self.values)
        return Curve(self.steps[kept], self.values[kept])

    def times(self, factor: float) -> Curve:
        """All values multiplied by a number."""
        return Curve(self.steps, self.values * factor)

    def last(self) -> tuple[int, float]:
        """The newest step and its value; a curve has at least one."""
        return int(self.steps[-1]), float(self.values[-1])

    def extreme(self, *, greatest: bool) -> tuple[int, float] | None:
        """Step and value of the greatest or least finite value; None without any."""
        finite = self.finite
        if not len(finite.steps):
            return None
        index = int(finite.values.argmax() if greatest else finite.values.argmin())
        return int(finite.steps[index]), float(finite.values[index])


def read_curves(records: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """The curves in lines of a log, by name, in the order in which the names first came.

    A text that is no number, such as the time of a line, belongs to none. Where a step is there twice, as in a log that
    was not rewound, the later line counts.
    """
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        step = int(record["step"])
        if not 0 <= step < _LAST_STEP:
            continue
        for name, value in record.items():
            if name in ("step", "time"):
                continue
            try:
                found[name][step] = math.nan if value is None else float(value)
            except ValueError:
                continue
    return {
        name: Curve(np.array(sorted(points)), np.array([points[step] for step in sorted(points)], np.float64))
        for name, points in found.items()
        if points
    }


def thin(curve: Curve) -> dict[str, Any]:
    """A curve as plain values of JSON, of bounded size whatever its length.

    Returns:
        ``x`` steps and ``y`` values, None for those that are no finite number; of a long curve each point is the mean
        of a bucket at its last step, with ``low`` and ``high``, its least and greatest value. ``odd_at`` has the first
        steps with a value that is no finite number.
    """
    odd = curve.steps[~np.isfinite(curve.values)]
    result: dict[str, Any] = {"odd_at": odd[:_MAX_MARKS].tolist()}
    if len(curve.steps) <= MAX_POINTS:
        return result | {"x": curve.steps.tolist(), "y": _plain(curve.values)}
    edges = np.linspace(0, len(curve.steps), _BUCKETS + 1).astype(int)
    buckets = [curve.values[begin:end] for begin, end in pairwise(edges)]
    finite = [bucket[np.isfinite(bucket)] for bucket in buckets]
    nothing = np.array([math.nan])
    filled = [bucket if len(bucket) else nothing for bucket in finite]
    return result | {
        "x": curve.steps[edges[1:] - 1].tolist(),
        "y": _plain(np.array([bucket.mean() for bucket in filled])),
        "low": _plain(np.array([bucket.min() for bucket in filled])),
        "high": _plain(np.array([bucket.max() for bucket in filled])),
    }


def _plain(values: Floats) -> list[float | None]:
    """Six significant digits, which is more than a chart shows."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]
