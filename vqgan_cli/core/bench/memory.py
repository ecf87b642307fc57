"""How much memory a piece of work takes at most, beyond what was in use before it."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

__all__ = ["PeakMemory", "peak_memory"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc(5)


class PeakMemory:
    """Filled in when the work is done.

    Attributes:
        bytes: the most; None where the system does not tell.
    """

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measures what runs inside: a GPU's allocated memory, else on Linux the memory of the whole process."""
    peak = PeakMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    if not _can_be_reset():
        yield peak
        return
    # What the allocator keeps for later would hide what is needed now.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _read("VmRSS")
    _CLEAR.write_text(_RESET_PEAK)
    yield peak
    peak.bytes = max(0, _read("VmHWM") - before)


def _can_be_reset() -> bool:
    return sys.platform == "linux" and _CLEAR.exists() and hasattr(ctypes.CDLL(None), "malloc_trim")


def _read(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    return 0
