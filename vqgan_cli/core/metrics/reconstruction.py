"""How close reconstructions are to their originals, per image, and running means over a whole set.

PSNR and SSIM compare the 8-bit images that a user would save: values are clamped to [-1, 1] and rounded to 0-255.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SSIM_WINDOW", "RunningMeans", "l1", "picture_distances", "psnr", "ssim"]

_MAX_PSNR = 100.0
SSIM_WINDOW = 11
"""Sides of an image that `ssim` compares are at least so many pixels."""
_SIGMA = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of images [B, C, H, W] in [-1, 1], unrounded: [B]."""
    return (x.float() - y.float()).abs().mean(dim=(1, 2, 3))


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images [B, C, H, W] in [-1, 1]: [B], in dB.

    The error is the mean over all channels and pixels of the 8-bit images, the peak is 255. Equal images, whose
    ratio is infinite, count as 100 dB, so that one of them does not decide the mean of a set.
    """
    error = (_to_8_bit(x) - _to_8_bit(y)).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(255**2 / error)).clamp(max=_MAX_PSNR)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of images [B, C, H, W] in [-1, 1], at least 11 pixels high and wide: [B].

    Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    2004, eq. 13: 8-bit images, Gaussian window of 11x11 pixels and standard deviation 1.5, only windows that lie
    inside the image, K1 = 0.01, K2 = 0.03; the mean over windows and channels.

    Raises:
        ValueError: images smaller than the window.
    """
    if min(x.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, not {tuple(x.shape[-2:])}"
        )
    # Variances do not change with the origin; from the middle gray, float32 loses least when squares are subtracted.
    gray = 127.5
    x, y = _to_8_bit(x) - gray, _to_8_bit(y) - gray
    maps = torch.cat([x, y, x * x, y * y, x * y], dim=1)  # [B, 5C, H, W]
    mean_x, mean_y, xx, yy, xy = _blur(maps).chunk(5, dim=1)
    var_x, var_y, covariance = xx - mean_x.square(), yy - mean_y.square(), xy - mean_x * mean_y
    mean_x, mean_y = mean_x + gray, mean_y + gray
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    contrast_structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return (luminance * contrast_structure).mean(dim=(1, 2, 3))


def picture_distances(x: Tensor, y: Tensor, perceptual: nn.Module | None = None) -> dict[str, Tensor]:
    """All distances of images [B, 3, H, W] in [-1, 1] from their originals, one value per image, [B].

    Returns:
        ``l1``, ``psnr`` (dB), ``ssim``, and ``perceptual`` if there is a network.
    """
    values = {"l1": l1(x, y), "psnr": psnr(x, y), "ssim": ssim(x, y)}
    if perceptual is not None:
        values["perceptual"] = perceptual(x, y).float()
    return values


class RunningMeans:
    """Means of per-image values over any number of batches and processes, in float64.

    Args:
        names: what is averaged; every update gives all of them.
        device: where the sums live.

    Attributes:
        totals: [2, number of names], sums and counts; add those of several processes to merge them.
    """

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu") -> None:
        self.names = tuple(names)
        self.totals = torch.zeros(2, len(self.names), dtype=torch.float64, device=device)

    def update(self, **values: Tensor) -> None:
        """Add one value per image, [B], for each name."""
        if values.keys() != set(self.names):
            raise ValueError(f"expected values for {self.names}, got {tuple(values)}")
        for column, name in enumerate(self.names):
            value = values[name].detach().to(self.totals)
            self.totals[0, column] += value.sum()
            self.totals[1, column] += value.numel()

    def compute(self) -> dict[str, float]:
        """The mean of each name; NaN before the first update."""
        means = self.totals[0] / self.totals[1]
        return dict(zip(self.names, means.tolist(), strict=True))


def _to_8_bit(images: Tensor) -> Tensor:
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round()


def _blur(maps: Tensor) -> Tensor:
    """Gaussian means over the windows inside the maps: [B, N, H, W] -> [B, N, H - 10, W - 10]."""
    offsets = torch.arange(SSIM_WINDOW, device=maps.device, dtype=maps.dtype) - SSIM_WINDOW // 2
    kernel = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = maps.flatten(0, 1).unsqueeze(1)  # [B * N, 1, H, W]
    with torch.autocast(maps.device.type, enabled=False):
        blurred = F.conv2d(F.conv2d(flat, kernel), kernel.mT)
    return blurred.view(*maps.shape[:2], *blurred.shape[-2:])
