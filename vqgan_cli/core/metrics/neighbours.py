"""Which images lie among which, by nearest neighbours: precision and recall, density and coverage, copies.

Precision and recall: Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019, "Improved Precision and Recall Metric for
Assessing Generative Models", eq. 1 and 2, k = 3. Density and coverage: Naeem, Oh, Uh, Choi, Yoo 2020, "Reliable
Fidelity and Diversity Metrics for Generative Models", eq. 2 and 3, k = 5. A ball around an image reaches to its k-th
nearest neighbour in its own set; its border belongs to it in the former, and does not in the latter, as in the
programs of both.

Distances are Euclidean, computed in float64 and in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.device import float64_device

__all__ = [
    "DENSITY_NEIGHBOURS",
    "MIN_IMAGES",
    "PRECISION_NEIGHBOURS",
    "Membership",
    "Nearest",
    "membership",
    "nearest",
]

Features = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PRECISION_NEIGHBOURS = 3
"""k of precision and recall."""
DENSITY_NEIGHBOURS = 5
"""k of density and coverage."""
MIN_IMAGES = 1 + max(PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS)
"""Of each set, for all four."""

_BLOCK = 2048  # images of each side whose distances are in memory
_TIE = 1e-9  # relative; less than float32 features can differ by, more than rounding here makes of equal distances


class Membership(NamedTuple):
    """One term per image; their means are the metrics, and drawing the terms again is their bootstrap.

    Attributes:
        precise: [N], the sample lies in the ball of a reference image: precision.
        recalled: [M], the reference image lies in the ball of a sample: recall.
        density: [N], in how many balls of reference images the sample lies, divided by k: density, which may exceed 1.
        covered: [M], a sample lies in the ball of the reference image: coverage.
    """

    precise: Bools
    recalled: Bools
    density: Floats
    covered: Bools


class Nearest(NamedTuple):
    """The nearest images of a set, the nearest first.

    Attributes:
        distances: [N, k].
        indices: int64 [N, k].
    """

    distances: Floats
    indices: npt.NDArray[np.int64]


def membership(samples: Features, reference: Features, *, device: torch.device | str = "cpu") -> Membership:
    """Which samples lie among the reference images, and the other way round.

    Args:
        samples: [N, D].
        reference: [M, D].
        device: where to compute; one without float64 is passed over for the CPU.

    Raises:
        ValueError: fewer than `MIN_IMAGES` images.
    """
    if min(len(samples), len(reference)) < MIN_IMAGES:
        raise ValueError(f"{MIN_IMAGES} images of each are needed, not {len(samples)} and {len(reference)}")
    device = float64_device(device)
    own = nearest(reference, reference, MIN_IMAGES - 1, among_others=True, device=device).distances
    radii = torch.from_numpy(own).to(device).square()
    reference_ball, reference_inside = radii[:, PRECISION_NEIGHBOURS - 1], radii[:, DENSITY_NEIGHBOURS - 1]
    own = nearest(samples, samples, PRECISION_NEIGHBOURS, among_others=True, device=device).distances
    sample_ball = torch.from_numpy(own).to(device).square()[:, PRECISION_NEIGHBOURS - 1]

    precise = torch.zeros(len(samples), dtype=torch.bool, device=device)
    balls = torch.zeros(len(samples), dtype=torch.int64, device=device)
    recalled = torch.zeros(len(reference), dtype=torch.bool, device=device)
    covered = torch.zeros_like(recalled)
    for rows, columns, squared in _squared_distances(samples, reference, device):
        precise[rows] |= (squared <= reference_ball[columns] * (1 + _TIE)).any(1)
        recalled[columns] |= (squared <= sample_ball[rows, None] * (1 + _TIE)).any(0)
        inside = squared < reference_inside[columns] * (1 - _TIE)
        balls[rows] += inside.sum(1)
        covered[columns] |= inside.any(0)
    density = balls.double() / DENSITY_NEIGHBOURS
    return Membership(*(each.cpu().numpy() for each in (precise, recalled, density, covered)))


def nearest(
    queries: Features,
    base: Features,
    k: int,
    *,
    among_others: bool = False,
    device: torch.device | str = "cpu",
) -> Nearest:
    """The k nearest images of a set to each of some images.

    Args:
        queries: [N, D].
        base: [M, D], with M at least k.
        k: how many.
        among_others: the sets are the same, and an image is not its own neighbour; M is at least k + 1.
        device: where to compute; one without float64 is passed over for the CPU.
    """
    device = float64_device(device)
    best = torch.full((len(queries), k), torch.inf, dtype=torch.float64, device=device)
    where = torch.zeros(len(queries), k, dtype=torch.int64, device=device)
    for rows, columns, squared in _squared_distances(queries, base, device):
        if among_others and rows == columns:
            squared.fill_diagonal_(torch.inf)
        numbers = torch.arange(columns.start, columns.start + squared.shape[1], device=device)
        candidates = torch.cat([best[rows], squared], dim=1)
        found = torch.cat([where[rows], numbers.expand(len(squared), -1)], dim=1)
        best[rows], order = candidates.topk(k, dim=1, largest=False)
        where[rows] = found.gather(1, order)
    return Nearest(best.sqrt().cpu().numpy(), where.cpu().numpy())


def _squared_distances(
    a: Features, b: Features, device: torch.device
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Blocks of all distances: rows, columns, float64 [rows, columns]."""
    # Squares of float32 are exact in float64, so that little is lost where they are subtracted.

    def block(features: Features, part: slice) -> Tensor:
        return torch.from_numpy(features[part]).to(device, torch.float64)

    for start in range(0, len(a), _BLOCK):
        rows = slice(start, start + _BLOCK)
        x = block(a, rows)
        for other in range(0, len(b), _BLOCK):
            columns = slice(other, other + _BLOCK)
            y = block(b, columns)
            squared = x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * (x @ y.mT)
            yield rows, columns, squared.clamp_(min=0)
