"""The Frechet distance against closed forms, torch-fidelity's own computation, and repeated draws."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from vqgan_cli.core.metrics.bootstrap import centred_interval
from vqgan_cli.core.metrics.frechet import fit_gaussian, frechet_distance, gaussian_of, resampled_distances


def features(images: int, dimension: int, seed: int, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Correlated, positive and of unequal variance, as those of a network are; one never fires."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(size=(dimension, dimension)) * np.linspace(0.01, 1, dimension)
    found = np.abs(rng.normal(size=(images, dimension)) @ mixing) * scale + shift
    found[:, 3] = 0
    return found.astype(np.float32)


def test_two_gaussians() -> None:
    """Closed form: covariances that commute have the distance |m1 - m2|^2 + sum (s1 - s2)^2 of standard deviations."""
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.manual_seed(0)))[0]
    first, second = torch.tensor([[5.0, 3, 2, 1, 0.5, 0], [1, 4, 2, 0, 0.25, 0]], dtype=torch.float64)
    means = torch.randn(2, 6, dtype=torch.float64, generator=torch.manual_seed(1))
    a, b = (
        gaussian_of(mean, rotation * deviations.square() @ rotation.mT, 100)
        for mean, deviations in zip(means, (first, second), strict=True)
    )
    expected = (means[0] - means[1]).square().sum() + (first - second).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)
    assert frechet_distance(a, b, exact=False) == pytest.approx(float(expected), rel=1e-6)
    torch.testing.assert_close(a.covariance, rotation * first.square() @ rotation.mT)


@pytest.mark.parametrize(("images", "others"), [(30, 45), (30, 200), (200, 500)])
def test_as_torch_fidelity_computes(torch_fidelity: ModuleType, images: int, others: int) -> None:
    """Oracle: torch-fidelity on the same features, for more and for fewer images than the 64 features."""
    metric_fid = torch_fidelity.metric_fid
    a, b = features(images, 64, 0), features(others, 64, 1, scale=1.2, shift=0.1)
    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(each)) for each in (a, b)]
    expected = metric_fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    first, second = fit_gaussian(a), fit_gaussian(b)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(first.covariance, np.cov(a.astype(np.float64), rowvar=False), atol=1e-9)


@pytest.mark.parametrize("images", [20, 300])
def test_equal_sets(images: int) -> None:
    """Identity: a set is at distance 0 from itself, in any order, and from what was read of its covariance."""
    a = features(images, 64, 0)
    shuffled = fit_gaussian(a, np.random.default_rng(0).permutation(images))
    read = gaussian_of(shuffled.mean, shuffled.covariance, images)
    scale = float(shuffled.covariance.trace())
    assert frechet_distance(fit_gaussian(a), shuffled) < 1e-9 * scale
    assert frechet_distance(fit_gaussian(a), read) < 1e-7 * scale


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: numpy on all features at once; and no more than a block of them is ever in float64."""
    seen: list[int] = []
    convert = torch.from_numpy

    def count(block: np.ndarray) -> torch.Tensor:
        seen.append(len(block))
        return convert(block)

    monkeypatch.setattr("vqgan_cli.core.metrics.frechet._BLOCK", 50)
    monkeypatch.setattr(torch, "from_numpy", count)
    a = features(1001, 16, 0)
    fitted = fit_gaussian(a)
    np.testing.assert_allclose(fitted.mean, a.mean(0, dtype=np.float64))
    np.testing.assert_allclose(fitted.covariance, np.cov(a.astype(np.float64), rowvar=False), atol=1e-12)
    assert max(seen) == 50
    assert sum(seen) == 2 * 1001


def test_one_image_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="two images"):
        fit_gaussian(features(1, 8, 0))


def test_interval_is_as_wide_as_draws_differ() -> None:
    """Oracle: the spread of the distance over 60 sets that are drawn anew, both of them, of the same size."""
    drawn = [
        frechet_distance(
            fit_gaussian(features(150, 8, 2 * n)), fit_gaussian(features(150, 8, 2 * n + 1, shift=0.5))
        )
        for n in range(60)
    ]
    a, b = features(150, 8, 500), features(150, 8, 501, shift=0.5)
    value = frechet_distance(fit_gaussian(a), fit_gaussian(b))
    again = list(resampled_distances(a, b, resamples=100))
    low, high = centred_interval(value, again, bounds=(0, np.inf))
    assert 0 < low < value < high
    assert (high - low) / 2 / 1.96 == pytest.approx(np.std(drawn), rel=0.35)
    assert again == list(resampled_distances(a, b, resamples=100))
    assert again != list(resampled_distances(a, b, resamples=100, seed=1))


def test_fixed_reference_and_pairs_vary_less() -> None:
    """Invariants: a reference that stays leaves its part of the spread out; a set drawn with itself stays at 0."""
    a, b = features(100, 8, 0), features(100, 8, 1)
    both = np.std(list(resampled_distances(a, b, resamples=100)))
    assert np.std(list(resampled_distances(a, fit_gaussian(b), resamples=100))) < both
    assert max(resampled_distances(a, a, resamples=5, paired=True)) < 1e-5
    assert min(resampled_distances(a, a, resamples=5)) > 1e-3
