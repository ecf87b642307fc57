"""From condition to picture: the prior draws codes, the tokenizer decodes them, and somebody may watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.tensors import to_arrays
from vqgan_cli.core.device import autocast_for
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.memory import memory_errors
from vqgan_cli.core.models.tiled_decoding import decode_tiled
from vqgan_cli.core.sampling.preparing import prepare_to_draw
from vqgan_cli.core.sampling.sampler import SamplingSettings, Stopped, draw
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["ImageDrawer"]

_PREVIEW_SECONDS = 10.0
_PREVIEW_SHARE = 0.1  # of the time, at most
_UNDRAWN = 128  # gray

Picture = npt.NDArray[np.uint8]


class ImageDrawer:
    """Draws images.

    Args:
        model: prior and tokenizer on their device; the prior is prepared for drawing, and serves for nothing else.
        settings: how to draw codes.
        precision: one of `DRAWING_PRECISIONS`.
        stop: ends the work between two codes.
        preview: file that shows a large image while it is drawn, a few times a minute; None to show none.
    """

    def __init__(
        self,
        model: Transformer,
        settings: SamplingSettings,
        precision: str,
        stop: StopRequest,
        preview: Path | None,
    ) -> None:
        self._model = model
        self._settings = settings
        self._precision = precision
        self._stop = stop
        self._preview = preview
        self._next_preview = time.monotonic() + _PREVIEW_SECONDS
        self._device = next(model.prior.parameters()).device
        prepare_to_draw(model.prior, precision)

    def batch(self, grid: tuple[int, int]) -> int:
        """Images at a time; a large one is a batch of cells by itself."""
        return 1 if self._is_large(grid) else self._settings.max_batch

    def pixels(self, grid: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of an image of a grid."""
        f = self._model.tokenizer.downsampling
        return grid[0] * f, grid[1] * f

    def codes(
        self,
        first: int,
        templates: Sequence[Template],
        labels: Sequence[int | None],
        watch: Callable[[int], None],
        look: Callable[[Tensor], None] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Draw the codes of consecutive images, [N, h, w].

        Args:
            first: image index of the first one.
            templates: what each starts from, all of one grid.
            labels: class of each; None for a model without classes.
            watch: is told the number of codes that are drawn.
            look: is shown them as often, int64 [N, h, w] with -1 where none is drawn, to copy if it keeps them.

        Raises:
            StoppedError: asked to stop.
            MemoryLimitError: the device's memory is exhausted.
        """

        def progress(done: int, so_far: Tensor) -> bool:
            watch(min(done, so_far.numel()))  # of a small grid, cells around it are drawn too
            if look is not None:
                look(so_far)
            if large and self._preview is not None and time.monotonic() >= self._next_preview:
                self._show(so_far[:1], self._preview)
            return not self._stop.pending()

        grid = templates[0].grid
        large = self._is_large(grid)
        condition = _condition(templates, labels)
        known = None
        if any(template.photo for template in templates):
            seed, nothing = self._settings.seed, np.full(grid, -1)
            known = torch.from_numpy(
                np.stack(
                    [
                        template.photo.known(seed, first + number) if template.photo else nothing
                        for number, template in enumerate(templates)
                    ]
                )
            ).to(self._device)
        with self._memory_errors():
            try:
                drawn = draw(
                    self._model.prior,
                    condition.to(self._device),
                    grid,
                    self._settings,
                    known=known,
                    first_image=first,
                    progress=progress,
                )
            except Stopped:
                self.require_going()
                raise
            return drawn.cpu().numpy()

    def pictures(self, codes: npt.NDArray[np.int64]) -> list[Picture]:
        """Decode codes [N, h, w] to pictures uint8 [H, W, 3].

        Raises:
            StoppedError: asked to stop.
            MemoryLimitError: the device's memory is exhausted.
        """
        with self._memory_errors(), autocast_for(self._device, self._precision):
            batch = torch.from_numpy(codes).to(self._device)
            return to_arrays(decode_tiled(self._model.tokenizer, batch, meanwhile=self.require_going))

    def unfinished(self, codes: npt.NDArray[np.int64]) -> list[Picture]:
        """As `pictures`, of codes that are -1 where none is drawn yet; the picture is gray there."""
        pictures = self.pictures(codes.clip(0))
        f = self._model.tokenizer.downsampling
        for picture, missing in zip(pictures, codes < 0, strict=True):
            picture[missing.repeat(f, 0).repeat(f, 1)] = _UNDRAWN
        return pictures

    def require_going(self) -> None:
        """Raise if a signal has asked to stop.

        Raises:
            StoppedError: with the exit code for the signal.
        """
        self._stop.require_going("while drawing; the images written so far are whole")

    def _memory_errors(self) -> AbstractContextManager[None]:
        batch = self._settings.max_batch
        smaller = f"--max-batch {batch // 2}, " if batch > 1 else ""
        return memory_errors(
            f"on {self._device} with --max-batch {batch}",
            f"try {smaller}--precision bf16 or a smaller --size",
        )

    def _is_large(self, grid: tuple[int, int]) -> bool:
        window = self._model.prior.spec.grid
        return grid[0] > window[0] or grid[1] > window[1]

    def _show(self, so_far: Tensor, preview: Path) -> None:
        started = time.monotonic()
        write_image(preview, self.unfinished(so_far.cpu().numpy())[0])
        took = time.monotonic() - started
        self._next_preview = time.monotonic() + max(_PREVIEW_SECONDS, took / _PREVIEW_SHARE)


def _condition(templates: Sequence[Template], labels: Sequence[int | None]) -> Tensor:
    """What the prior is told of each image: its class [N, 1], or the codes of its map [N, h, w]."""
    maps: dict[int, npt.NDArray[np.int64]] = {}
    for template in templates:
        if template.condition is not None and id(template) not in maps:
            maps[id(template)] = template.condition()
    if not maps:
        return torch.tensor([[label or 0] for label in labels])
    return torch.from_numpy(np.stack([maps[id(template)] for template in templates]))
