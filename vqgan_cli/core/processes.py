"""The processes that a launcher such as torchrun has started for one command."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import ParamSpec, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from vqgan_cli.core.errors import LostProcessError, UsageError

__all__ = ["in_one_process", "join_processes", "launched_processes", "lost_process_named", "of_first"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""For the slowest of processes that work each by itself. A dead one is not waited for: its connections end."""


def launched_processes() -> int:
    """How many processes a launcher has started for this command."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def in_one_process(work: Callable[P, T]) -> Callable[P, T]:
    """For work that cannot be divided: each process would do all of it, and write where the others do.

    Raises:
        UsageError: in several processes of a launcher.
    """

    @functools.wraps(work)
    def checked(*arguments: P.args, **options: P.kwargs) -> T:
        if launched_processes() > 1:
            raise UsageError(
                f"this command works in one process, and a launcher has started {launched_processes()}",
                hint="run it without torchrun or accelerate launch",
            )
        return work(*arguments, **options)

    return checked


def join_processes(device: torch.device) -> tuple[PartialState, torch.device]:
    """Meet the other processes of this command, if there are any, to divide work that takes no steps in common.

    Args:
        device: what a single process would take.

    Returns:
        The processes, and the device of this one.
    """
    state = PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
    return state, state.device if state.num_processes > 1 else device


def of_first(value: T) -> T:
    """What the first process has, on all of them."""
    values = [value]
    broadcast_object_list(values)
    return values[0]


@contextmanager
def lost_process_named(then: str = "repeat the same command to go on") -> Iterator[None]:
    """Name the cause where an operation of all processes fails because one of them has ended.

    Args:
        then: what to do next.

    Raises:
        LostProcessError: in place of what gloo or NCCL have to say.
    """
    try:
        yield
    except RuntimeError as error:
        # gloo raises plain RuntimeErrors, which begin with the place in its sources.
        if not isinstance(error, dist.DistError) and "gloo/transport" not in str(error):
            raise
        raise LostProcessError(
            "another process of this command has ended, and none can go on without it",
            hint=f"what it said, or the launcher's report, tells why; {then}",
        ) from error
