"""The sliding window's plan."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest

from vqgan_cli.core.sampling.windows import Placement, _longest_ways, _needs, _placements, plan_waves

GRIDS = [((20, 28), (16, 16)), ((9, 30), (4, 6)), ((3, 21), (5, 7)), ((30, 6), (4, 6))]


@pytest.mark.parametrize(("grid", "steps"), [((20, 28), 332), ((32, 64), 560)])
def test_number_of_sequential_steps(grid: tuple[int, int], steps: int) -> None:
    """Oracle: closed form, W + (H - 1) w: a row may start once the row above has passed its window's right edge."""
    assert len(plan_waves(grid, (16, 16))) == steps == grid[1] + (grid[0] - 1) * 16


@pytest.mark.parametrize(
    ("grid", "steps", "passes", "tokens"),
    [((32, 64), 298, 595, 235_736), ((20, 28), 210, 393, 35_064), ((64, 16), 975, 1024, 7_168)],
)
def test_steps_where_the_window_stands_still(
    grid: tuple[int, int], steps: int, passes: int, tokens: int
) -> None:
    """Oracle: recorded; no fewer waves than the fewest (closed form), and few more, none of both kinds. Of
    32x64 cells half the waves are steps, and a fifth of the tokens is saved (293,908 without); of a grid as wide as the
    window 19 in 20 (137,728 without).
    """
    waves = plan_waves(grid, (16, 16), steps=True)
    fed, without = fed_tokens(waves), fed_tokens(plan_waves(grid, (16, 16)))
    assert all(len({p.follows for p in wave}) == 1 for wave in waves)
    assert (sum(wave[0].follows for wave in waves), len(waves), fed) == (steps, passes, tokens)
    fewest = grid[1] + (grid[0] - 1) * 16
    assert fewest <= len(waves) <= 1.2 * fewest
    assert fed < 0.81 * without


def fed_tokens(waves: list[list[Placement]]) -> int:
    """Tokens through the network, padding and the one of a class included."""
    fed = 0
    for wave in waves:
        longest = max(p.local(16) for p in wave)
        fed += sum(1 if p.follows else 1 + longest for p in wave)
    return fed


@pytest.mark.parametrize(("grid", "window"), GRIDS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_placement_follows_where_the_corner_is_that_of_the_one_before(
    grid: tuple[int, int], window: tuple[int, int], stride: int
) -> None:
    """Invariant: one lasts exactly where the next one follows, in the same window and without a gap."""
    waves = plan_waves(grid, window, stride, steps=True)
    ordered = sorted((p for wave in waves for p in wave), key=lambda p: (p.row, p.column))
    assert not ordered[0].follows
    for one, two in pairwise(ordered):
        assert one.lasts == two.follows
        same = (one.top, one.left) == (two.top, two.left)
        gap = two.local(window[1]) - one.local(window[1]) - one.count
        assert two.follows == (same and gap == 0)


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize(("grid", "window"), GRIDS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_everything_before_a_cell_is_drawn(
    grid: tuple[int, int], window: tuple[int, int], stride: int, steps: bool
) -> None:
    """Invariant: each cell once, in its window, after all cells of the window that precede it."""
    drawn: set[tuple[int, int]] = set()
    for wave in plan_waves(grid, window, stride, steps=steps):
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


@pytest.mark.parametrize(("grid", "window"), [((5, 11), (4, 6)), ((4, 12), (3, 7)), ((9, 6), (4, 6))])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_how_much_waits_for_a_placement(grid: tuple[int, int], window: tuple[int, int], stride: int) -> None:
    """Oracle: the longest chain of placements, each with a cell in the next one's window, found by trying all."""
    rows = _placements(grid, window, stride, steps=True)
    placements = [p for row in rows for p in row]

    def waits(p: Placement, for_: Placement) -> bool:
        if for_.row == p.row:
            return for_.column < p.column
        columns = range(max(p.left, for_.column), min(p.left + window[1], for_.column + for_.count))
        return p.top <= for_.row < p.row and len(columns) > 0

    @cache
    def chain(p: Placement) -> int:
        return 1 + max((chain(q) for q in placements if waits(q, p)), default=0)

    assert _longest_ways(rows, _needs(rows, window[1])) == [[chain(p) for p in row] for row in rows]
