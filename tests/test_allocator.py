"""Memory that is kept: what the system has to hand out again, as it counts it itself."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunVqgan
from tests.recipes.conftest import save_tiny

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.confstr("CS_GNU_LIBC_VERSION") is None,
    reason="the allocator is not glibc's",
)

# Pages that the system hands out for ten blocks of 40 MB, one after the other, the first left out.
PAGES = """
import ctypes, resource
from vqgan_cli.core.allocator import give_back_freed_memory, keep_freed_memory
libc, size = ctypes.CDLL(None), 40_000_000
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.memset.argtypes, libc.free.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t], [ctypes.c_void_p]
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        block = libc.malloc(size)
        libc.memset(block, 1, size)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[1]) * resource.getpagesize()
"""
ONE_BLOCK = 40_000_000 // os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 0


def numbers(program: str, **env: str) -> list[int]:
    """What a program of a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", PAGES + program], env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(word) for word in done.stdout.split()]


def test_kept_memory_is_handed_out_once() -> None:
    """Oracle: the system's count of pages: without it all blocks are new each time, with it at most the first."""
    plain, kept, ahead, given_back = numbers(
        "print(pages())\n"
        "assert keep_freed_memory()\nprint(pages())\n"
        "give_back_freed_memory(); keep_freed_memory(ahead=100_000_000)\nprint(pages())\n"
        "assert give_back_freed_memory()\nprint(pages())\n"
    )
    assert plain >= 10 * ONE_BLOCK
    assert kept < 1.1 * ONE_BLOCK
    assert ahead < 0.1 * ONE_BLOCK
    assert given_back >= 9 * ONE_BLOCK


def test_what_is_kept_can_be_given_back() -> None:
    """Closed form: what has been asked for ahead stays in memory until it is given back."""
    before, kept, given_back = numbers(
        "print(resident()); keep_freed_memory(ahead=2_500_000_000); print(resident())\n"
        "give_back_freed_memory(); print(resident())"
    )
    assert 2.5e9 <= kept - before < 2.55e9
    assert given_back - before < 50e6


def test_huge_blocks_are_not_kept() -> None:
    """Closed form: a block of more than 1 GiB is memory of the system again as soon as it is free."""
    before, after = numbers(
        "keep_freed_memory(); print(resident())\n"
        "block = libc.malloc(1_200_000_000); libc.memset(block, 1, 1_200_000_000); libc.free(block); print(resident())"
    )
    assert after - before < 50e6


@pytest.mark.parametrize(
    "told",
    [
        {"MALLOC_MMAP_THRESHOLD_": "1000000"},
        {"MALLOC_TRIM_THRESHOLD_": "1000000"},
        {"GLIBC_TUNABLES": "glibc.malloc.check=0"},
    ],
)
def test_who_has_told_glibc_is_heeded(told: dict[str, str]) -> None:
    """Invariant: with settings of the user's own nothing changes."""
    kept, given_back = numbers("print(int(keep_freed_memory()), int(give_back_freed_memory()))", **told)
    assert (kept, given_back) == (0, 0)


def test_commands_keep_their_memory(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """Oracle: the system's count of pages, of a command that keeps its memory and of one that has been told otherwise.

    At 512x512 and 32 channels a feature map takes 34 MB, which glibc gives back.
    """
    model = save_tiny(tmp_path / "tokenizer.safetensors", mid_attention=False).path

    def pages(**env: str) -> int:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        done = run_vqgan(
            "encode", "synthetic:scenes", "--limit", "4", "--size", "512x512", "--batch-size", "1", "--ae", model,
            "--device", "cpu", "--force", env=env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before

    assert 2 * pages() < pages(MALLOC_TOP_PAD_="131072")  # glibc's own number
