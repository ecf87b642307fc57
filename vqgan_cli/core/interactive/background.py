"""Work in a thread that shows how far it is, and can be told to stop."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["StopButton", "shown_by"]

T = TypeVar("T")


class StopButton(StopRequest):
    """A request to stop that is pressed, by whoever waits for the work; signals do not reach it."""

    def press(self) -> None:
        """Ask the work to end between two codes."""
        self._requested = max(self._requested, self.REASONS.index("interrupted"))


def shown_by(work: Callable[[Callable[[T], None]], None], stop: StopButton) -> Iterator[T]:
    """What work shows while it runs in a thread, the newest whenever somebody asks: who looks seldom misses some, and
    work never waits. What it shows last is not missed.

    Args:
        work: is given what shows a value.
        stop: pressed where nobody wants to see more; the work has ended when the iterator has.

    Raises:
        Exception: what the work raised.
    """
    shown: queue.SimpleQueue[T] = queue.SimpleQueue()
    ended = threading.Event()
    came = threading.Event()
    failures: list[BaseException] = []

    def show(value: T) -> None:
        shown.put(value)
        came.set()

    def run() -> None:
        try:
            work(show)
        except BaseException as error:  # all of it is raised again, where somebody waits
            failures.append(error)
        finally:
            ended.set()
            came.set()

    thread = threading.Thread(target=run, name="vqgan-work", daemon=True)
    thread.start()
    try:
        while True:
            came.wait()
            came.clear()
            last = ended.is_set()
            values: list[T] = []
            while not shown.empty():
                values.append(shown.get())
            if values:
                yield values[-1]
            if last:
                break
        if failures:
            raise failures[0]
    finally:
        stop.press()
        thread.join()
