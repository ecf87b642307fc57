"""Averaged weights against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vqgan_cli.core.models.layers import use_channels_last
from vqgan_cli.core.training.ema import WeightAverage


def _scalar(value: float) -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def test_closed_form_with_rising_decay() -> None:
    """Oracle: w_n = d_n w_(n-1) + (1 - d_n) x with d_n = min(d, (1 + n) / (10 + n)), in Python's float64."""
    module = _scalar(0.0)
    average = WeightAverage(module, decay=0.3)
    expected = 0.0
    for n, value in enumerate([1.0, -2.0, 5.0, 0.5, 3.0], start=1):
        nn.init.constant_(module.weight, value)
        average.update(module)
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert average.updates == 5


def test_constant_weights_stay() -> None:
    """Oracle: the average of a constant is the constant, whatever the random start was."""
    average = WeightAverage(_scalar(100.0), decay=0.999)
    for _ in range(100):
        average.update(_scalar(2.0))
    assert average.module.weight.item() == pytest.approx(2.0, rel=1e-4)


def test_decay_zero_is_a_copy() -> None:
    module = _scalar(3.0)
    average = WeightAverage(module, decay=0.0)
    nn.init.constant_(module.weight, 7.0)
    average.update(module)
    assert average.module.weight.item() == 7


def test_buffers_are_copied() -> None:
    """Oracle: equality; statistics and counters have no meaningful average."""
    module = nn.BatchNorm1d(3)
    average = WeightAverage(module, decay=0.9)
    module(torch.arange(12.0).view(4, 3))
    average.update(module)
    for name, buffer in module.named_buffers():
        assert torch.equal(average.module.get_buffer(name), buffer), name


def test_is_float32_apart_and_without_gradients() -> None:
    module = nn.Conv2d(4, 4, 3).bfloat16()
    use_channels_last(module)
    average = WeightAverage(module, decay=0.5)
    assert not average.module.training
    for mine, theirs in zip(average.module.parameters(), module.parameters(), strict=True):
        assert mine.dtype == torch.float32
        assert not mine.requires_grad
        assert mine.data_ptr() != theirs.data_ptr()
    before = module.weight.clone()
    average.update(module)
    assert torch.equal(module.weight, before)
