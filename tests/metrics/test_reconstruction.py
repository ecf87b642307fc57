"""Reconstruction metrics against closed forms and a brute-force SSIM."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vqgan_cli.core.metrics.reconstruction import RunningMeans, l1, psnr, ssim


def image_pairs(height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, height, width, generator=generator) * 2 - 1
    return x, x + 0.3 * torch.randn(x.shape, generator=generator)


def grays(value: int) -> Tensor:
    return torch.full((1, 3, 16, 16), value / 127.5 - 1)


def test_l1_closed_form() -> None:
    """Oracle: a constant difference is its own mean, and nothing is rounded."""
    assert l1(torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.001)).tolist() == pytest.approx([0.001] * 2)


@pytest.mark.parametrize("difference", [1, 16, 255])
def test_psnr_closed_form(difference: int) -> None:
    """Oracle: 20 log10(255 / d) dB for 8-bit images that differ by d everywhere."""
    value = psnr(grays(0), grays(difference)).item()
    assert value == pytest.approx(20 * math.log10(255 / difference), rel=1e-6)


def test_psnr_compares_what_is_saved() -> None:
    """Oracle: differences below half a gray level, or outside the range, vanish in the 8-bit image: 100 dB."""
    assert psnr(grays(100), grays(100) + 0.4 / 127.5).item() == 100
    assert psnr(grays(255), grays(255) + 5).item() == 100


@pytest.mark.parametrize("contrast", [1.0, 0.02])
def test_ssim_against_brute_force(contrast: float) -> None:
    """Oracle: every window of the definition (Wang et al. 2004) summed on its own in numpy's float64; the image
    of low contrast is bright, where float32 has least to spare."""
    x, y = (1 - contrast + contrast * image for image in image_pairs(19, 23))
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = (((image.clamp(-1, 1).double() + 1) * 127.5).round().numpy() for image in (x, y))
    expected = np.zeros((2, 3, 9, 13))
    for index in np.ndindex(expected.shape):
        image, channel, row, column = index
        p, q = (m[image, channel, row : row + 11, column : column + 11] for m in (a, b))
        mean_p, mean_q = (window * p).sum(), (window * q).sum()
        var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
        covariance = (window * (p - mean_p) * (q - mean_q)).sum()
        c1, c2 = 2.55**2, 7.65**2
        expected[index] = (2 * mean_p * mean_q + c1) * (2 * covariance + c2)
        expected[index] /= (mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2)
    np.testing.assert_allclose(ssim(x, y).numpy(), expected.mean(axis=(1, 2, 3)), rtol=0, atol=1e-5)


def test_ssim_closed_forms() -> None:
    """Oracle: 1 for equal images; C1 / (255^2 + C1) for black against white, which have no structure."""
    x, _ = image_pairs(16, 16)
    torch.testing.assert_close(ssim(x, x), torch.ones(2))
    c1 = 2.55**2
    assert ssim(grays(0), grays(255)).item() == pytest.approx(c1 / (255**2 + c1), abs=1e-7)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="11x11"):
        ssim(torch.zeros(1, 3, 10, 32), torch.zeros(1, 3, 10, 32))


def test_running_means_do_not_depend_on_batches_or_processes() -> None:
    """Oracle: the mean over all images at once."""
    values = torch.rand(10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = RunningMeans(("psnr", "ssim")), RunningMeans(("psnr", "ssim"))
    first.update(psnr=values[:4], ssim=-values[:4])
    first.update(psnr=values[4:5], ssim=-values[4:5])
    second.update(psnr=values[5:], ssim=-values[5:])
    first.totals += second.totals
    mean = values.mean().item()
    assert first.compute() == pytest.approx({"psnr": mean, "ssim": -mean})


def test_running_means_need_every_name() -> None:
    with pytest.raises(ValueError, match="ssim"):
        RunningMeans(("psnr", "ssim")).update(psnr=torch.zeros(1))
