"""A terminal that is closed, or whose connection drops, while a command is at work there: a real one, that hangs up."""

from __future__ import annotations

import os
import pty
import select
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.recipes.conftest import Vqgan
from tests.recipes.forked import Forked
from tests.recipes.tiny_run import Trainer, fault, log, newest_step, status, steps, trainers


class Terminal:
    """One in which a command is started.

    Attributes:
        shown: what it has written there.
    """

    def __init__(self) -> None:
        self._screen, self._device = pty.openpty()
        self.shown = b""

    def start(self, arguments: list[str], folder: Path, env: dict[str, str] | None = None) -> Forked:
        """Start ``vqgan ARGUMENTS``."""
        process = Forked(
            arguments, folder, {"TERM": "xterm", **(env or {})}, terminal=os.ttyname(self._device)
        )
        self.process = process
        return process

    def show_until(self, condition: Callable[[], bool]) -> None:
        """Show what is written until a condition holds; a command whose terminal shows nothing waits for it."""

        def shown() -> bool:
            while select.select([self._screen], [], [], 0)[0]:
                self.shown += os.read(self._screen, 1 << 16)
            return condition()

        self.process.wait_until(shown)

    def close(self) -> None:
        """Close the window."""
        os.close(self._screen)
        os.close(self._device)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.process.kill()


def after_steps(run: Path, count: int) -> Callable[[], bool]:
    """Whether so many steps are in the log."""
    return lambda: (run / "log.jsonl").exists() and len(log(run)) >= count


@trainers(33)
def test_training_saves(trainer: Trainer, terminal: Terminal, vqgan: Vqgan, tmp_path: Path) -> None:
    """The step that it was in, though nothing can be shown any more; the folder is free, and the run goes on."""
    run = tmp_path / "run"
    process = terminal.start(trainer.train("run", 1_000_000, checkpoint_every=0), tmp_path)
    terminal.show_until(after_steps(run, 3))
    assert b"\x1b[" in terminal.shown  # a bar, which is drawn anew all the time
    terminal.close()
    assert process.wait()[0] == 129
    ended = status(run)
    assert (ended["state"], ended["reason"]) == ("stopped", "hung up")
    assert newest_step(run) == ended["step"] == steps(run)[-1]
    done = vqgan(*trainer.resume("run", "--steps", str(ended["step"] + 2)))
    assert done.code == 0, done.err
    assert steps(run) == list(range(1, ended["step"] + 3))


@pytest.mark.fault(33, "train-ae")
@pytest.mark.parametrize("trainer", ["train-ae"], indirect=True)
def test_training_that_ignores_it_ends_as_any(trainer: Trainer, terminal: Terminal, tmp_path: Path) -> None:
    """As with nohup, or disown: all its steps are done, and shown to nobody."""
    run = tmp_path / "run"
    process = terminal.start(trainer.train("run", 40), tmp_path, fault("start", "", "IGNORED:SIGHUP"))
    terminal.show_until(after_steps(run, 3))
    terminal.close()
    assert process.wait()[0] == 1  # nobody has read the name of the model
    assert (status(run)["state"], status(run)["step"]) == ("finished", 40)
    assert steps(run) == list(range(1, 41))
    assert 'class="state good">done' in (run / "report.html").read_text("utf-8")
