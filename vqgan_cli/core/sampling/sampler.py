"""Draw codes from a prior: cached up to the training grid, by a sliding window beyond it."""

from __future__ import annotations

import torch
from torch import Tensor

from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import Prior, sequence_order
from vqgan_cli.core.sampling.canvas import Canvas, Progress, Stopped
from vqgan_cli.core.sampling.settings import SamplingSettings
from vqgan_cli.core.sampling.stream import Stream
from vqgan_cli.core.sampling.windows import Placement, plan_waves

__all__ = ["Progress", "SamplingSettings", "Stopped", "draw"]


@torch.inference_mode()
def draw(
    prior: Prior,
    condition: Tensor,
    grid: tuple[int, int],
    settings: SamplingSettings,
    *,
    known: Tensor | None = None,
    first_image: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Draw the codes of N images.

    A smaller grid than the training grid is a part of one: its upper rows, and the middle of their columns.

    Args:
        prior: in evaluation mode.
        condition: int64 [N, 1] tokens; for condition ``codes`` the condition's codes [N, h, w] of the same grid.
        grid: cells (h, w).
        settings: how.
        known: int64 [N, h, w], codes that are given, -1 where one is to be drawn; None: nothing is given. A code is
            drawn knowing those before it in the model's order (in a large grid: in its window), given or drawn.
        first_image: number of the first image: image n draws from random numbers of (seed, first_image + n, cell), so
            that results depend neither on the batch nor on the order of work.
        progress: called as the work goes on.

    Returns:
        int64 [N, h, w], on the device of ``condition``.

    Raises:
        UsageError: the settings do not fit the model, or ``known`` is of another shape or outside the codebook.
        Stopped: ``progress`` returned False.
    """
    _check(prior, grid, settings)
    if known is not None:
        _check_known(known, (len(condition), *grid), prior.spec.codebook_size)
    canvas = Canvas(prior, condition, grid, settings, first_image, known, progress)
    if grid[0] <= prior.spec.grid[0] and grid[1] <= prior.spec.grid[1]:
        _draw_cached(canvas)
    else:
        _draw_sliding(canvas)
    return canvas.cropped()


def _check(prior: Prior, grid: tuple[int, int], settings: SamplingSettings) -> None:
    spec = prior.spec
    if settings.guided and not spec.null_condition:
        raise UsageError(
            "guidance needs a model that was also trained without its condition",
            hint="leave guidance at 1, or train with condition.dropout above 0",
        )
    beyond = grid[0] > spec.grid[0] or grid[1] > spec.grid[1]
    if beyond and prior.config.order != "row":
        raise UsageError(
            f"grids beyond {spec.grid[0]}x{spec.grid[1]} codes need a model in row order; this one was trained in "
            f"{prior.config.order} order"
        )
    widest = spec.grid[1] - spec.grid[1] // 2
    if not 1 <= settings.stride <= widest:
        raise UsageError(
            f"stride {settings.stride} is not between 1 and {widest}, half of the model's window"
        )
    if spec.condition == "codes" and (grid[0] < spec.grid[0] or grid[1] < spec.grid[1]):
        raise UsageError(
            f"this model is conditioned on images of at least {spec.grid[0]}x{spec.grid[1]} codes, not "
            f"{grid[0]}x{grid[1]}"
        )


def _check_known(known: Tensor, shape: tuple[int, ...], codebook_size: int) -> None:
    if tuple(known.shape) != shape or known.is_floating_point():
        raise UsageError(
            f"known codes are {known.dtype} {list(known.shape)}, not integers {list(shape)} as the images to draw"
        )
    if known.numel() and not -1 <= int(known.min()) <= int(known.max()) < codebook_size:
        raise UsageError(
            f"known codes range from {int(known.min())} to {int(known.max())}; the model has 0 to {codebook_size - 1}"
        )


def _draw_cached(canvas: Canvas) -> None:
    """Code by code with a cache, in the order of training; what is known before the first is read in one pass."""
    prior, rows = canvas.prior, canvas.settings.rows
    count, height, width = canvas.codes.shape
    order = torch.from_numpy(sequence_order(prior.config.order, height, width)).to(canvas.codes.device)
    scales = canvas.scale(order)
    for images in torch.arange(count, device=order.device).split(rows):
        missing = (~canvas.known[images].flatten(1)[:, order]).any(0).nonzero()[:, 0]
        if not len(missing):
            continue
        first, last = int(missing[0]), int(missing[-1])
        condition = canvas.condition[images].flatten(1)
        stream = Stream(prior, condition, guided=canvas.settings.guided, steps_to=last + 1)
        prefix = canvas.codes[images].flatten(1)[:, order[:first]]
        lengths = condition.new_full((len(images),), first)
        logits = stream.prefix(prefix, lengths, scales[first].expand(len(images)))
        for place in range(first, last + 1):
            drawn = canvas.put(logits, images, order[place].expand(len(images)))
            canvas.report()
            if place < last:
                logits = stream.step(drawn, place, scales[place + 1].expand(len(images)))


def _draw_sliding(canvas: Canvas) -> None:
    """Wave by wave; all images share a wave."""
    window = canvas.prior.spec.grid
    waves = plan_waves((canvas.codes.shape[1], canvas.codes.shape[2]), window, canvas.settings.stride)
    missing = (~canvas.known).cpu().numpy()
    for wave in waves:
        work = [
            (image, placement)
            for placement in wave
            for image in range(len(canvas.codes))
            if missing[image, placement.row, placement.column : placement.column + placement.count].any()
        ]
        if not work:
            continue
        # Of like count, as they step together; of like prefix, for the least padding.
        work.sort(key=lambda item: (item[1].count, item[1].local(window[1])))
        while work:
            rows = [item for item in work[: canvas.settings.rows] if item[1].count == work[0][1].count]
            _draw_placements(canvas, rows)
            work = work[len(rows) :]
        canvas.report()


def _draw_placements(canvas: Canvas, work: list[tuple[int, Placement]]) -> None:
    """Draw the cells of some placements, each in its window, in one batch."""
    height, width = canvas.prior.spec.grid
    device = canvas.codes.device
    placements = [placement for _, placement in work]
    images = torch.tensor([image for image, _ in work], device=device)
    lengths = torch.tensor([placement.local(width) for placement in placements], device=device)
    longest = max(placement.local(width) for placement in placements)
    corners = torch.tensor([p.top * canvas.codes.shape[2] + p.left for p in placements], device=device)

    def in_windows(grids: Tensor, length: int) -> Tensor:
        """The first codes of each window in row order, [B, length]."""
        cells = torch.arange(length, device=device)
        cells = cells // width * grids.shape[2] + cells % width
        return grids.flatten(1)[images[:, None], corners[:, None] + cells]

    # Only what precedes a cell can matter to it: the rest of its window is never fed.
    codes = in_windows(canvas.codes, longest).clamp(min=0)
    if canvas.prior.spec.condition == "codes":
        condition = in_windows(canvas.condition, height * width)
    else:
        condition = canvas.condition[images]
    count = placements[0].count
    steps_to = longest + count - 1 if count > 1 else 0
    stream = Stream(canvas.prior, condition, guided=canvas.settings.guided, steps_to=steps_to)
    first = torch.tensor([p.row * canvas.codes.shape[2] + p.column for p in placements], device=device)
    logits = stream.prefix(codes, lengths, canvas.scale(first))
    for offset in range(count):
        drawn = canvas.put(logits, images, first + offset)
        if offset + 1 < count:
            logits = stream.step(drawn, lengths + offset, canvas.scale(first + offset + 1))
