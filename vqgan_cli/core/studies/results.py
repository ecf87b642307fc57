"""Figures of all runs, arm by arm: as JSON, as a table, as plots."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vqgan_cli.core.plots import Dots
from vqgan_cli.core.studies.base import Metric, Run

__all__ = ["ArmResult", "Spread", "collect", "dots", "markdown", "rows"]


@dataclass(frozen=True)
class Spread:
    """A figure of all runs of an arm."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the runs."""
        return statistics.fmean(self.values)

    @property
    def standard_deviation(self) -> float | None:
        """Of the runs (divided by n - 1); None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, digits: int) -> str:
        """``4.832 ± 0.011``."""
        deviation = self.standard_deviation  # 0 for what is the same by design, such as a number of steps
        return f"{self.mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation else "")


@dataclass(frozen=True)
class ArmResult:
    """Runs of one arm, and what was measured, by the key of the metric."""

    name: str
    runs: tuple[Run, ...]
    figures: Mapping[str, Spread]

    def json(self) -> dict[str, Any]:
        """Keys spelled out."""
        return {
            "arm": self.name,
            "runs": [str(run.path) for run in self.runs],
            **{
                key: {
                    "mean": spread.mean,
                    "standard_deviation": spread.standard_deviation,
                    "values": list(spread.values),
                }
                for key, spread in self.figures.items()
            },
        }


def collect(
    runs: Sequence[Run], values: Sequence[Mapping[str, float]], metrics: Sequence[Metric]
) -> list[ArmResult]:
    """Runs that belong together, in the order of their arms; values that are not finite are left out."""
    results = []
    for name in dict.fromkeys(run.arm.name for run in runs):
        mine = [(run, found) for run, found in zip(runs, values, strict=True) if run.arm.name == name]
        figures = {}
        for metric in metrics:
            numbers = tuple(
                found[metric.key] for _, found in mine if math.isfinite(found.get(metric.key, math.nan))
            )
            if numbers:
                figures[metric.key] = Spread(numbers)
        results.append(ArmResult(name, tuple(run for run, _ in mine), figures))
    return results


def _measured(results: Sequence[ArmResult], metrics: Sequence[Metric]) -> list[Metric]:
    """Metrics that some arm has."""
    return [metric for metric in metrics if any(metric.key in result.figures for result in results)]


def rows(results: Sequence[ArmResult], metrics: Sequence[Metric]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table."""
    shown = _measured(results, metrics)
    table = [
        [
            result.name,
            *(
                result.figures[metric.key].text(metric.digits) if metric.key in result.figures else ""
                for metric in shown
            ),
        ]
        for result in results
    ]
    return ["", *(metric.label for metric in shown)], table


def markdown(results: Sequence[ArmResult], metrics: Sequence[Metric]) -> str:
    """The table as a README takes it."""
    heading, table = rows(results, metrics)
    lines = [heading, ["---"] * len(heading), *table]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def dots(results: Sequence[ArmResult], metrics: Sequence[Metric]) -> list[Dots]:
    """A panel per metric."""
    return [
        Dots(
            metric.label,
            {
                result.name: result.figures[metric.key].values
                for result in results
                if metric.key in result.figures
            },
        )
        for metric in _measured(results, metrics)
    ]
