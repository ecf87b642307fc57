"""What the hardware allows, measured in the same run: products of matrices, and reading memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["Limits", "Pass", "least_seconds", "measure_limits"]

_SIDE = {"cpu": 1024, "cuda": 8192}
_BYTES = {"cpu": 2**28, "cuda": 2**31}
_REPEATS = 5

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""By the names that users give them."""


@dataclass(frozen=True)
class Limits:
    """Of a device.

    Attributes:
        flops: floating point operations per second of a large product of matrices in the precision of the run.
        bandwidth: bytes per second at which memory is read.
    """

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class Pass:
    """What one pass of a network needs at least.

    Attributes:
        flops: operations, two for each multiplication with its addition.
        bytes: of weights and kept values that are read once.
    """

    flops: float
    bytes: float = 0.0


def least_seconds(passes: list[Pass], limits: Limits) -> float:
    """Time of passes one after the other, each held up by arithmetic or by memory, whichever is slower (Williams et
    al. 2009, the roofline).
    """
    return sum(max(each.flops / limits.flops, each.bytes / limits.bandwidth) for each in passes)


def measure_limits(device: torch.device, precision: str) -> Limits:
    """The best of a few runs.

    Args:
        device: CPU or GPU.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """
    side = _SIDE.get(device.type, _SIDE["cpu"])
    a, b = (torch.ones(side, side, dtype=TYPES[precision], device=device) for _ in range(2))
    memory = torch.ones(_BYTES.get(device.type, _BYTES["cpu"]) // 4, device=device)
    return Limits(
        flops=2 * side**3 / _fastest(lambda: a @ b, device),
        bandwidth=4 * len(memory) / _fastest(memory.sum, device),
    )


def _fastest(call: Callable[[], object], device: torch.device) -> float:
    call()
    seconds = []
    for _ in range(_REPEATS):
        wait_for(device)
        begun = time.perf_counter()
        call()
        wait_for(device)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def wait_for(device: torch.device) -> None:
    """Until everything that was asked of a device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
