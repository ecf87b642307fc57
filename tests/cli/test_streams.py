"""Messages and data where nobody is there to read them: real terminals that are closed, and real pipes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import pytest
from rich.console import Console

from tests.conftest import ROOT
from vqgan_cli.cli import console
from vqgan_cli.cli.streams import lasting_stderr


@pytest.fixture(autouse=True)
def _not_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.console, "quiet", False)


@pytest.fixture(params=["terminal", "pipe"])
def abandoned(request: pytest.FixtureRequest) -> Iterator[TextIO]:
    """A stream, open for writing, whose reader has left."""
    reader, writer = pty.openpty() if request.param == "terminal" else os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


def test_messages_that_nobody_reads_are_dropped(abandoned: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that the stream still holds, when it is closed."""
    monkeypatch.setattr(sys, "stderr", abandoned)
    console.info("one")
    console.warning("two")
    console.error("three", "four")
    abandoned.write("five")
    abandoned.flush()


def test_data_that_nobody_reads_is_an_error(abandoned: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that is closed tells so; a terminal alike, so that all of it ends in the same way."""
    monkeypatch.setattr(sys, "stdout", abandoned)
    with pytest.raises(BrokenPipeError):
        console.data("text")
    os.dup2(os.open(os.devnull, os.O_WRONLY), abandoned.fileno())  # as `run` does


def test_other_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is no reader that has left."""
    monkeypatch.setattr(console, "console", Console(file=lasting_stderr()))
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        monkeypatch.setattr(sys, "stderr", full)
        with pytest.raises(OSError, match="No space left"):
            console.info("text")
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_signal_in_the_midst_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler has something to say while a terminal that does not answer holds the message before. Oracle: that
    one, which is written to its end.
    """
    reader, writer = os.pipe()
    received = []

    def interrupt_and_read() -> None:
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        time.sleep(0.1)
        with os.fdopen(reader, "rb") as stream:
            received.append(stream.read())

    before = signal.signal(signal.SIGUSR1, lambda *_: console.info("a signal"))
    other = threading.Thread(target=interrupt_and_read)
    other.start()
    with os.fdopen(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        console.info("x" * 200_000)  # more than a pipe holds
    other.join()
    signal.signal(signal.SIGUSR1, before)
    assert received[0].count(b"x") == 200_000


def test_exit_code_without_a_reader() -> None:
    """That of the command, and not 120, by which the interpreter tells that it could not write to the end."""
    screen, device = pty.openpty()
    os.close(screen)
    done = subprocess.run(
        [sys.executable, "-m", "vqgan_cli", "presets", "show", "absent"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=device, check=False,
    )  # fmt: skip
    os.close(device)
    assert done.returncode == 2
