"""Memory that a process keeps between images, where glibc would give it back to the system after each.

glibc gives blocks of 32 MB and more back as they are freed, and the system hands out new ones page by page, zeroed: in
an encoder at 256x256 that is half a gigabyte per image, a sixth of its time.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

__all__ = ["give_back_freed_memory", "keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # names of settings, see mallopt(3)
_MiB = 2**20
_KEPT_BLOCK, _KEPT = (
    1024 * _MiB,
    -1,
)  # bytes of a block, larger ones are given back; free memory, without an end
_GLIBC_BLOCK, _GLIBC_KEPT = 32 * _MiB, 64 * _MiB  # to which glibc's own thresholds grow by themselves
_TOLD = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")
_GLIBC_MAPS = 65536  # blocks outside the heap, glibc's own number


def keep_freed_memory(ahead: int = 0) -> bool:
    """Let this process keep freed memory for the next image, but for blocks of more than 1 GiB; for a process that is
    ours alone.

    Args:
        ahead: bytes to be handed out by the system now, not when they are first needed.

    Returns:
        Whether it does: not without glibc, nor where the user has told it what to do (such as by
        ``MALLOC_TRIM_THRESHOLD_`` or ``GLIBC_TUNABLES``).
    """
    if not _set(_KEPT_BLOCK, _KEPT):
        return False
    glibc = _glibc()
    sizes = [min(_KEPT_BLOCK // 2, ahead - start) for start in range(0, ahead, _KEPT_BLOCK // 2)]
    blocks = [(glibc.malloc(size), size) for size in sizes]
    for block, size in blocks:
        if block:
            glibc.memset(block, 0, size)
    for block, _ in blocks:
        glibc.free(block)
    return True


def give_back_freed_memory() -> bool:
    """Give back what is free, and from now on as much as glibc does of itself.

    Returns:
        Whether there was anything to change, see `keep_freed_memory`.
    """
    if not _set(_GLIBC_BLOCK, _GLIBC_KEPT):
        return False
    _glibc().malloc_trim(0)
    return True


def _set(block: int, kept: int) -> bool:
    if not _is_ours_to_set():
        return False
    glibc = _glibc()
    # Where a threshold as large is refused, as by older versions, all blocks are of the heap.
    taken = glibc.mallopt(_MMAP_THRESHOLD, block)
    glibc.mallopt(_MMAP_MAX, _GLIBC_MAPS if taken else 0)
    glibc.mallopt(_TRIM_THRESHOLD, kept)
    return True


def _is_ours_to_set() -> bool:
    told = any(name in os.environ for name in _TOLD) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    return sys.platform == "linux" and not told and hasattr(_glibc(), "gnu_get_libc_version")


@functools.cache
def _glibc() -> ctypes.CDLL:
    glibc = ctypes.CDLL(None)
    if hasattr(glibc, "malloc_trim"):
        glibc.malloc.argtypes, glibc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
        glibc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
        glibc.free.argtypes = [ctypes.c_void_p]
        glibc.malloc_trim.argtypes = [ctypes.c_size_t]
    return glibc
