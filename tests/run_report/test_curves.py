"""Curves of logs: damaged lines, values that are no numbers, and what thinning keeps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.run_report.runs import write_log
from vqgan_cli.core.run_report.charts import charts_of, derived_curves
from vqgan_cli.core.run_report.curves import MAX_POINTS, Curve, read_curves, thin
from vqgan_cli.core.training.run_facts import log_records


def test_log_with_a_line_cut_short_and_foreign_lines(tmp_path: Path) -> None:
    """Oracle: the values that were written."""
    write_log(tmp_path, [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0, "note": "text"}])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('[1, 2]\n"text"\n{"loss": 9}\n{"step": "x", "loss": 9}\n{"step": -4, "loss": 9}\n')
        file.write('{"step": 1e300, "loss": 9}\n{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    curves = read_curves(log_records(tmp_path / "log.jsonl", []))
    assert list(curves) == ["loss"]
    assert curves["loss"].steps.tolist() == [1, 2, 3]
    assert curves["loss"].values.tolist() == [3.0, 2.0, 1.0]


def test_later_line_of_a_step_counts() -> None:
    """A log that was not rewound goes back in its steps; a chart needs them rising."""
    records = [{"step": step, "loss": value} for step, value in ((1, 1.0), (3, 3.0), (2, 20.0), (3, 30.0))]
    curve = read_curves(records)["loss"]
    assert (curve.steps.tolist(), curve.values.tolist()) == ([1, 2, 3], [1.0, 20.0, 30.0])


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    """As this program writes them, and as another's JSON does."""
    values = ["nan", "inf", "-inf", math.nan, math.inf, None, 1.0]
    write_log(tmp_path, [{"step": step, "loss": value} for step, value in enumerate(values)])
    curve = read_curves(log_records(tmp_path / "log.jsonl", []))["loss"]
    thinned = thin(curve)
    assert thinned["y"] == [None] * 6 + [1.0]
    assert thinned["odd_at"] == [0, 1, 2, 3, 4, 5]
    json.dumps(thinned, allow_nan=False)
    assert curve.extreme(greatest=True) == curve.extreme(greatest=False) == (6, 1.0)


def test_thinning_keeps_extremes_means_and_ends() -> None:
    """Oracle: numpy over the whole curve; a bound on the size."""
    steps = np.arange(10, 1_000_010, 10)
    values = np.random.default_rng(0).normal(size=len(steps))
    values[[777, 50_123]] = 99.0, -99.0
    values[31_000] = math.nan
    thinned = thin(Curve(steps, values))
    assert len(thinned["x"]) == len(thinned["y"]) == len(thinned["low"]) == len(thinned["high"]) <= MAX_POINTS
    assert (max(thinned["high"]), min(thinned["low"])) == (99.0, -99.0)
    assert thinned["x"][-1] == steps[-1]
    assert thinned["x"] == sorted(set(thinned["x"]))
    bucket = int(np.searchsorted(thinned["x"], steps[777]))
    assert thinned["high"][bucket] == 99.0
    assert np.mean(thinned["y"]) == pytest.approx(np.nanmean(values), abs=1e-3)
    assert thinned["odd_at"] == [int(steps[31_000])]


def test_short_curves_are_kept_as_they_are() -> None:
    curve = Curve(np.arange(MAX_POINTS), np.linspace(0, 1, MAX_POINTS))
    assert thin(curve)["y"] == pytest.approx(curve.values, rel=1e-5)
    assert "low" not in thin(curve)


def test_bits_per_pixel_of_training() -> None:
    """Oracle: the definition. 1 nat for each code of 4 x 4 pixels."""
    curves = {"loss": Curve(np.array([5]), np.array([1.0]))}
    assert derived_curves(curves, 4)["bits_per_pixel"].last() == (5, pytest.approx(1.4426950 / 16))
    assert derived_curves(curves, None) == curves


def test_every_logged_name_is_in_one_chart() -> None:
    """What nobody has foreseen has a chart of its own, and a hostile log cannot make thousands of them."""
    curve = Curve(np.array([1]), np.array([1.0]))
    names = ["loss/total", "validation/loss", "quantizer/commitment", "quantizer/entropy", "mine/new"]
    charts = charts_of([dict.fromkeys(names, curve)])
    assert [chart.key for chart in charts] == ["loss", "codebook", "other-0"]
    assert charts[-1].title == "mine/new"
    assert len(charts_of([{f"x{number}": curve for number in range(1000)}])) < 50
