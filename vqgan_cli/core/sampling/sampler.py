"""Draw codes from a prior: cached up to the training grid, by a sliding window beyond it."""

from __future__ import annotations

import torch
from torch import Tensor

from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import Prior, sequence_order
from vqgan_cli.core.sampling.canvas import Canvas, Progress, Stopped
from vqgan_cli.core.sampling.settings import SamplingSettings
from vqgan_cli.core.sampling.sliding import draw_sliding
from vqgan_cli.core.sampling.stream import Stream

__all__ = ["Progress", "SamplingSettings", "Stopped", "draw", "require_drawable"]


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
    require_drawable(prior, grid, settings)
    if known is not None:
        _check_known(known, (len(condition), *grid), prior.spec.codebook_size)
    canvas = Canvas(prior, condition, grid, settings, first_image, known, progress)
    if grid[0] <= prior.spec.grid[0] and grid[1] <= prior.spec.grid[1]:
        _draw_cached(canvas)
    else:
        draw_sliding(canvas)
    return canvas.cropped()


def require_drawable(prior: Prior, grid: tuple[int, int], settings: SamplingSettings) -> None:
    """Find what a model cannot draw.

    Args:
        prior: the model.
        grid: cells (h, w).
        settings: how to draw.

    Raises:
        UsageError: guidance, order, stride or grid do not fit the model.
    """
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
        missing = (~canvas.known[images].flatten(1)[:, order]).sum(0).tolist()  # images in which a place is
        places = [place for place, count in enumerate(missing) if count]
        if not places:
            continue
        first, last = places[0], places[-1]
        condition = canvas.condition[images].flatten(1)
        stream = Stream(prior, condition, guided=canvas.settings.guided, steps_to=last + 1)
        prefix = canvas.codes[images].flatten(1)[:, order[:first]]
        lengths = condition.new_full((len(images),), first)
        logits = stream.prefix(prefix, lengths, scales[first].expand(len(images)))
        for place in range(first, last + 1):
            drawn = canvas.put(logits, images, order[place].expand(len(images)), missing[place])
            canvas.report()
            if place < last:
                logits = stream.step(drawn, place, scales[place + 1].expand(len(images)))
