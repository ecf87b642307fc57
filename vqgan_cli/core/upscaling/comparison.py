"""How near an enlarged picture is to the original that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vqgan_cli.core.data.images import read_image
from vqgan_cli.core.data.maps import enlarge
from vqgan_cli.core.data.tensors import to_tensor
from vqgan_cli.core.errors import DataError
from vqgan_cli.core.metrics.reconstruction import psnr, ssim

__all__ = ["compare", "read_reference"]

Picture = npt.NDArray[np.uint8]


def read_reference(path: Path, shape: tuple[int, ...]) -> Picture:
    """A large original of a shape [H, W, 3].

    Raises:
        ImageError: the file cannot be read.
        DataError: it has another size.
    """
    reference = read_image(path)
    if reference.shape != shape:
        raise DataError(
            f"the reference {str(path)!r} is {reference.shape[0]}x{reference.shape[1]}, and the result "
            f"{shape[0]}x{shape[1]} (height x width)"
        )
    return reference


@torch.inference_mode()
def compare(
    picture: Picture, small: Picture, reference: Picture, perceptual: nn.Module | None, device: torch.device
) -> dict[str, float]:
    """Distances of a large picture from its original, beside those of a bicubic enlargement.

    Args:
        picture: uint8 [H, W, 3].
        small: uint8 [h, w, 3], what it was made from.
        reference: uint8 [H, W, 3], the original.
        perceptual: distance of images in [-1, 1], on the device; None to leave it out.
        device: where to compute.

    Returns:
        ``psnr`` (dB), ``ssim``, ``perceptual``, and ``bicubic_psnr`` and so on.
    """
    bicubic = enlarge(small, *picture.shape[:2])
    original = _tensor(reference, device)
    values = {}
    for prefix, each in (("", picture), ("bicubic_", bicubic)):
        image = _tensor(each, device)
        values[f"{prefix}psnr"] = float(psnr(image, original))
        values[f"{prefix}ssim"] = float(ssim(image, original))
        if perceptual is not None:
            values[f"{prefix}perceptual"] = float(perceptual(image, original))
    return values


def _tensor(picture: Picture, device: torch.device) -> torch.Tensor:
    return to_tensor(picture)[None].to(device).float() / 127.5 - 1
