"""Precision, recall, density and coverage against their definitions by brute force, and torch-fidelity."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from vqgan_cli.core.metrics import neighbours
from vqgan_cli.core.metrics.neighbours import membership, nearest

Array = np.ndarray


def features(images: int, seed: int, *, shift: float = 0.0) -> Array:
    return np.random.default_rng(seed).normal(shift, 1, (images, 4)).astype(np.float32)


def distance(x: Array, y: Array) -> float:
    return float(np.linalg.norm(x.astype(np.float64) - y.astype(np.float64)))


def radius(image: int, images: Array, k: int) -> float:
    """Distance of an image to its k-th nearest neighbour among the others."""
    return sorted(distance(images[image], other) for i, other in enumerate(images) if i != image)[k - 1]


@pytest.mark.parametrize("block", [10, 2048])
def test_by_brute_force(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the definitions of both papers, image by image."""
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    fake, real = features(37, 0, shift=0.7), features(52, 1)
    found = membership(fake, real)
    # Kynkaanniemi et al. 2019, eq. 1 and 2, k = 3.
    real3 = [radius(i, real, 3) for i in range(len(real))]
    fake3 = [radius(j, fake, 3) for j in range(len(fake))]
    precise = [any(distance(y, x) <= r for x, r in zip(real, real3, strict=True)) for y in fake]
    recalled = [any(distance(x, y) <= r for y, r in zip(fake, fake3, strict=True)) for x in real]
    # Naeem et al. 2020, eq. 2 and 3, k = 5.
    real5 = [radius(i, real, 5) for i in range(len(real))]
    balls = [sum(distance(y, x) < r for x, r in zip(real, real5, strict=True)) for y in fake]
    covered = [any(distance(y, x) < r for y in fake) for x, r in zip(real, real5, strict=True)]
    assert found.precise.tolist() == precise
    assert found.recalled.tolist() == recalled
    assert found.density.sum() / len(fake) == pytest.approx(sum(balls) / (5 * len(fake)))
    assert found.density.tolist() == [count / 5 for count in balls]
    assert found.covered.tolist() == covered
    for terms in (precise, recalled, covered):
        assert 0 < np.mean(terms) < 1, "the sets neither agree nor differ altogether"


def test_as_torch_fidelity_computes(torch_fidelity: ModuleType) -> None:
    """Oracle: torch-fidelity's precision and recall of the same features."""
    if not hasattr(torch_fidelity, "metric_prc"):
        pytest.skip("this torch-fidelity has no precision and recall")
    fake, real = features(200, 0, shift=0.5), features(300, 1)
    expected = torch_fidelity.metric_prc.prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), verbose=False
    )
    found = membership(fake, real)
    assert found.precise.mean() == pytest.approx(expected["precision"], abs=1e-6)
    assert found.recalled.mean() == pytest.approx(expected["recall"], abs=1e-6)


def test_equal_sets() -> None:
    """Identity: all is precise, recalled and covered; a ball of five neighbours holds itself and four others."""
    a = features(60, 0) + 100
    found = membership(a, a[::-1].copy())
    assert (found.precise.mean(), found.recalled.mean(), found.covered.mean()) == (1, 1, 1)
    assert found.density.mean() == pytest.approx(1)


def test_sets_far_apart() -> None:
    found = membership(features(20, 0), features(30, 1, shift=1000))
    assert [each.sum() for each in found] == [0, 0, 0, 0]


@pytest.mark.parametrize("block", [3, 2048])
def test_nearest(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: sorting all distances."""
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    queries, base = features(8, 0), features(20, 1)
    found = nearest(queries, base, 4)
    for query, distances, indices in zip(queries, *found, strict=True):
        expected = [distance(query, each) for each in base]
        assert indices.tolist() == np.argsort(expected)[:4].tolist()
        assert distances.tolist() == pytest.approx(sorted(expected)[:4])
    own = nearest(base, base, 2, among_others=True)
    assert not (own.indices == np.arange(20)[:, None]).any()
    assert own.distances[5, 1] == pytest.approx(radius(5, base, 2))


def test_a_copy_is_at_distance_zero() -> None:
    """Closed form; and brute force for the next one, far from the origin, where subtracted squares lose digits."""
    base = features(20, 0) + np.float32(1e5)
    found = nearest(base[[7, 3]], base, 2)
    assert found.indices[:, 0].tolist() == [7, 3]
    assert found.distances[:, 0].max() < 1e-5
    assert found.distances[:, 1].tolist() == pytest.approx([radius(7, base, 1), radius(3, base, 1)], rel=1e-9)


def test_too_few_images() -> None:
    with pytest.raises(ValueError, match="6 images of each"):
        membership(features(5, 0), features(50, 1))
