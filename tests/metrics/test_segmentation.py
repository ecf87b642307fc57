"""Accuracy and IoU of label maps."""

from __future__ import annotations

import numpy as np
import pytest

from vqgan_cli.core.metrics.segmentation import SegmentationScores


def test_by_hand() -> None:
    """Closed form: two maps of four pixels. Class 0 is right in 2 of 5 pixels of the union, class 1 in 2 of 6, class 2
    in none of 1; class 3 appears nowhere and does not count.
    """
    scores = SegmentationScores(4)
    first = scores.update(np.array([[0, 0], [1, 1]]), np.array([[0, 1], [1, 1]]))
    second = scores.update(np.array([[0, 1], [1, 0]]), np.array([[0, 0], [2, 1]]))
    assert (first, second) == (0.75, 0.25)
    assert scores.iou[:3].tolist() == pytest.approx([2 / 5, 2 / 6, 0])
    assert np.isnan(scores.iou[3])
    assert scores.mean_iou == pytest.approx((2 / 5 + 2 / 6 + 0) / 3)


def test_by_brute_force_and_interval() -> None:
    """Oracle: sets of pixels; the interval holds the mean, and is a point where all images are alike."""
    generator = np.random.default_rng(0)
    truths = generator.integers(0, 5, (30, 6, 7))
    guesses = np.where(generator.random(truths.shape) < 0.5, truths, generator.integers(0, 5, truths.shape))
    scores = SegmentationScores(5)
    for truth, guess in zip(truths, guesses, strict=True):
        assert scores.update(truth, guess) == (truth == guess).mean()
    expected = [
        ((truths == k) & (guesses == k)).sum() / ((truths == k) | (guesses == k)).sum() for k in range(5)
    ]
    assert scores.iou == pytest.approx(expected)
    low, high = scores.mean_iou_interval
    assert low < scores.mean_iou < high
    assert high - low < 0.2
    alike = SegmentationScores(5)
    for _ in range(20):
        alike.update(truths[0], guesses[0])
    assert alike.mean_iou_interval == pytest.approx((alike.mean_iou, alike.mean_iou))


def test_ignored_pixels_count_nowhere() -> None:
    """Invariant: what is predicted for ignored pixels changes nothing, and a map of them alone has no accuracy."""
    truth, guess = np.array([[0, 1, 2, 2]]), np.array([[0, 0, 0, 1]])
    scores, without = SegmentationScores(3, ignored=2), SegmentationScores(2)
    assert scores.update(truth, guess) == without.update(truth[:, :2], guess[:, :2]) == 0.5
    assert scores.mean_iou == without.mean_iou
    assert np.isnan(scores.update(np.full((2, 2), 2), np.zeros((2, 2))))
    assert np.isnan(SegmentationScores(3).mean_iou)
