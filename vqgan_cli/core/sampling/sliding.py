"""Grids beyond the training grid: a window slides over them (Esser et al. 2021, section 3.3)."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from vqgan_cli.core.sampling.canvas import Canvas
from vqgan_cli.core.sampling.stream import Stream
from vqgan_cli.core.sampling.windows import Placement, plan_waves

__all__ = ["draw_sliding"]

_Work = list[tuple[int, Placement]]  # images, and where in them


def draw_sliding(canvas: Canvas) -> None:
    """Draw wave by wave; all images share a wave."""
    window = canvas.prior.spec.grid
    grid = (canvas.codes.shape[1], canvas.codes.shape[2])
    waves = plan_waves(grid, window, canvas.settings.stride, steps=canvas.prior.keeps)
    sliding = _Sliding(canvas)
    for wave in waves:
        work = [
            (image, placement)
            for placement in wave
            for image in range(len(canvas.codes))
            if sliding.missing(image, placement.row, placement.column, placement.count)
        ]
        if work:
            sliding.draw(work)
            canvas.report()


class _Sliding:
    """Draws placements, and keeps what the next ones go on from: where a window stands still, a code is one step."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._missing = (~canvas.known).cpu().numpy()
        # By image and row-major cell: stream and its row.
        self._kept: dict[tuple[int, int], tuple[Stream, int]] = {}

    def missing(self, image: int, row: int, column: int, count: int) -> int:
        """How many of some cells are to be drawn."""
        return int(self._missing[image, row, column : column + count].sum())

    def draw(self, work: _Work) -> None:
        """Draw the cells of placements that do not depend on each other."""
        width, rows = self._canvas.prior.spec.grid[1], self._canvas.settings.rows
        # Of like count, as they step together; of like prefix, for the least padding.
        work.sort(key=lambda item: (item[1].count, item[1].local(width)))
        for goes_on in (False, True):
            chosen = [each for each in work if ((each[0], self._first(each[1])) in self._kept) == goes_on]
            for _, group in groupby(chosen, key=lambda item: item[1].count):
                like = list(group)
                for start in range(0, len(like), rows):
                    self._draw_batch(like[start : start + rows], goes_on=goes_on)

    def _first(self, placement: Placement) -> int:
        """Row-major number of its first cell."""
        return placement.row * self._canvas.codes.shape[2] + placement.column

    def _draw_batch(self, work: _Work, *, goes_on: bool) -> None:
        """Draw the cells of placements, each in its window, in one batch."""
        canvas, count = self._canvas, work[0][1].count
        device, width = canvas.codes.device, canvas.prior.spec.grid[1]
        images = torch.tensor([image for image, _ in work], device=device)
        lengths = torch.tensor([placement.local(width) for _, placement in work], device=device)
        first = torch.tensor([self._first(placement) for _, placement in work], device=device)
        lasting = [n for n, (image, placement) in enumerate(work) if self._lasts(image, placement)]
        if goes_on:
            kept = [self._kept.pop((image, self._first(placement))) for image, placement in work]
            stream = Stream.gathered(kept, device)
            before = canvas.codes.flatten(1)[images, first - 1]
            logits = stream.step(before, lengths - 1, canvas.scale(first))
        else:
            stream, logits = self._begun(work, images, lengths, first, lasting)
        for offset in range(count):
            new = sum(self.missing(image, p.row, p.column + offset, 1) for image, p in work)
            drawn = canvas.put(logits, images, first + offset, new)
            if offset + 1 < count:
                logits = stream.step(drawn, lengths + offset, canvas.scale(first + offset + 1))
        for row, n in enumerate(lasting):
            image, placement = work[n]
            place = n if len(stream) == len(work) else row
            self._kept[image, self._first(placement) + count] = (stream, place)

    def _lasts(self, image: int, placement: Placement) -> bool:
        """Whether the placement after this one goes on where it ends."""
        row, column = divmod(self._first(placement) + placement.count, self._canvas.codes.shape[2])
        return placement.lasts and self.missing(image, row, column, self._canvas.settings.stride) > 0

    def _begun(
        self, work: _Work, images: Tensor, lengths: Tensor, first: Tensor, lasting: list[int]
    ) -> tuple[Stream, Tensor]:
        """A new stream, and the logits of the first cell of each placement."""
        canvas, count = self._canvas, work[0][1].count
        height, width = canvas.prior.spec.grid
        columns, device = canvas.codes.shape[2], canvas.codes.device
        longest = max(placement.local(width) for _, placement in work)
        corners = torch.tensor([p.top * columns + p.left for _, p in work], device=device)

        def in_windows(grids: Tensor, length: int) -> Tensor:
            """The first codes of each window in row order, [B, length]."""
            cells = torch.arange(length, device=device)
            cells = cells // width * columns + cells % width
            return grids.flatten(1)[images[:, None], corners[:, None] + cells]

        # Only what precedes a cell can matter to it: the rest of its window is never fed.
        codes = in_windows(canvas.codes, longest).clamp(min=0)
        if canvas.prior.spec.condition == "codes":
            condition = in_windows(canvas.condition, height * width)
        else:
            condition = canvas.condition[images]
        steps_to = longest + count - 1 if count > 1 else 0
        if lasting:
            steps_to = height * width  # all that are kept have the same room, and so can be joined
        stream = Stream(
            canvas.prior,
            condition,
            guided=canvas.settings.guided,
            steps_to=steps_to,
            rows=lasting if lasting and count == 1 else None,
        )
        return stream, stream.prefix(codes, lengths, canvas.scale(first))
