"""From maps to the codes that a prior is conditioned on, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.data.maps import MapKind
from vqgan_cli.core.data.tensors import to_arrays, to_input, to_tensor
from vqgan_cli.core.data.transforms import resize
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.tiled_encoding import encode_tiled

__all__ = ["MapEncoder"]

Array = npt.NDArray[Any]


class MapEncoder:
    """Turns maps into codes on the grid of the pictures that they go with.

    Args:
        map_kind: of the maps.
        tokenizer: on its device, in evaluation mode; None: the label of each cell is its code.
        downsampling: f of the pictures' tokenizer: pixels of image side per code.
        fingerprint: of the tokenizer, ``""`` without one.
    """

    def __init__(
        self, map_kind: MapKind, tokenizer: Tokenizer | None, downsampling: int, fingerprint: str = ""
    ) -> None:
        self.map_kind = map_kind
        self.tokenizer = tokenizer
        self.downsampling = downsampling
        self.fingerprint = fingerprint

    @property
    def codebook_size(self) -> int:
        """Codes are below this."""
        return self.tokenizer.codebook_size if self.tokenizer else self.map_kind.codes

    def encode(self, maps: Sequence[Array]) -> npt.NDArray[np.int64]:
        """Codes int64 [B, H/f, W/f] of maps of one size, [H, W] or [H, W, 3], H and W multiples of f.

        Raises:
            DataError: a label is not one of the tokenizer's classes.
        """
        height, width = (side // self.downsampling for side in maps[0].shape[:2])
        if self.tokenizer is None:
            return np.stack([resize(each, height, width) for each in maps]).astype(np.int64)
        f = self.tokenizer.downsampling
        tensors = [to_tensor(resize(each, height * f, width * f)) for each in maps]
        device = next(self.tokenizer.parameters()).device
        inputs = to_input(torch.stack(tensors), self.tokenizer, device)
        return self.tokenizer.encode(inputs).cpu().numpy()

    def encode_large(self, array: Array) -> npt.NDArray[np.int64]:
        """Codes int64 [H/f, W/f] of one map of any size; see `encode_tiled`."""
        return encode_tiled(array, self.downsampling, lambda tile: self.encode([tile])[0])

    def decode(self, codes: Tensor) -> list[Array]:
        """What codes [B, h, w] say of their maps, at the size of the pictures."""
        size = [side * self.downsampling for side in codes.shape[1:]]
        arrays = to_arrays(self.tokenizer.decode(codes) if self.tokenizer else codes)
        return [resize(array, *size) for array in arrays]
