"""The classifier score against torch-fidelity's own computation and closed forms."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from vqgan_cli.core.metrics.inception_score import ClassifierScore


def logits(images: int, seed: int = 0) -> Tensor:
    return torch.randn(images, 20, generator=torch.manual_seed(seed)) * 3


def score(of: Tensor, parts: int, batch: int, **options: int) -> list[float]:
    running = ClassifierScore(parts, **options)
    for chunk in of.split(batch):
        running.update(chunk)
    return running.compute()


@pytest.mark.parametrize("parts", [1, 10])
def test_as_torch_fidelity_computes(torch_fidelity: ModuleType, parts: int) -> None:
    """Oracle: torch-fidelity, whose parts are consecutive, on the images in the order of the parts here."""
    images = logits(200)
    ordered = torch.cat([images[part::parts] for part in range(parts)])
    expected = torch_fidelity.metric_isc.isc_features_to_metric(ordered, splits=parts, shuffle=False)
    assert score(images, parts, 7) == pytest.approx([expected["inception_score_mean"]], rel=1e-9)
    assert score(images, parts, 200) == pytest.approx([expected["inception_score_mean"]], rel=1e-9)


def test_closed_forms() -> None:
    """Sure of each image and all of 20 classes as often: 20. Always the same, sure or not: 1."""
    assert score(torch.eye(20).repeat(5, 1) * 1000, 1, 30) == pytest.approx([20])
    assert score(torch.randn(1, 20).repeat(50, 1), 5, 30) == pytest.approx([1])
    assert score(torch.eye(20)[:1].repeat(50, 1) * 1000, 1, 30) == pytest.approx([1])


def test_resamples_spread_as_draws_do() -> None:
    """Oracle: the spread of the score over sets that are drawn anew. The first value does not depend on resamples."""
    drawn = [score(logits(200, seed), 1, 200)[0] for seed in range(100)]
    resampled = score(logits(200, 500), 1, 50, resamples=200)
    assert np.std(resampled[1:]) == pytest.approx(np.std(drawn), rel=0.3)
    assert resampled[0] == pytest.approx(score(logits(200, 500), 1, 200)[0])
    assert resampled == score(logits(200, 500), 1, 50, resamples=200)


def test_before_the_first_image() -> None:
    assert np.isnan(ClassifierScore(2, resamples=1).compute()).tolist() == [True, True]


def test_what_is_kept_does_not_grow() -> None:
    running = ClassifierScore(3, resamples=2)
    sizes = []
    for _ in range(3):
        running.update(logits(30))
        sizes.append(sum(v.numel() for v in vars(running).values() if isinstance(v, Tensor)))
    assert sizes == [3 * 3 * 20 + 2 * 3 * 3] * 3
    assert running.images == 90
