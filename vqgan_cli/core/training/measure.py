"""Means of metrics between two log lines, step times, and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

__all__ = ["MeanMetrics", "StepClock", "peak_memory_gb"]


class MeanMetrics:
    """Sums scalars on their device, so that no step waits for the host."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Count detached scalars."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.float()
            self._counts[name] = self._counts.get(name, 0) + 1

    def drain(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over all processes since the last call. All processes must call it."""
        mine = {name: (float(value), self._counts[name]) for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        everybody = gather_object([mine])
        return {
            name: sum(part[name][0] for part in everybody) / sum(part[name][1] for part in everybody)
            for name in mine
        }


class StepClock:
    """Time spent in steps, without what happens under `paused`."""

    def __init__(self, step: int) -> None:
        self._begun = self._last = time.monotonic()
        self._first_step = self._last_step = step

    def rate(self, step: int) -> float:
        """Steps per second since the last call."""
        now = time.monotonic()
        rate = (step - self._last_step) / max(now - self._last, 1e-9)
        self._last, self._last_step = now, step
        return rate

    def seconds_per_step(self, step: int) -> float:
        """Mean since the start."""
        return (time.monotonic() - self._begun) / max(1, step - self._first_step)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        entered = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - entered
            self._begun += spent
            self._last += spent


def peak_memory_gb(device: torch.device) -> float:
    """Most memory that this process has used so far: on the GPU if it trains there, else in RAM; in 10^9 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
