"""What images start from: a grid, perhaps the codes of a map, perhaps those of a photo of which a part is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.generation.completion import blend, drawn_cells, known_cells

__all__ = ["Photo", "Template"]

Codes = npt.NDArray[np.int64]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """A photo that is completed or varied.

    Attributes:
        picture: uint8 [H, W, 3] at the size of the image that is made.
        codes: int64 [h, w].
        mask: bool [H, W], the pixels that are known; None for variations.
        strength: variations: the share of the cells that is drawn anew.
        seam: pixels over which known pixels pass into drawn ones; None: the picture is decoded as a whole.
    """

    picture: Picture
    codes: Codes
    mask: npt.NDArray[np.bool_] | None = None
    strength: float = 1.0
    seam: int | None = None

    def known(self, seed: int, image: int) -> Codes:
        """Codes [h, w] with -1 where one is to be drawn."""
        if self.mask is None:
            drawn = drawn_cells(self.codes.shape, self.strength, seed, image)
        else:
            drawn = ~known_cells(self.mask, self.mask.shape[0] // self.codes.shape[0])
        return np.where(drawn, -1, self.codes)

    def finish(self, picture: Picture) -> Picture:
        """The drawn picture with the known pixels of the photo."""
        if self.seam is None or self.mask is None:
            return picture
        return blend(self.picture, picture, self.mask, self.seam)


@dataclass(frozen=True, slots=True)
class Template:
    """What some images have in common.

    Attributes:
        grid: cells [h, w].
        name: for file names; empty where nothing but the class tells images apart.
        condition: reads a map and gives its codes [h, w], so that of any number of maps none is held; None for models
            without maps.
        mark: hash of what the condition's codes depend on.
        photo: to complete or to vary.
        shown: makes a small picture of map or photo, for the contact sheet.
    """

    grid: tuple[int, int]
    name: str = ""
    condition: Callable[[], Codes] | None = None
    mark: str = ""
    photo: Photo | None = None
    shown: Callable[[], Picture] | None = None
