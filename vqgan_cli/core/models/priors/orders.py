"""The order in which the cells of a grid become a sequence (Esser et al. 2021, appendix on code orderings)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.errors import ConfigError, did_you_mean

__all__ = ["ORDERS", "sequence_order"]

Cells = npt.NDArray[np.int64]


def sequence_order(name: str, height: int, width: int) -> Cells:
    """Row-major cell index at each place of the sequence, int64 [height * width].

    Args:
        name: row, subsample, z-curve, spiral-in, spiral-out, random or alternate.
        height: rows of the grid.
        width: columns of the grid.

    Examples:
        >>> from vqgan_cli import sequence_order
        >>> sequence_order("alternate", 2, 3).tolist()
        [0, 1, 2, 5, 4, 3]

    Raises:
        ConfigError: there is no such order.
    """
    if name not in ORDERS:
        raise ConfigError([f"transformer.order: unknown order {name!r}{did_you_mean(name, ORDERS)}"])
    return np.ascontiguousarray(ORDERS[name](height, width), np.int64)


def _row(height: int, width: int) -> Cells:
    return np.arange(height * width)


def _alternate(height: int, width: int) -> Cells:
    """Rows, every other one from right to left."""
    cells = _row(height, width).reshape(height, width)
    cells[1::2] = cells[1::2, ::-1]
    return cells.reshape(-1)


def _random(height: int, width: int) -> Cells:
    """The published permutation; numpy keeps this generator's stream unchanged."""
    return np.random.RandomState(1).permutation(height * width)


def _z_curve(height: int, width: int) -> Cells:
    """Quadrant by quadrant, recursively: by the interleaved bits of row and column."""
    rows, columns = np.divmod(_row(height, width), width)
    return _interleaved(rows, columns, _bits(height, width)).argsort(kind="stable")


def _subsample(height: int, width: int) -> Cells:
    """From coarse to fine: a z-curve whose coarsest bits change first."""
    bits = _bits(height, width)
    rows, columns = np.divmod(_row(height, width), width)
    return _interleaved(_reversed_bits(rows, bits), _reversed_bits(columns, bits), bits).argsort(
        kind="stable"
    )


def _spiral_in(height: int, width: int) -> Cells:
    """From the lower right corner up, left, down, right, and so on to the centre."""
    cells = _row(height, width).reshape(height, width)
    parts = []
    while cells.size:
        parts.append(cells[::-1, -1])
        cells = np.rot90(cells[:, :-1], -1)  # the next side comes to the right
    return np.concatenate(parts)


def _spiral_out(height: int, width: int) -> Cells:
    return _spiral_in(height, width)[::-1]


def _bits(height: int, width: int) -> int:
    return (max(height, width) - 1).bit_length()


def _interleaved(rows: Cells, columns: Cells, bits: int) -> Cells:
    key = np.zeros_like(rows)
    for bit in range(bits):
        key |= (columns >> bit & 1) << 2 * bit | (rows >> bit & 1) << 2 * bit + 1
    return key


def _reversed_bits(values: Cells, bits: int) -> Cells:
    result = np.zeros_like(values)
    for bit in range(bits):
        result |= (values >> bit & 1) << bits - 1 - bit
    return result


ORDERS = {
    "row": _row,
    "subsample": _subsample,
    "z-curve": _z_curve,
    "spiral-in": _spiral_in,
    "spiral-out": _spiral_out,
    "random": _random,
    "alternate": _alternate,
}
"""Orders by name."""
