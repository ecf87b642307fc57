"""Whether samples are copies of training images: which of these are nearest to them, and how near."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from vqgan_cli.core.evaluation.collecting import FeatureSet
from vqgan_cli.core.evaluation.figures import Figure
from vqgan_cli.core.metrics.bootstrap import bootstrap_interval
from vqgan_cli.core.metrics.neighbours import Nearest, nearest

__all__ = ["NEIGHBOURS", "Copies", "find_copies"]

NEIGHBOURS = 3
"""Training images beside each sample that is shown."""


class Copies(NamedTuple):
    """The samples that are nearest to training images.

    Attributes:
        figures: the median distance of samples to the nearest training image, and of these among themselves. A model
            that memorises draws samples much nearer to training images than those are to each other.
        samples: all samples.
        training: all training images.
        shown: numbers of the samples that are nearest, the nearest first.
        neighbours: their nearest training images, [S, NEIGHBOURS].
    """

    figures: list[Figure]
    samples: FeatureSet
    training: FeatureSet
    shown: list[int]
    neighbours: Nearest

    def as_json(self) -> list[dict[str, Any]]:
        """Names and distances."""
        return [
            {
                "sample": self.samples.names[number],
                "nearest": [
                    {"image": self.training.names[int(index)], "distance": float(distance)}
                    for index, distance in zip(indices, distances, strict=True)
                ],
            }
            for number, distances, indices in zip(self.shown, *self.neighbours, strict=True)
        ]


def find_copies(
    samples: FeatureSet, training: FeatureSet, shown: int, *, resamples: int, seed: int, device: torch.device
) -> Copies:
    """Compare all samples with all training images.

    Args:
        samples: at least one.
        training: at least two.
        shown: how many samples.
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.
        device: where to compute.
    """
    closest = nearest(samples.features, training.features, 1, device=device).distances[:, 0]
    among = nearest(training.features, training.features, 1, among_others=True, device=device).distances[:, 0]
    figures = [
        _median(
            "nearest_training_distance",
            "distance to the nearest training image, median",
            closest,
            len(training),
            resamples,
            seed,
        ),
        _median(
            "training_spacing",
            "the same of training images among themselves",
            among,
            len(training),
            resamples,
            seed,
        ),
    ]
    chosen = np.argsort(closest, kind="stable")[:shown]
    found = nearest(
        samples.features[chosen], training.features, min(NEIGHBOURS, len(training)), device=device
    )
    return Copies(figures, samples, training, chosen.tolist(), found)


def _median(
    key: str, label: str, distances: np.ndarray[Any, Any], reference: int, resamples: int, seed: int
) -> Figure:
    interval = None
    if resamples:
        interval = bootstrap_interval(
            lambda drawn: float(np.median(distances[drawn])), len(distances), resamples=resamples, seed=seed
        )
    return Figure(key, label, float(np.median(distances)), len(distances), interval, reference)
