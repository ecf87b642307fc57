"""Equal-sized arrays in batches, and work on files overlapped with compute."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["THREADS", "Background", "beside", "full_batches", "in_turns", "one_late", "prefetch"]

T = TypeVar("T")
R = TypeVar("R")
Array = npt.NDArray[Any]

THREADS = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""That read or write images beside the model: one for each core of this process."""


def prefetch(function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int) -> Iterator[R]:
    """``map`` on threads, in order, at most ``ahead`` results in advance.

    Reading images leaves Python's lock alone most of the time, so threads keep pace with the model.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_turns(function: Callable[[T], R], items: Iterable[T], *, threads: int, at_once: int) -> Iterator[R]:
    """``map`` on threads, in order, ``at_once`` results at a time; no thread works while the caller uses them.

    For a caller that keeps all cores busy itself, as a network on a CPU does: a thread beside it takes a core from one
    of the network's threads, for which all others wait.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while group := list(itertools.islice(waiting, at_once)):
            futures = [pool.submit(function, item) for item in group]
            try:
                wait(futures)
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()


def beside(device: str, function: Callable[[T], R], items: Iterable[T], *, ahead: int) -> Iterator[R]:
    """``map`` for what reads images that a network on a device then takes: in turns with one on the CPU, at the same
    time as others.

    Args:
        device: its type, such as ``cuda``.
        function: reads one.
        items: what to read.
        ahead: results in memory at a time.
    """
    if device == "cpu":
        return in_turns(function, items, threads=THREADS, at_once=ahead)
    return prefetch(function, items, threads=THREADS, ahead=ahead)


def one_late(items: Iterable[T]) -> Iterator[T]:
    """The same items, each after the next has been asked for: a device computes that one while this one is used.

    Where the next one fails, this one comes first, and the error with the one after it.
    """
    waiting = iter(items)
    for last in waiting:
        try:
            for item in waiting:
                yield last
                last = item
        except Exception:
            yield last
            raise
        yield last


class Background:
    """Runs jobs on threads while the caller goes on; the first error is raised at the next call."""

    def __init__(self, threads: int, ahead: int) -> None:
        self._pool = ThreadPoolExecutor(threads)
        self._ahead = ahead
        self._waiting: deque[Future[None]] = deque()

    def submit(self, job: Callable[..., None], *arguments: Any) -> None:
        """Queue a job; waits while too many are queued, so that memory stays flat."""
        self._waiting.append(self._pool.submit(job, *arguments))
        while len(self._waiting) > self._ahead:
            self._waiting.popleft().result()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)


def full_batches(items: Iterable[tuple[int, Array]], batch_size: int) -> Iterator[tuple[list[int], Array]]:
    """Batches of arrays of one shape, always of ``batch_size``: the last one repeats its last array.

    A convolution may round differently at another batch size, and a vector halfway between two codes would change
    its code. With full batches a result depends neither on how the work is divided among processes nor on where it
    was resumed. Arrays of different shapes need a ``batch_size`` of 1.

    Args:
        items: (index, array) pairs.
        batch_size: arrays per batch.

    Yields:
        The indices, perhaps fewer than ``batch_size``, and [batch_size, ...].
    """
    waiting = iter(items)
    while group := list(itertools.islice(waiting, batch_size)):
        arrays = [array for _, array in group]
        arrays += arrays[-1:] * (batch_size - len(arrays))
        yield [index for index, _ in group], np.stack(arrays)
