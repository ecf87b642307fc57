"""A picture enlarged by a model of low-resolution conditions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.data.tensors import to_arrays, to_input, to_tensor
from vqgan_cli.core.device import autocast_for
from vqgan_cli.core.models.tiled_decoding import decode_in_tiles
from vqgan_cli.core.sampling.preparing import prepare_to_draw
from vqgan_cli.core.sampling.sampler import SamplingSettings, Stopped, draw
from vqgan_cli.core.tiled_encoding import encode_tiled
from vqgan_cli.core.training.stopping import StopRequest
from vqgan_cli.core.upscaling.bands import enlarged
from vqgan_cli.core.upscaling.consistency import back_project
from vqgan_cli.core.upscaling.scratch import Scratch

__all__ = ["Upscaler"]

Picture = npt.NDArray[np.uint8]


class Upscaler:
    """Enlarges pictures by the model's factor.

    Args:
        model: with low-resolution conditions; its prior is prepared for drawing, and serves for nothing else.
        settings: how codes are drawn.
        precision: one of `DRAWING_PRECISIONS`.
        reconstruct: bicubic enlargement passed through the tokenizer, without the prior: the baseline.
        consistent: back-project each result, so that its small version is the picture given.
        stop: ends the work between two codes.
        scratch: room for pictures, which may be larger than memory.
    """

    def __init__(
        self,
        model: Transformer,
        settings: SamplingSettings,
        precision: str,
        stop: StopRequest,
        scratch: Scratch,
        *,
        reconstruct: bool = False,
        consistent: bool = False,
    ) -> None:
        assert model.map_encoder is not None
        self._model = model
        self._settings = settings
        self._precision = precision
        self._stop = stop
        self._scratch = scratch
        self._reconstruct = reconstruct
        self._consistent = consistent
        self._encoder = model.map_encoder
        self._device = next(model.prior.parameters()).device
        maps = model.map_encoder.map_kind.config
        self.factor, self.filter = maps.lowres_factor, maps.lowres_filter
        prepare_to_draw(model.prior, precision)

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Cells [h, w] that are drawn for a small picture [H, W, 3]: enlarged, rounded up, no less than a window."""
        f, window = self._encoder.downsampling, self._model.prior.spec.grid
        rows, columns = (max(-(-side * self.factor // f), w) for side, w in zip(shape, window, strict=False))
        return rows, columns

    def enlarge(self, small: Picture, number: int, watch: Callable[[int], None]) -> Picture:
        """Draw the large picture, uint8 [H * factor, W * factor, 3], where it is large in a file.

        Args:
            small: uint8 [H, W, 3].
            number: of the sample; with the seed it decides every random number.
            watch: is told the number of codes that are drawn.

        Raises:
            StoppedError: asked to stop.
            OutputError: the disk has no room.
        """
        self._require_going()
        height, width = small.shape[0] * self.factor, small.shape[1] * self.factor
        f = self._encoder.downsampling
        grid = self.grid(small.shape)
        padded = self._scratch.picture(grid[0] * f, grid[1] * f)
        _fill_mirrored(padded, small, self.factor)
        with autocast_for(self._device, self._precision):
            given = self._codes(padded)
        codes = torch.from_numpy(given[None]).to(self._device)
        if not self._reconstruct:
            codes = self._draw(codes, grid, number, watch)
        with autocast_for(self._device, self._precision):
            picture = self._decoded(codes, height, width)
        if self._consistent:
            back_project(picture, small, self.factor, self.filter, self._scratch, self._require_going)
        return picture

    def _require_going(self) -> None:
        self._stop.require_going("while enlarging; the pictures written so far are whole")

    def _decoded(self, codes: torch.Tensor, height: int, width: int) -> Picture:
        """The upper left part of the picture of codes [1, h, w]."""
        picture = self._scratch.picture(height, width)
        for top, left, pixels in decode_in_tiles(self._model.tokenizer, codes):
            self._require_going()
            part = picture[top : top + pixels.shape[-2], left : left + pixels.shape[-1]]
            part[:] = to_arrays(pixels)[0][: part.shape[0], : part.shape[1]]
        return picture

    def _draw(
        self,
        condition: torch.Tensor,
        grid: tuple[int, int],
        number: int,
        watch: Callable[[int], None],
    ) -> torch.Tensor:
        def progress(done: int, _: torch.Tensor) -> bool:
            watch(done)
            return not self._stop.pending()

        try:
            return draw(
                self._model.prior,
                condition,
                grid,
                self._settings,
                first_image=number,
                progress=progress,
            )
        except Stopped:
            self._require_going()
            raise

    def _codes(self, picture: Picture) -> npt.NDArray[np.int64]:
        """Codes [h, w] of the enlarged picture: its own, or those of the condition."""
        tokenizer = self._model.tokenizer

        def encode(tile: Picture) -> npt.NDArray[np.int64]:
            self._require_going()
            if not self._reconstruct:
                return self._encoder.encode([tile])[0]
            return tokenizer.encode(to_input(to_tensor(tile)[None], tokenizer, self._device))[0].cpu().numpy()

        return encode_tiled(picture, tokenizer.downsampling, encode)


def _fill_mirrored(padded: Picture, small: Picture, factor: int) -> None:
    """Fill with the enlarged picture, grown at the lower right by mirroring: for the model a likely surrounding."""
    (height, width), f = small.shape[:2], factor
    rows, columns = (
        np.pad(np.arange(side * f), (0, whole - side * f), mode="symmetric")
        for side, whole in zip((height, width), padded.shape[:2], strict=True)
    )
    for top, band in enlarged(small, f):
        padded[top : top + len(band)] = band[:, columns]
    for row in range(height * f, len(padded)):
        padded[row] = padded[rows[row]]
