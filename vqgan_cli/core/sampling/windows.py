"""Where the sliding window stands for each cell of a large grid, and which cells can be drawn together."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Placement", "plan_waves"]


@dataclass(frozen=True)
class Placement:
    """``count`` cells of row ``row`` from ``column`` on, drawn with the window's corner at (top, left).

    Attributes:
        follows: the window stands where it stood for the cell before, so that what it knows needs only that code.
        lasts: the next placement follows this one.
    """

    row: int
    column: int
    count: int
    top: int
    left: int
    follows: bool = False
    lasts: bool = False

    def local(self, window_width: int) -> int:
        """Sequence index of the first cell in a window in row order."""
        return (self.row - self.top) * window_width + self.column - self.left


def plan_waves(
    grid: tuple[int, int], window: tuple[int, int], stride: int = 1, *, steps: bool = False
) -> list[list[Placement]]:
    """Placements in waves, one after the other; those of one wave do not depend on each other.

    A cell stands in the middle of its window, or nearer to the border of the grid where the window would leave it
    (Esser et al. 2021, section 3.3). It is ready when all cells of its window that precede it are drawn: those of its
    row, and those of the row above up to the window's right edge, which for their part waited for the rows above them.

    Without ``steps`` the waves are the fewest. With them a wave has placements that follow, each a step of one token,
    or placements that do not, each a pass over all that precedes it, but never both: near a border, where the window
    stands still, rows wait for each other, so that no wave takes two passes.

    Args:
        grid: cells [H, W] of the image, W not below the window's width.
        window: cells [h, w] of the training grid.
        stride: cells per placement, at most ``w - w // 2``, so that they stay inside.
        steps: whether a step is cheaper than a pass over the prefix.
    """
    rows = _placements(grid, window, stride, steps=steps)
    needs = _needs(rows, window[1])
    behind = _longest_ways(rows, needs)
    waves: list[list[Placement]] = []
    drawn = [0] * len(rows)  # placements of each row
    columns = [0] * len(rows)
    while drawn[-1] < len(rows[-1]):
        ready = [
            row
            for row, done in enumerate(drawn)
            if done < len(rows[row]) and (row == 0 or columns[row - 1] >= needs[row][done])
        ]
        # What the most work waits for goes first, and with it all that is like it.
        first = max(ready, key=lambda row: behind[row][drawn[row]])
        kind = rows[first][drawn[first]].follows
        wave = [(row, rows[row][drawn[row]]) for row in ready if rows[row][drawn[row]].follows == kind]
        waves.append([placement for _, placement in wave])
        for row, placement in wave:
            drawn[row] += 1
            columns[row] += placement.count
    return waves


def _placements(
    grid: tuple[int, int], window: tuple[int, int], stride: int, *, steps: bool
) -> list[list[Placement]]:
    """By row."""
    height, width = grid
    corners = [
        [
            (
                _clamped(row - window[0] // 2, height - window[0]),
                _clamped(column - window[1] // 2, width - window[1]),
            )
            for column in range(0, width, stride)
        ]
        for row in range(height)
    ]
    rows: list[list[Placement]] = []
    for row, here in enumerate(corners):
        # In a grid as wide as the window a row goes on where the one above ended.
        before = corners[row - 1][-1] if row and width == window[1] else None
        after = corners[row + 1][0] if row + 1 < height and width == window[1] else None
        rows.append([])
        for n, corner in enumerate(here):
            previous = here[n - 1] if n else before
            following = here[n + 1] if n + 1 < len(here) else after
            rows[-1].append(
                Placement(
                    row,
                    n * stride,
                    min(stride, width - n * stride),
                    *corner,
                    follows=steps and corner == previous,
                    lasts=steps and corner == following,
                )
            )
    return rows


def _needs(rows: list[list[Placement]], width: int) -> list[list[int]]:
    """Columns of the row above that must be drawn before each placement; none where its window begins with its row."""
    return [[p.left + width if p.top < p.row else 0 for p in row] for row in rows]


def _longest_ways(rows: list[list[Placement]], needs: list[list[int]]) -> list[list[int]]:
    """How many placements must be drawn one after the other from each on, itself included."""
    ways = [[1] * len(row) for row in rows]
    for row in range(len(rows) - 1, -1, -1):
        waiting: dict[int, int] = {}  # by placement of this row: longest way of those below that wait for it
        if row + 1 < len(rows):
            ends = [placement.column + placement.count for placement in rows[row]]
            place = 0
            for below, need in enumerate(needs[row + 1]):
                if need == 0:
                    continue
                while ends[place] < need:
                    place += 1
                waiting[place] = max(waiting.get(place, 0), ways[row + 1][below])
        for n in range(len(rows[row]) - 1, -1, -1):
            after = ways[row][n + 1] if n + 1 < len(rows[row]) else 0
            ways[row][n] = 1 + max(after, waiting.get(n, 0))
    return ways


def _clamped(start: int, last: int) -> int:
    return max(0, min(start, last))
