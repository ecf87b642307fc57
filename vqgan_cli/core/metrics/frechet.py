"""Frechet distance between two sets of features, each taken as a Gaussian: FID, where the features are Inception's.

Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", eq. 6:
``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``. With ``C = F^T F`` the last trace is the sum of the singular values of
``F1 F2^T``. Any such F serves: that of fewer images than features is the images themselves, which is exact and small.

Everything is float64 and goes through the features in blocks, so that memory does not grow with the images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.device import float64_device

__all__ = ["Gaussian", "fit_gaussian", "frechet_distance", "gaussian_of", "resampled_distances"]

Features = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_BLOCK = 4096  # images at a time in float64


@dataclass(frozen=True)
class Gaussian:
    """What the distance needs of a set.

    Attributes:
        mean: float64 [D].
        factor: float64 [R, D], with R at most D; the covariance is its transpose times itself.
        images: that it was fitted to.
    """

    mean: Tensor
    factor: Tensor
    images: int

    @property
    def covariance(self) -> Tensor:
        """Unbiased, float64 [D, D]."""
        return self.factor.mT @ self.factor


def fit_gaussian(
    features: Features, rows: Rows | None = None, *, device: torch.device | str = "cpu"
) -> Gaussian:
    """Mean and covariance of features.

    Args:
        features: [N, D].
        rows: those that count, each as often as it is there; None: all, once.
        device: where to compute; one without float64 is passed over for the CPU.

    Raises:
        ValueError: fewer than two images have no covariance.
    """
    count = len(features) if rows is None else len(rows)
    if count < 2:
        raise ValueError(f"a covariance needs two images, not {count}")
    device = float64_device(device)

    def blocks() -> Iterator[Tensor]:
        for start in range(0, count, _BLOCK):
            part = slice(start, start + _BLOCK)
            block = features[part] if rows is None else features[rows[part]]
            yield torch.from_numpy(block).to(device, torch.float64)

    dimension = features.shape[1]
    mean = torch.zeros(dimension, dtype=torch.float64, device=device)
    for block in blocks():
        mean += block.sum(0) / count
    if count <= dimension:
        centred = torch.cat([block - mean for block in blocks()])
        return Gaussian(mean, centred / (count - 1) ** 0.5, count)
    covariance = torch.zeros(dimension, dimension, dtype=torch.float64, device=device)
    for block in blocks():
        block -= mean
        covariance.addmm_(block.mT, block, alpha=1 / (count - 1))
    return gaussian_of(mean, covariance, count)


def gaussian_of(mean: Tensor, covariance: Tensor, images: int) -> Gaussian:
    """From a mean [D] and a covariance [D, D], which must be symmetric; what is negative of it counts as zero."""
    # A unit that never fires has no variance; without such ones a covariance of enough images has a Cholesky factor.
    alive = covariance.diagonal() > 0
    lower, failed = torch.linalg.cholesky_ex(covariance[alive][:, alive])
    if not failed:
        factor = covariance.new_zeros(len(lower), len(covariance))
        factor[:, alive] = lower.mT
        return Gaussian(mean, factor, images)
    values, vectors = torch.linalg.eigh(covariance)
    rounding = len(values) * torch.finfo(values.dtype).eps * values[-1]
    kept = values > rounding
    return Gaussian(mean, (vectors[:, kept] * values[kept].sqrt()).mT, images)


def frechet_distance(first: Gaussian, second: Gaussian, *, exact: bool = True) -> float:
    """The squared distance, which is what FID reports; 0 for equal sets.

    Args:
        first: a set.
        second: another, in the same features.
        exact: by singular values; else by the eigenvalues of their squares, which takes a fifth of the time and loses
            half of the digits.
    """
    cross = first.factor @ second.factor.mT
    if exact:
        root = torch.linalg.svdvals(cross).sum()
    else:
        square = cross @ cross.mT if cross.shape[0] < cross.shape[1] else cross.mT @ cross
        root = torch.linalg.eigvalsh(square).clamp(min=0).sqrt().sum()
    means = (first.mean - second.mean).square().sum()
    traces = first.factor.square().sum() + second.factor.square().sum()
    return max(0.0, float(means + traces - 2 * root))


def resampled_distances(
    features: Features,
    reference: Features | Gaussian,
    *,
    resamples: int,
    paired: bool = False,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[float]:
    """The distance of sets that are drawn again from the images, with replacement, one after the other.

    They lie higher than the distance itself, as a set with repetitions is a worse sample: it is their spread that says
    something, see `vqgan_cli.core.metrics.bootstrap.centred_interval`.

    Args:
        features: [N, D].
        reference: [M, D], drawn again as well; or the one Gaussian that stays.
        resamples: how many.
        paired: image i of one set belongs to image i of the other, so both are drawn together.
        seed: the same seed draws the same sets.
        device: where to compute.
    """
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        rows = generator.integers(0, len(features), len(features))
        first = fit_gaussian(features, rows, device=device)
        if isinstance(reference, Gaussian):
            second = reference
        else:
            others = rows if paired else generator.integers(0, len(reference), len(reference))
            second = fit_gaussian(reference, others, device=device)
        yield frechet_distance(first, second, exact=False)
