"""Between arrays as files hold them and tensors as tokenizers take and give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.data.images import to_uint8

if TYPE_CHECKING:
    from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["signed", "to_arrays", "to_batch", "to_input", "to_tensor"]


def to_tensor(array: npt.NDArray[Any]) -> Tensor:
    """A picture or a map as a tensor.

    Args:
        array: uint8 [H, W, 3], labels [H, W], or float32 [H, W].

    Returns:
        uint8 [3, H, W], int64 [H, W], or float32 [1, H, W].
    """
    if array.dtype == np.float32:
        return torch.from_numpy(array[None].copy())
    if array.ndim == 2:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def to_batch(arrays: npt.NDArray[Any]) -> Tensor:
    """Arrays of one shape as one tensor, pictures without a copy: `to_input` keeps their order in memory.

    Args:
        arrays: uint8 [B, H, W, 3], labels [B, H, W], or float32 [B, H, W].

    Returns:
        uint8 [B, 3, H, W] in channels-last order, int64 [B, H, W], or float32 [B, 1, H, W].
    """
    if arrays.dtype == np.float32:
        return torch.from_numpy(arrays)[:, None]
    if arrays.ndim == 3:
        return torch.from_numpy(arrays.astype(np.int64))
    return torch.from_numpy(arrays).permute(0, 3, 1, 2)


def to_input(batch: Tensor, tokenizer: Tokenizer, device: torch.device) -> Tensor:
    """A batch as the tokenizer's input on its device.

    Args:
        batch: as of `to_batch`: pictures uint8 [B, 3, H, W], label maps int64 [B, H, W], or values float32
            [B, 1, H, W].
        tokenizer: decides the classes of label maps.
        device: where to.

    Returns:
        float32 [B, 3 or 1, H, W] in [-1, 1], or one-hot [B, classes, H, W].

    Raises:
        DataError: a label is not one of the tokenizer's classes.
    """
    batch = batch.to(device, non_blocking=True)
    if batch.ndim == 3:
        return tokenizer.one_hot(batch)
    return batch if batch.is_floating_point() else signed(batch)


def signed(pixels: Tensor) -> Tensor:
    """Pixels, uint8 of any shape, as float32 in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1)


def to_arrays(decoded: Tensor) -> list[npt.NDArray[Any]]:
    """What a tokenizer decodes, one array per image.

    Args:
        decoded: pictures float [B, 3, H, W] in [-1, 1], label maps int64 [B, H, W], or values float [B, 1, H, W].

    Returns:
        uint8 [H, W, 3]; labels uint8 or, above 255, uint16 [H, W]; float32 [H, W].
    """
    values = decoded.cpu().numpy()
    if values.ndim == 3:
        return list(values.astype(np.uint8 if not values.size or values.max() < 256 else np.uint16))
    if values.shape[1] == 1:
        return list(values[:, 0].astype(np.float32))
    return list(to_uint8(values.transpose(0, 2, 3, 1)))
