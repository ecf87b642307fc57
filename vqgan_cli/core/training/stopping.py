"""When to stop early: signals and a time limit, agreed among all processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from vqgan_cli.core.errors import StoppedError

__all__ = ["BY_SIGNAL", "TIME_LIMIT", "StopRequest", "stopped"]

TIME_LIMIT = "time limit"
"""Reason of work that ended because its time was up."""

_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGHUP: "hung up", signal.SIGTERM: "terminated"}
_EXIT_CODES = {reason: 128 + number for number, reason in _SIGNALS.items()}

BY_SIGNAL = frozenset(_EXIT_CODES)
"""Reasons for which there is no time for anything but saving."""


def stopped(reason: str, rest: str, *, hint: str = "repeat the same command to go on") -> StoppedError:
    """The end of work that a signal stopped.

    Args:
        reason: of `BY_SIGNAL`; it decides the exit code.
        rest: of the message: at what, and what is kept.
        hint: what to type to go on.
    """
    return StoppedError(f"{reason} {rest}", exit_code=_EXIT_CODES[reason], hint=hint)


class StopRequest:
    """Notes SIGINT, SIGHUP, SIGTERM and a time limit, so that the loop can end between two steps.

    Used as a context manager around the work. The first Ctrl-C asks for an orderly stop; the second one raises
    KeyboardInterrupt at once. SIGTERM and SIGHUP ask for an orderly stop however often they come. SIGHUP, which a
    terminal sends that is closed, stays ignored where it is, as under ``nohup``.

    Attributes:
        at_once: a signal ends the process where it is, as there is nothing yet that could be saved.
    """

    # In rising priority; the index is the number that processes agree on.
    REASONS = ("", TIME_LIMIT, "interrupted", "hung up", "terminated")

    def __init__(
        self,
        max_seconds: float | None = None,
        on_signal: Callable[[str], None] | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        self.at_once = at_once
        self._deadline = time.monotonic() + max_seconds if max_seconds is not None else None
        self._on_signal = on_signal
        self._requested = 0
        self._process = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a forked process that reads images; its parent ends it
        reason = _SIGNALS[signal.Signals(number)]
        if reason == self.REASONS[self._requested] == "interrupted":
            raise KeyboardInterrupt
        self._requested = max(self._requested, self.REASONS.index(reason))
        if self._on_signal is not None:
            self._on_signal(self.REASONS[self._requested])
        if self.at_once:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(_EXIT_CODES[reason])

    def pending(self) -> bool:
        """Whether a signal has asked this process to stop; other processes may not know yet."""
        return self._requested > 0

    def require_going(self, rest: str) -> None:
        """Raise, between two pieces of work, where this process has been asked to stop.

        Raises:
            StoppedError: see `stopped` for ``rest``.
        """
        if self.pending():
            raise stopped(self.REASONS[self._requested], rest)

    def agreed(self, device: torch.device | str = "cpu") -> str:
        """The reason to stop that all processes share now, or an empty string. All processes must call it."""
        number = self._local()
        if dist.is_available() and dist.is_initialized():
            flag = torch.tensor(number, device=device)
            dist.all_reduce(flag, op=dist.ReduceOp.MAX)
            number = int(flag)
        return self.REASONS[number]

    def _local(self) -> int:
        if self._requested:
            return self._requested
        return int(self._deadline is not None and time.monotonic() >= self._deadline)
