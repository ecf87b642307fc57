"""Sequence orders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vqgan_cli.core.errors import ConfigError
from vqgan_cli.core.models.priors.orders import ORDERS, sequence_order

RECORDED = {
    "row": "Identity",
    "subsample": "Subsample",
    "z-curve": "ZCurve",
    "spiral-out": "SpiralOut",
    "spiral-in": "SpiralIn",
    "random": "Random",
    "alternate": "AlternateParsing",
}


@pytest.mark.parametrize("name", ORDERS)
def test_equals_the_original(name: str, shared: Path) -> None:
    """Oracle: the permutations recorded from the original implementation, 8x8."""
    recorded = json.loads((shared / "golden/taming/permuters_8x8.json").read_text())
    assert sequence_order(name, 8, 8).tolist() == recorded[RECORDED[name]]


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("grid", [(1, 1), (1, 7), (5, 3), (6, 16)])
def test_every_cell_once(name: str, grid: tuple[int, int]) -> None:
    """Invariant: a permutation, also of grids that are neither square nor powers of two."""
    order = sequence_order(name, *grid)
    assert np.array_equal(np.sort(order), np.arange(grid[0] * grid[1]))


def test_unknown_order_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="z-curve"):
        sequence_order("z-curv", 2, 2)
