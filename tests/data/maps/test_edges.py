"""Canny's edges on pictures whose edges are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps.edges import Edges, canny


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(values)[..., None].astype(np.uint8), 3, axis=2)


def step(contrast: float) -> np.ndarray:
    values = np.full((40, 40), 100.0)
    values[:, 20:] += 255 * contrast
    return gray(values)


@pytest.mark.parametrize("sigma", [0.7, 1.4, 3.0])
def test_a_step_is_one_line(sigma: float) -> None:
    """Closed form: one pixel in each row, at one of the two pixels beside the step."""
    found = canny(step(0.5), sigma, 0.1, 0.2)
    assert (found.sum(axis=1) == 1).all()
    assert set(found.argmax(axis=1)) <= {19, 20}


@pytest.mark.parametrize("sigma", [0.7, 1.4, 3.0])
def test_thresholds_are_shares_of_black_to_white(sigma: float) -> None:
    """Closed form: a step of 0.3 is an edge above a threshold of 0.25 and none above 0.35, whatever the sigma."""
    assert canny(step(0.3), sigma, 0.2, 0.25).any()
    assert not canny(step(0.3), sigma, 0.2, 0.35).any()


def test_weak_edges_count_where_they_join_strong_ones() -> None:
    """Closed form: a step that fades from 0.5 to 0.15 is whole; a step of 0.15 alone is nothing."""
    values = np.full((60, 40), 50.0)
    values[:, 20:] += (255 * np.linspace(0.5, 0.15, 60))[:, None]
    assert (canny(gray(values), 1.4, 0.1, 0.4).sum(axis=1) >= 1).all()
    assert not canny(step(0.15), 1.4, 0.1, 0.4).any()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_picture_turns_its_edges(turns: int) -> None:
    """Invariant, up to the choice between two equal neighbours: at most one pixel aside."""
    y, x = np.mgrid[:50, :50]
    disc = gray(np.where((x - 24.3) ** 2 + (y - 25.1) ** 2 < 200, 220.0, 30.0))
    plain = canny(disc, 1.4, 0.1, 0.2)
    turned = np.rot90(canny(np.rot90(disc, turns), 1.4, 0.1, 0.2), -turns)
    near = np.pad(plain, 1)
    near = np.logical_or.reduce([near[a : a + 50, b : b + 50] for a in range(3) for b in range(3)])
    assert plain.sum() > 60
    assert not (turned & ~near).any()


def test_flat_pictures_have_none() -> None:
    assert not canny(gray(np.full((9, 9), 77.0)), 1.4, 0.1, 0.2).any()


def test_given_edges(tmp_path: Path) -> None:
    """Oracle: bright pixels are edges, whatever their exact value."""
    Image.fromarray(np.array([[0, 100, 128, 255]] * 8, np.uint8).repeat(2, axis=1)).save(tmp_path / "e.png")
    read = Edges(MapsConfig()).read(tmp_path / "e.png")
    assert np.array_equal(read[0, ::2, 0], [0, 0, 255, 255])
