"""The learning rate against closed forms."""

from __future__ import annotations

import math

import pytest

from vqgan_cli.core.training.schedule import learning_rate_factor


def test_constant() -> None:
    """Oracle: 1, from the first step to the last."""
    assert [learning_rate_factor(step, total=3) for step in range(3)] == [1, 1, 1]


def test_warmup_rises_in_equal_steps_and_is_never_zero() -> None:
    """Oracle: closed form (n + 1) / warmup."""
    found = [learning_rate_factor(step, total=100, warmup=4) for step in range(6)]
    assert found == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize("warmup", [0, 10])
def test_cosine_ends_in_the_last_step(warmup: int) -> None:
    """Oracle: closed form; the peak after the warm-up, the middle value in the middle, the end in the last step."""

    def factor(step: int) -> float:
        return learning_rate_factor(step, total=111, warmup=warmup, schedule="cosine", final=0.1)

    assert factor(warmup) == 1
    assert factor(warmup + (110 - warmup) // 2) == pytest.approx(0.55)
    assert factor(110) == pytest.approx(0.1)
    assert factor(500) == pytest.approx(0.1)
    share = 30 / (110 - warmup)
    assert factor(warmup + 30) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * share)) / 2)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_shortest_runs(schedule: str) -> None:
    """Oracle: one step trains at the full rate; a warm-up longer than the run divides nothing by zero."""
    assert learning_rate_factor(0, total=1, schedule=schedule) == 1
    assert learning_rate_factor(0, total=1, warmup=1, schedule=schedule) == 1
    assert learning_rate_factor(2, total=3, warmup=10, schedule=schedule) == pytest.approx(0.3)
