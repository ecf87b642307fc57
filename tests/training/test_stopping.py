"""Requests to stop, with real signals to this process."""

from __future__ import annotations

import os
import signal
import time

import pytest

from vqgan_cli.core.training.stopping import StopRequest


def _send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python runs its handlers between two instructions


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_a_signal_is_a_request(number: signal.Signals, reason: str) -> None:
    heard: list[str] = []
    before = signal.getsignal(number)
    with StopRequest(on_signal=heard.append) as stop:
        assert not stop.pending()
        assert stop.agreed() == ""
        _send(number)
        assert stop.pending()
        assert stop.agreed() == reason
    assert heard == [reason]
    assert signal.getsignal(number) == before


def test_second_interrupt_stops_at_once() -> None:
    with StopRequest():
        _send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            _send(signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_before_there_is_anything_to_save(number: signal.Signals, error: type[BaseException]) -> None:
    """The first signal ends the work, is told, and is not forgotten should somebody swallow the exception."""
    heard: list[str] = []
    with StopRequest(on_signal=heard.append, at_once=True) as stop:
        with pytest.raises(error) as caught:
            _send(number)
        assert stop.pending()
        assert heard == [stop.agreed()]
    assert caught.value.args == ((143,) if number == signal.SIGTERM else ())


def test_termination_outranks_an_interrupt_and_is_never_impatient() -> None:
    with StopRequest() as stop:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            _send(number)
        assert stop.agreed() == "terminated"


def test_time_limit_is_no_signal() -> None:
    """Work that ends a run, such as its validation, goes on when the time is up; only signals cut it short."""
    with StopRequest(max_seconds=0) as stop:
        assert stop.agreed() == "time limit"
        assert not stop.pending()
        _send(signal.SIGTERM)
        assert stop.pending()
        assert stop.agreed() == "terminated"
    with StopRequest(max_seconds=3600) as stop:
        assert stop.agreed() == ""
