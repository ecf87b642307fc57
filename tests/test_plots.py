"""Plots are SVG that holds every run, at its place."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqgan_cli.core.plots import Dots, Lines, plot, ticks

SVG = "{http://www.w3.org/2000/svg}"


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_enclose_the_values(low: float, span: float) -> None:
    """Invariant: from at or below the least value to at or above the greatest, evenly, and not too many."""
    marks = ticks(low, low + span)
    slack = 1e-6 * (abs(low) + span)
    assert marks[0] <= low + slack
    assert marks[-1] >= low + span - slack
    assert 2 <= len(marks) <= 9
    steps = [b - a for a, b in itertools.pairwise(marks)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=slack)


@pytest.mark.parametrize("value", [0.0, 3.0, -2.5])
def test_ticks_around_one_value(value: float) -> None:
    marks = ticks(value, value)
    assert marks[0] < value < marks[-1]


def test_a_dot_per_run_at_its_place() -> None:
    """Oracle: a dot lies above the number of its value on the axis; names are text, not markup."""
    image = ET.fromstring(plot("a < b?", [Dots("loss", {"<gpt>": [1.0, 2.0], "llama": [4.0]})]))
    places = [(float(each.get("cx", "")), float(each.get("cy", ""))) for each in image.iter(f"{SVG}circle")]
    (x1, y1), (x2, y2), (x4, y4) = places
    axis = {each.text: float(each.get("x", "")) for each in image.iter(f"{SVG}text")}
    assert (x1, x2, x4) == pytest.approx((axis["1"], axis["2"], axis["4"]), abs=0.1)
    assert y1 == y2 < y4
    assert {"a < b?", "loss", "<gpt>", "llama"} <= {each.text for each in image.iter(f"{SVG}text")}


def test_a_curve_per_run() -> None:
    """Invariant: all runs of an arm have one colour and one name."""
    curves = [
        ("gpt", [(0.0, 5.0), (10.0, 4.0)]),
        ("gpt", [(0.0, 5.1), (9.0, 4.1)]),
        ("llama", [(0.0, 5.0), (5.0, 4.5)]),
    ]
    image = ET.fromstring(plot("which?", [Lines("NLL", "seconds", curves)]))
    colours = [each.get("stroke") for each in image.iter(f"{SVG}polyline")]
    assert colours[0] == colours[1] != colours[2]
    names = [each.text for each in image.iter(f"{SVG}text")]
    assert (names.count("gpt"), names.count("llama")) == (1, 1)
    lines = [each.get("points", "").split() for each in image.iter(f"{SVG}polyline")]
    first, last = (tuple(map(float, point.split(","))) for point in lines[0])
    assert first[0] < last[0]
    assert first[1] < last[1]  # a lower value stands lower
