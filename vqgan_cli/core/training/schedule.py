"""Learning rate as a function of the step."""

from __future__ import annotations

import math

__all__ = ["learning_rate_factor"]


def learning_rate_factor(
    step: int, *, total: int, warmup: int = 0, schedule: str = "constant", final: float = 0.0
) -> float:
    """Share of the peak learning rate in a step.

    Args:
        step: steps done before this one.
        total: steps of the whole run.
        warmup: steps of linear rise, after which the full rate is reached.
        schedule: ``constant``, or ``cosine`` down to ``final`` in the last step.
        final: last share of the peak under ``cosine``.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    share = min(1.0, (step - warmup) / max(1, total - warmup - 1))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))
