"""Requests to stop, with real signals to this process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from vqgan_cli.core.training.stopping import StopRequest, stopped


@pytest.fixture(autouse=True)
def _not_ignored() -> Iterator[None]:
    """SIGHUP ends a process, whether or not the tests are started by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def _send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python runs its handlers between two instructions


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGINT, "interrupted"), (signal.SIGHUP, "hung up"), (signal.SIGTERM, "terminated")],
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
    assert stopped(reason, "").exit_code == 128 + number  # as a shell counts


def test_second_interrupt_stops_at_once() -> None:
    with StopRequest():
        _send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            _send(signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGHUP, SystemExit), (signal.SIGTERM, SystemExit)],
)
def test_before_there_is_anything_to_save(number: signal.Signals, error: type[BaseException]) -> None:
    """The first signal ends the work, is told, and is not forgotten should somebody swallow the exception."""
    heard: list[str] = []
    with StopRequest(on_signal=heard.append, at_once=True) as stop:
        with pytest.raises(error) as caught:
            _send(number)
        assert stop.pending()
        assert heard == [stop.agreed()]
    assert caught.value.args == (() if number == signal.SIGINT else (128 + number,))


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGHUP, "hung up"), (signal.SIGTERM, "terminated")])
def test_what_outranks_an_interrupt_is_never_impatient(number: signal.Signals, reason: str) -> None:
    with StopRequest() as stop:
        for each in (signal.SIGINT, number, number, signal.SIGINT):
            _send(each)
        assert stop.agreed() == reason


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopRequest() as stop:
        _send(signal.SIGHUP)
        assert not stop.pending()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_signals_are_for_the_process_that_asked() -> None:
    """One that is forked from it, to read images, goes on, and says nothing."""
    heard: list[str] = []
    with StopRequest(on_signal=heard.append, at_once=True) as stop:
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            os._exit(len(heard) + stop.pending())
        _, status = os.waitpid(child, 0)
    assert status == 0


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
