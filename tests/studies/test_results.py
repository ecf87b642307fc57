"""Means and spreads."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from vqgan_cli.core.studies.base import Arm, Metric, Run
from vqgan_cli.core.studies.results import collect, dots, markdown

A, B = Arm("a", "train-ae"), Arm("b", "train-ae")
RUNS = [Run(arm, seed, Path(f"{arm.name}-{seed}")) for seed in range(2) for arm in (A, B)]
METRICS = (Metric("psnr", "PSNR (dB)", 1), Metric("steps", "steps", 0), Metric("absent", "absent"))


def test_runs_of_an_arm_belong_together() -> None:
    """Oracle: by hand; the deviation of 20 and 22 is the root of 2. What is not finite does not count."""
    values = [
        {"psnr": 20.0, "steps": 5},
        {"psnr": 30.0, "steps": 5},
        {"psnr": 22.0, "steps": 5},
        {"psnr": math.nan},
    ]
    first, second = results = collect(RUNS, values, METRICS)
    assert first.figures["psnr"].mean == 21
    assert first.figures["psnr"].standard_deviation == pytest.approx(math.sqrt(2))
    assert second.figures["psnr"].values == (30.0,)
    assert second.json()["psnr"] == {"mean": 30.0, "standard_deviation": None, "values": [30.0]}
    assert second.json()["runs"] == ["b-0", "b-1"]
    assert markdown(results, METRICS) == (
        "|  | PSNR (dB) | steps |\n| --- | --- | --- |\n| a | 21.0 ± 1.4 | 5 |\n| b | 30.0 | 5 |\n"
    )
    assert [panel.title for panel in dots(results, METRICS)] == ["PSNR (dB)", "steps"]
