"""What the hardware allows, measured in the same run: products of matrices, and reading memory."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vqgan_cli.core.device import DTYPES
from vqgan_cli.core.models.priors.int8 import Int8Linear

__all__ = ["Limits", "Pass", "least_seconds", "measure_limits", "wait_for"]

_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
_BYTES = {"cpu": 2**28, "cuda": 2**31}
_REPEATS = 3


@dataclass(frozen=True)
class Limits:
    """Of a device.

    Attributes:
        flops: floating point operations per second of large products in the precision of the run.
        bandwidth: bytes per second at which memory is read.
    """

    flops: float
    bandwidth: float

    def best(self, other: Limits) -> Limits:
        """The higher of each: what else the machine does can only hold it up."""
        return Limits(max(self.flops, other.flops), max(self.bandwidth, other.bandwidth))


@dataclass(frozen=True)
class Pass:
    """What one pass of a network computes and reads.

    Attributes:
        flops: operations, two for each multiplication with its addition.
        bytes: of weights, and of kept keys and values, each read once.
    """

    flops: float
    bytes: float = 0.0


def least_seconds(passes: list[Pass], limits: Limits) -> float:
    """Time of passes one after the other, each held up by arithmetic or by memory, whichever is slower (Williams et
    al. 2009, the roofline).
    """
    return sum(max(each.flops / limits.flops, each.bytes / limits.bandwidth) for each in passes)


def measure_limits(device: torch.device, precision: str) -> Limits:
    """The best of a few products of matrices and of a convolution, and of a few sums of much memory.

    Args:
        device: CPU or GPU.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``int8``, with the work of quantizing what is multiplied.
    """
    if precision == "int8":
        return Limits(_int8_rate(device), _bandwidth(device))
    dtype = DTYPES[precision]
    rates = []
    for side in _SIDES.get(device.type, _SIDES["cpu"]):
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        rates.append(2 * side**3 / _fastest(functools.partial(torch.mm, a, b), device))
    channels, side = 128, 128
    image = torch.randn(1, channels, side, side, device=device).to(dtype, memory_format=torch.channels_last)
    kernels = torch.randn(channels, channels, 3, 3, device=device).to(
        dtype, memory_format=torch.channels_last
    )
    convolve = functools.partial(F.conv2d, image, kernels, padding=1)
    rates.append(2 * 9 * channels**2 * side**2 / _fastest(convolve, device))
    return Limits(flops=max(rates), bandwidth=_bandwidth(device))


def _int8_rate(device: torch.device) -> float:
    rates = []
    for side in _SIDES["cpu"]:
        product = Int8Linear(torch.nn.Linear(side, side, bias=False))
        rates.append(2 * side**3 / _fastest(functools.partial(product, torch.randn(side, side)), device))
    return max(rates)


def _bandwidth(device: torch.device) -> float:
    memory = torch.randn(_BYTES.get(device.type, _BYTES["cpu"]) // 4, device=device)
    return 4 * len(memory) / _fastest(memory.sum, device)


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
