"""The codes of images while they are drawn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.sampling.choice import choose, guidance_scale, precise_type, uniforms
from vqgan_cli.core.sampling.settings import SamplingSettings

__all__ = ["Canvas", "Progress", "Stopped"]

Progress = Callable[[int, Tensor], "bool | None"]
"""Told the number of codes drawn and the codes so far, [N, h, w] with -1 where none is drawn; False stops."""


class Stopped(Exception):  # noqa: N818
    """The progress callback asked to stop."""


class Canvas:
    """The codes of N images while they are drawn, and what is needed to draw a cell.

    Attributes:
        codes: int64 [N, H, W], -1 where none is drawn; at least as wide as the window.
        known: bool [N, H, W], cells whose codes were given and stay.
    """

    def __init__(
        self,
        prior: Prior,
        condition: Tensor,
        grid: tuple[int, int],
        settings: SamplingSettings,
        first_image: int,
        known: Tensor | None,
        progress: Progress | None,
    ) -> None:
        self.prior, self.condition, self.grid, self.settings = prior, condition, grid, settings
        height = grid[0] if prior.config.order == "row" else max(grid[0], prior.spec.grid[0])
        width = max(grid[1], prior.spec.grid[1])
        self.codes = condition.new_full((len(condition), height, width), -1)
        if known is not None:
            self.cropped().copy_(known)
        self.known = self.codes >= 0
        cells = height * width
        numbers = [uniforms(settings.seed, first_image + n, cells) for n in range(len(condition))]
        self._uniforms = torch.stack(numbers).to(condition.device, precise_type(condition.device))
        self._progress = progress
        self._drawn = self._given = int(self.known.sum())

    def scale(self, cells: Tensor) -> Tensor:
        """Guidance at row-major cells of the canvas."""
        share = cells / max(1, self.codes[0].numel() - 1)
        return guidance_scale(self.settings.guidance, self.settings.guidance_schedule, share)

    def put(self, logits: Tensor, images: Tensor, cells: Tensor, new: int) -> Tensor:
        """Draw a code for each (image, row-major cell) unless it is known; returns the codes of the cells, [B].

        ``new`` is how many are not known, which a caller knows without waiting for the device.
        """
        settings = self.settings
        drawn = choose(
            logits,
            self._uniforms[images, cells],
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
        )
        flat = self.codes.view(len(self.codes), -1)
        if self._given:
            kept = self.known.view(len(self.codes), -1)[images, cells]
            drawn = torch.where(kept, flat[images, cells], drawn)
        flat[images, cells] = drawn
        self._drawn += new
        return drawn

    def report(self) -> None:
        """Tell the caller; raises `Stopped` if it wants no more."""
        if self._progress is not None and self._progress(self._drawn, self.cropped()) is False:
            raise Stopped

    def cropped(self) -> Tensor:
        """The part that was asked for, a view."""
        left = (self.codes.shape[2] - self.grid[1]) // 2
        return self.codes[:, : self.grid[0], left : left + self.grid[1]]
