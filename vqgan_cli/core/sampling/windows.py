"""Where the sliding window stands for each cell of a large grid, and which cells can be drawn together."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Placement", "plan_waves"]


@dataclass(frozen=True)
class Placement:
    """``count`` cells of row ``row`` from ``column`` on, drawn with the window's corner at (top, left)."""

    row: int
    column: int
    count: int
    top: int
    left: int

    def local(self, window_width: int) -> int:
        """Sequence index of the first cell in a window in row order."""
        return (self.row - self.top) * window_width + self.column - self.left


def plan_waves(grid: tuple[int, int], window: tuple[int, int], stride: int = 1) -> list[list[Placement]]:
    """Placements in the fewest steps one after the other; those of one wave do not depend on each other.

    A cell stands in the middle of its window, or nearer to the border of the grid where the window would leave it
    (Esser et al. 2021, section 3.3). It is ready when all cells of its window that precede it are drawn: those of its
    row, and those of the row above up to the window's right edge, which for their part waited for the rows above them.

    Args:
        grid: cells [H, W] of the image, W not below the window's width.
        window: cells [h, w] of the training grid.
        stride: cells per placement, at most ``w - w // 2``, so that they stay inside.
    """
    height, width = grid
    waves: list[list[Placement]] = []
    above: list[int] = []  # wave of each cell of the row above
    for row in range(height):
        top = _clamped(row - window[0] // 2, height - window[0])
        here: list[int] = []
        for column in range(0, width, stride):
            left = _clamped(column - window[1] // 2, width - window[1])
            wave = max(
                here[-1] + 1 if here else 0,
                above[left + window[1] - 1] + 1 if above and top < row else 0,
            )
            placement = Placement(row, column, min(stride, width - column), top, left)
            here += [wave] * placement.count
            waves.extend([] for _ in range(wave + 1 - len(waves)))
            waves[wave].append(placement)
        above = here
    return waves


def _clamped(start: int, last: int) -> int:
    return max(0, min(start, last))
