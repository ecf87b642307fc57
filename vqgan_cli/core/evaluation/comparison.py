"""Figures of a set of samples against a reference set, from the features of both."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.evaluation.collecting import FeatureSet
from vqgan_cli.core.evaluation.features import Labels
from vqgan_cli.core.evaluation.figures import Figure
from vqgan_cli.core.evaluation.matching import match_classes
from vqgan_cli.core.metrics.bootstrap import centred_interval, mean_interval
from vqgan_cli.core.metrics.frechet import Gaussian, fit_gaussian, frechet_distance, resampled_distances
from vqgan_cli.core.metrics.inception_score import ClassifierScore
from vqgan_cli.core.metrics.kernel import kernel_distances
from vqgan_cli.core.metrics.neighbours import MIN_IMAGES, membership
from vqgan_cli.core.reporting import Progress

__all__ = [
    "ClassFigures",
    "compare_classes",
    "compare_features",
    "frechet_figure",
    "score_figure",
    "score_parts",
]

Features = npt.NDArray[np.float32]

_MEMBERSHIP = ("precision", "recall", "density", "coverage")
_LARGE = 1000  # images from which the score is the mean over ten parts, as published figures are


def compare_features(
    samples: Features,
    reference: Features | Gaussian,
    labels: Labels,
    *,
    resamples: int,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
) -> list[Figure]:
    """Frechet distance; and, where the reference's features are at hand, kernel distance, precision, recall, density
    and coverage. What too few images leave undefined is NaN.

    Args:
        samples: [N, D].
        reference: [M, D], or mean and covariance alone.
        labels: what the distances are called.
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.
        device: where to compute.
        progress: told how many resamples of the Frechet distance are done.
    """
    count = reference.images if isinstance(reference, Gaussian) else len(reference)
    figures = [
        frechet_figure(
            samples,
            reference,
            labels.frechet,
            resamples=resamples,
            seed=seed,
            device=device,
            progress=progress,
        )
    ]
    if isinstance(reference, Gaussian):
        return figures
    value, interval = math.nan, None
    if min(len(samples), count) >= 2:
        found = kernel_distances(samples, reference, resamples=resamples, seed=seed, device=device).tolist()
        value, interval = found[0], centred_interval(found[0], found[1:]) if resamples else None
    figures.append(Figure("kernel_distance", labels.kernel, value, len(samples), interval, count))
    return figures + _membership(samples, reference, labels.network, resamples, seed, device)


def frechet_figure(
    samples: Features,
    reference: Features | Gaussian,
    label: str,
    *,
    resamples: int,
    seed: int,
    device: torch.device,
    paired: bool = False,
    progress: Progress | None = None,
) -> Figure:
    """The Frechet distance alone, NaN of fewer than two images.

    Args:
        samples: [N, D].
        reference: [M, D], or mean and covariance alone.
        label: what it is called.
        resamples: of the bootstrap; 0: no interval.
        seed: of the bootstrap.
        device: where to compute.
        paired: see `resampled_distances`.
        progress: told how many resamples are done.
    """
    count = reference.images if isinstance(reference, Gaussian) else len(reference)
    if min(len(samples), count) < 2:
        return Figure("frechet_distance", label, math.nan, len(samples), None, count)
    fixed = reference if isinstance(reference, Gaussian) else fit_gaussian(reference, device=device)
    value = frechet_distance(fit_gaussian(samples, device=device), fixed)
    found: list[float] = []
    for each in resampled_distances(
        samples, reference, resamples=resamples, paired=paired, seed=seed, device=device
    ):
        found.append(each)
        if progress is not None:
            progress.update(len(found))
    interval = centred_interval(value, found, bounds=(0, math.inf)) if resamples else None
    return Figure("frechet_distance", label, value, len(samples), interval, count)


def _membership(
    samples: Features, reference: Features, network: str, resamples: int, seed: int, device: torch.device
) -> list[Figure]:
    counts = len(samples), len(reference)
    if min(counts) >= MIN_IMAGES:
        found = membership(samples, reference, device=device)
        terms = (found.precise, found.recalled, found.density, found.covered)
        means = [float(each.mean()) for each in terms]
    else:
        terms, means = None, [math.nan] * len(_MEMBERSHIP)
    intervals: list[tuple[float, float] | None] = [None] * len(_MEMBERSHIP)
    if terms is not None and resamples:
        intervals = [mean_interval(each, resamples=resamples, seed=seed) for each in terms]
    return [
        Figure(key, f"{key} ({network})", mean, counts[0], interval, counts[1])
        for key, mean, interval in zip(_MEMBERSHIP, means, intervals, strict=True)
    ]


class ClassFigures(NamedTuple):
    """Figures of one class; ``label`` is that of the samples."""

    label: int
    name: str
    figures: list[Figure]


def compare_classes(
    samples: FeatureSet,
    reference: FeatureSet,
    labels: Labels,
    *,
    resamples: int,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> list[ClassFigures]:
    """`compare_features` for each class that both sets have images of, in the order of the samples' classes.

    Args:
        samples: of the samples.
        reference: of the reference; its classes are matched by `match_classes`.
        labels: what the distances are called.
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.
        device: where to compute.
        progress: told how many classes are done.
    """
    found = []
    for number, (label, other) in enumerate(
        sorted(match_classes(samples.classes, reference.classes).items()), 1
    ):
        ours = samples.features[samples.labels == label]
        theirs = reference.features[reference.labels == other]
        if len(ours) and len(theirs):
            figures = compare_features(ours, theirs, labels, resamples=resamples, seed=seed, device=device)
            found.append(ClassFigures(label, samples.classes[label], figures))
        progress.update(number)
    return found


def score_parts(images: int) -> int:
    """Of how many parts the classifier score is the mean: ten, as is usual, of enough images; else one."""
    return 10 if images >= _LARGE else 1


def score_figure(score: ClassifierScore, labels: Labels) -> Figure:
    """The classifier score, which needs no reference."""
    value, *resampled = score.compute()
    interval = centred_interval(value, resampled, bounds=(1, math.inf)) if resampled else None
    parts = f", mean of {score.parts} parts" if score.parts > 1 else ""
    return Figure("classifier_score", labels.score + parts, value, score.images, interval)
