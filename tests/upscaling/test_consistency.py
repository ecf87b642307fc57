"""Large pictures that keep what the small ones showed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from vqgan_cli.core.data.maps import enlarge, shrink
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.upscaling.consistency import back_project, consistency
from vqgan_cli.core.upscaling.scratch import Scratch

LARGE = SYNTHETIC_SETS["faces"].draw(0, 0, 96, 64).image


def test_consistency() -> None:
    """Closed form: equal is infinite; one gray level off everywhere is 48.13 dB."""
    small = shrink(LARGE, 4, "box")
    assert consistency(LARGE, small, 4, "box") == math.inf
    off = np.where(small > 127, small - 1, small + 1).astype(np.uint8)
    assert consistency(LARGE, off, 4, "box") == pytest.approx(20 * math.log10(255))


@pytest.mark.parametrize("filter_", ["bicubic", "lanczos", "box"])
@pytest.mark.parametrize("factor", [2, 4])
def test_back_projection(filter_: str, factor: int, tmp_path: Path) -> None:
    """Invariant: the small version of the result is the small picture, at 40 dB or more; invented detail stays."""
    small = shrink(LARGE, factor, filter_)
    noise = np.random.default_rng(0).normal(0, 20, LARGE.shape)
    guess = np.clip(np.rint(LARGE[:, ::-1] * 0.5 + 60 + noise), 0, 255).astype(np.uint8)
    assert consistency(guess, small, factor, filter_) < 20
    result = guess.copy()
    back_project(result, small, factor, filter_, Scratch(tmp_path))
    assert consistency(result, small, factor, filter_) > 40
    detail = result - enlarge(small, 96, 64).astype(float)
    assert detail.std() > 5


def test_nothing_to_correct(tmp_path: Path) -> None:
    result = LARGE.copy()
    back_project(result, shrink(LARGE, 4, "bicubic"), 4, "bicubic", Scratch(tmp_path))
    assert np.array_equal(result, LARGE)
