"""The sliding window's plan."""

from __future__ import annotations

import pytest

from vqgan_cli.core.sampling.windows import plan_waves

GRIDS = [((20, 28), (16, 16)), ((9, 30), (4, 6)), ((3, 21), (5, 7)), ((30, 6), (4, 6))]


@pytest.mark.parametrize(("grid", "steps"), [((20, 28), 332), ((32, 64), 560)])
def test_number_of_sequential_steps(grid: tuple[int, int], steps: int) -> None:
    """Oracle: closed form, W + (H - 1) w: a row may start once the row above has passed its window's right edge."""
    assert len(plan_waves(grid, (16, 16))) == steps == grid[1] + (grid[0] - 1) * 16


@pytest.mark.parametrize(("grid", "window"), GRIDS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_everything_before_a_cell_is_drawn(
    grid: tuple[int, int], window: tuple[int, int], stride: int
) -> None:
    """Invariant: each cell once, in its window, after all cells of the window that precede it."""
    drawn: set[tuple[int, int]] = set()
    for wave in plan_waves(grid, window, stride):
        new = set()
        for p in wave:
            cells = [(p.row, p.column + n) for n in range(p.count)]
            assert all(p.left <= column < min(grid[1], p.left + window[1]) for _, column in cells)
            assert p.top <= p.row < p.top + window[0]
            columns = range(p.left, p.left + window[1])
            before = {(row, column) for row in range(p.top, p.row) for column in columns}
            before |= {(p.row, column) for column in range(p.left, p.column)}
            assert before <= drawn
            new.update(cells)
        assert not new & drawn
        drawn |= new
    assert len(drawn) == grid[0] * grid[1]


def test_places_are_the_published_ones() -> None:
    """Oracle: the published formula of the local position, window 16."""

    def local(i: int, size: int) -> int:
        return i if i <= 8 else 16 - (size - i) if size - i < 8 else 8

    for p in (placement for wave in plan_waves((20, 28), (16, 16)) for placement in wave):
        assert (p.row - p.top, p.column - p.left) == (local(p.row, 20), local(p.column, 28))
