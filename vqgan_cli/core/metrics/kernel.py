"""Kernel distance between two sets of features: KID, where the features are Inception's.

Binkowski, Sutherland, Arbel, Gretton 2018, "Demystifying MMD GANs", section 4: the unbiased estimate of the squared
maximum mean discrepancy under the kernel ``(x . y / D + 1)^3``. It is taken over all pairs of images at once, where
others average over subsets of 1,000: the expectation is the same, the spread smaller, and nothing is random in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.device import float64_device

__all__ = ["kernel_distances"]

Features = npt.NDArray[np.float32]

_BLOCK = 2048  # images of each side whose kernel is in memory


def kernel_distances(
    features: Features,
    reference: Features,
    *,
    resamples: int = 0,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> npt.NDArray[np.float64]:
    """The distance, and those of sets that are drawn again from the images, with replacement.

    A set in which an image repeats would be at an advantage, because an image is most similar to itself; so pairs of
    an image with itself count neither in the one case nor in the other.

    Args:
        features: [N, D], with N at least 2.
        reference: [M, D], with M at least 2.
        resamples: how many.
        seed: the same seed draws the same sets.
        device: where to compute; one without float64 is passed over for the CPU.

    Returns:
        float64 [1 + resamples]; below 0 where sets are nearer than two draws from one distribution usually are.

    Raises:
        ValueError: fewer than two images make no pair.
    """
    if min(len(features), len(reference)) < 2:
        raise ValueError(
            f"a kernel distance needs two images of each, not {len(features)} and {len(reference)}"
        )
    device = float64_device(device)
    generator = np.random.default_rng(seed)
    first, second = (_Set(each, resamples, generator, device) for each in (features, reference))
    within = _within(first) + _within(second)
    distances = within - 2 * _sums(first, second) / (first.counts.sum(0) * second.counts.sum(0))
    return np.asarray(distances.cpu().numpy(), np.float64)


class _Set:
    """Features in blocks, and how often each image is in each resample: [N, 1 + resamples], first once each."""

    def __init__(
        self, features: Features, resamples: int, generator: np.random.Generator, device: torch.device
    ) -> None:
        images = len(features)
        drawn = [
            np.bincount(generator.integers(0, images, images), minlength=images) for _ in range(resamples)
        ]
        counts = np.stack([np.ones(images), *drawn], axis=1)
        self._features = features
        self.counts = torch.from_numpy(counts).to(device)
        self.starts = range(0, images, _BLOCK)

    def block(self, start: int) -> tuple[Tensor, Tensor]:
        """Features [B, D] and counts [B, 1 + resamples], float64."""
        part = slice(start, start + _BLOCK)
        return torch.from_numpy(self._features[part]).to(self.counts), self.counts[part]


def _within(images: _Set) -> Tensor:
    """Mean of the kernel over pairs of different images, for each resample."""
    sums, pairs = torch.zeros_like(images.counts[0]), images.counts.sum(0).square()
    for start in images.starts:
        block, counts = images.block(start)
        sums += _weighted(block, counts, block, counts, without_itself=True)
        pairs -= counts.square().sum(0)
        for other in images.starts:
            if other > start:
                sums += 2 * _weighted(block, counts, *images.block(other))
    return sums / pairs


def _sums(first: _Set, second: _Set) -> Tensor:
    sums = torch.zeros_like(first.counts[0])
    for start in first.starts:
        block, counts = first.block(start)
        for other in second.starts:
            sums += _weighted(block, counts, *second.block(other))
    return sums


def _weighted(
    a: Tensor, counts_a: Tensor, b: Tensor, counts_b: Tensor, *, without_itself: bool = False
) -> Tensor:
    """Sum over pairs of the kernel times how often both are there, for each resample."""
    kernel = ((a @ b.mT) / a.shape[1] + 1).pow_(3)
    if without_itself:
        kernel.fill_diagonal_(0)
    return (counts_a * (kernel @ counts_b)).sum(0)
