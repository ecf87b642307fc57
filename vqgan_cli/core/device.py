"""Which device to compute on, and in which precision."""

from __future__ import annotations

import torch

from vqgan_cli.core.errors import UsageError

__all__ = ["DTYPES", "autocast_for", "described", "float64_device", "resolve_device"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions by the names that users give them."""


def resolve_device(name: str) -> torch.device:
    """The device that a name means.

    Args:
        name: ``auto`` (a CUDA GPU, else Apple's MPS, else the CPU), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UsageError: there is no such device here.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}", hint="auto, cpu, cuda, cuda:1 or mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"unknown device {name!r}", hint="auto, cpu, cuda, cuda:1 or mps")
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        there = f"{torch.cuda.device_count()} CUDA devices" if cuda else "no CUDA device"
        raise UsageError(
            f"--device {name}: this machine has {there} that torch can use", hint="see vqgan info"
        )
    if device.type == "mps" and not mps:
        raise UsageError("--device mps: torch finds no Apple GPU here", hint="see vqgan info")
    return device


def float64_device(device: torch.device | str) -> torch.device:
    """The device, or the CPU in place of one that has no float64."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


def autocast_for(device: torch.device, precision: str) -> torch.autocast:
    """The context in which networks compute in ``fp32``, ``bf16`` or ``fp16``; ``int8`` is of priors that draw, and all
    else is in ``fp32`` with it.
    """
    dtype = None if precision in ("fp32", "int8") else DTYPES[precision]  # autocast warns of float32
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def described(device: torch.device) -> str:
    """A device in words: the name of a GPU, the threads of a CPU."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu, {threads} {'thread' if threads == 1 else 'threads'}"
    return str(device)
