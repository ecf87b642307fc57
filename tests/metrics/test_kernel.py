"""The kernel distance against torch-fidelity's own computation, brute force, and repeated draws."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from vqgan_cli.core.metrics import kernel
from vqgan_cli.core.metrics.kernel import kernel_distances


def features(images: int, seed: int, *, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (images, 12)).astype(np.float32)


@pytest.mark.parametrize("block", [7, 2048])
def test_as_torch_fidelity_computes(
    torch_fidelity: ModuleType, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: torch-fidelity on the same features, with one subset of all images."""
    monkeypatch.setattr(kernel, "_BLOCK", block)
    a, b = features(50, 0), features(50, 1, shift=0.3)
    expected = torch_fidelity.metric_kid.kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=1, kid_subset_size=50, verbose=False
    )["kernel_inception_distance_mean"]
    assert kernel_distances(a, b) == pytest.approx([expected], rel=1e-4)


def test_sets_of_unequal_size() -> None:
    """Oracle: the definition, pair by pair."""
    a, b = features(9, 0), features(5, 1, shift=0.5)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (float(np.dot(x.astype(np.float64), y)) / 12 + 1) ** 3

    expected = (
        np.mean([k(a[i], a[j]) for i in range(9) for j in range(9) if i != j])
        + np.mean([k(b[i], b[j]) for i in range(5) for j in range(5) if i != j])
        - 2 * np.mean([k(x, y) for x in a for y in b])
    )
    assert kernel_distances(a, b) == pytest.approx([expected])
    assert kernel_distances(b, a) == pytest.approx([expected])


def test_no_bias_and_the_spread_of_draws() -> None:
    """Oracle: over 200 pairs of sets from one distribution the mean is 0; from two, the resamples of one pair spread as
    the draws do.
    """
    same = [kernel_distances(features(30, 2 * n), features(30, 2 * n + 1))[0] for n in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))
    assert min(same) < 0
    drawn = [kernel_distances(features(80, 2 * n), features(80, 2 * n + 1, shift=0.5))[0] for n in range(100)]
    resampled = kernel_distances(features(80, 1000), features(80, 1001, shift=0.5), resamples=200)[1:]
    assert np.std(resampled) == pytest.approx(np.std(drawn), rel=0.3)
    assert np.mean(resampled) == pytest.approx(np.mean(drawn), abs=2 * np.std(drawn))


def test_equal_sets_and_seeds() -> None:
    """Identity: the distance of a set to itself is that of no two draws: below 0. Determinism of the resamples."""
    a = features(40, 0)
    assert kernel_distances(a, a)[0] < 0
    first = kernel_distances(a, features(40, 1), resamples=5, seed=3)
    assert first.shape == (6,)
    assert first.tolist() == kernel_distances(a, features(40, 1), resamples=5, seed=3).tolist()
    assert first[0] == kernel_distances(a, features(40, 1), resamples=5, seed=4)[0]
    assert first[1] != kernel_distances(a, features(40, 1), resamples=5, seed=4)[1]


def test_one_image_makes_no_pair() -> None:
    with pytest.raises(ValueError, match="two images"):
        kernel_distances(features(1, 0), features(5, 1))
