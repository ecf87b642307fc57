"""Draw codes from a prior: cached up to the training grid, by a sliding window beyond it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import Prior, sequence_order
from vqgan_cli.core.sampling.choice import choose, guidance_scale, uniforms
from vqgan_cli.core.sampling.stream import Stream
from vqgan_cli.core.sampling.windows import Placement, plan_waves

__all__ = ["Progress", "SamplingSettings", "Stopped", "draw"]

Progress = Callable[[int, Tensor], "bool | None"]
"""Told the number of codes drawn and the codes so far, [N, h, w] with -1 where none is drawn; False stops."""


@dataclass(frozen=True)
class SamplingSettings:
    """How codes are drawn.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest code.
        top_k: draw among so many codes; 0: all.
        top_p: draw among the likeliest codes that reach this probability together.
        guidance: scale of classifier-free guidance; 1: none.
        guidance_schedule: ``constant``, ``linear`` or ``cosine``.
        stride: cells per placement of the sliding window; 1 is exact, as published.
        max_batch: sequences in one pass of the network, those for guidance included.
        seed: of all random numbers.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance: float = 1.0
    guidance_schedule: str = "constant"
    stride: int = 1
    max_batch: int = 16
    seed: int = 0

    @property
    def guided(self) -> bool:
        """Whether each sequence needs one without condition beside it."""
        return self.guidance != 1

    @property
    def rows(self) -> int:
        """Sequences drawn at a time."""
        return max(1, self.max_batch // 2 if self.guided else self.max_batch)


class Stopped(Exception):  # noqa: N818
    """The progress callback asked to stop."""


@torch.inference_mode()
def draw(
    prior: Prior,
    condition: Tensor,
    grid: tuple[int, int],
    settings: SamplingSettings,
    *,
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
        first_image: number of the first image: image n draws from random numbers of (seed, first_image + n, cell), so
            that results depend neither on the batch nor on the order of work.
        progress: called as the work goes on.

    Returns:
        int64 [N, h, w], on the device of ``condition``.

    Raises:
        UsageError: the settings do not fit the model.
        Stopped: ``progress`` returned False.
    """
    _check(prior, grid, settings)
    canvas = _Canvas(prior, condition, grid, settings, first_image, progress)
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


class _Canvas:
    """The codes of N images while they are drawn, and what is needed to draw a cell.

    Attributes:
        codes: int64 [N, H, W], -1 where none is drawn; at least as wide as the window.
    """

    def __init__(
        self,
        prior: Prior,
        condition: Tensor,
        grid: tuple[int, int],
        settings: SamplingSettings,
        first_image: int,
        progress: Progress | None,
    ) -> None:
        self.prior, self.condition, self.grid, self.settings = prior, condition, grid, settings
        height = grid[0] if prior.config.order == "row" else max(grid[0], prior.spec.grid[0])
        width = max(grid[1], prior.spec.grid[1])
        self.codes = condition.new_full((len(condition), height, width), -1)
        cells = height * width
        numbers = [uniforms(settings.seed, first_image + n, cells) for n in range(len(condition))]
        on_device = torch.float32 if condition.device.type == "mps" else torch.float64
        self._uniforms = torch.stack(numbers).to(condition.device, on_device)
        self._progress = progress
        self._drawn = 0

    def scale(self, cells: Tensor) -> Tensor:
        """Guidance at row-major cells of the canvas."""
        share = cells / max(1, self.codes[0].numel() - 1)
        return guidance_scale(self.settings.guidance, self.settings.guidance_schedule, share)

    def put(self, logits: Tensor, images: Tensor, cells: Tensor) -> Tensor:
        """Draw a code for each (image, row-major cell) and keep it; returns them, [B]."""
        settings = self.settings
        drawn = choose(
            logits,
            self._uniforms[images, cells],
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
        )
        self.codes.view(len(self.codes), -1)[images, cells] = drawn
        self._drawn += len(drawn)
        return drawn

    def report(self) -> None:
        """Tell the caller; raises `Stopped` if it wants no more."""
        if self._progress is not None and self._progress(self._drawn, self.cropped()) is False:
            raise Stopped

    def cropped(self) -> Tensor:
        """The part that was asked for."""
        left = (self.codes.shape[2] - self.grid[1]) // 2
        return self.codes[:, : self.grid[0], left : left + self.grid[1]]


def _draw_cached(canvas: _Canvas) -> None:
    """Code by code with a cache, in the order of training."""
    prior, rows = canvas.prior, canvas.settings.rows
    count, height, width = canvas.codes.shape
    order = torch.from_numpy(sequence_order(prior.config.order, height, width)).to(canvas.codes.device)
    scales = canvas.scale(order)
    for images in torch.arange(count, device=order.device).split(rows):
        condition = canvas.condition[images].flatten(1)
        stream = Stream(prior, condition, guided=canvas.settings.guided, steps_to=len(order))
        none = condition.new_zeros(len(images))
        logits = stream.prefix(condition[:, :0], none, scales[0].expand(len(images)))
        for place, cell in enumerate(order):
            drawn = canvas.put(logits, images, cell.expand(len(images)))
            canvas.report()
            if place + 1 < len(order):
                logits = stream.step(drawn, place, scales[place + 1].expand(len(images)))


def _draw_sliding(canvas: _Canvas) -> None:
    """Wave by wave; all images share a wave."""
    window = canvas.prior.spec.grid
    waves = plan_waves((canvas.codes.shape[1], canvas.codes.shape[2]), window, canvas.settings.stride)
    for wave in waves:
        work = [(image, placement) for placement in wave for image in range(len(canvas.codes))]
        # Of like count, as they step together; of like prefix, for the least padding.
        work.sort(key=lambda item: (item[1].count, item[1].local(window[1])))
        while work:
            rows = [item for item in work[: canvas.settings.rows] if item[1].count == work[0][1].count]
            _draw_placements(canvas, rows)
            work = work[len(rows) :]
        canvas.report()


def _draw_placements(canvas: _Canvas, work: list[tuple[int, Placement]]) -> None:
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
