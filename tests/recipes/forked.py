"""``vqgan`` in processes of their own that need not import it: they are forked from one that has.

A process that imports torch anew takes seconds, most of the time of a test that ends it early. The process that they
are forked from does nothing else and has no threads.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import runpy
import signal
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["Forked"]

FAULTS = Path(__file__).parents[1] / "faults/sitecustomize.py"

_CONTEXT = multiprocessing.get_context("forkserver")
_COMMANDS = ("train_ae", "train_transformer", "encode", "decode", "generate", "upscale", "import_", "export")
_RECIPES = [f"vqgan_cli.core.recipes.{command}" for command in _COMMANDS]
_CONTEXT.set_forkserver_preload(["vqgan_cli.cli.app", *_RECIPES, "torch._dynamo"])  # which optimisers import


class Forked:
    """A command at work.

    Args:
        arguments: those of ``vqgan``.
        folder: in which it works.
        env: added to the environment of the test; ``VQGAN_FAULT`` is what ``tests/faults`` makes of it.
        terminal: name of the one that it is started from, to which it writes; without one it writes to files.

    Attributes:
        pid: of the process.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        folder: Path,
        env: dict[str, str],
        terminal: str | None = None,
    ) -> None:
        self._streams = [folder / f".{name}-{os.urandom(4).hex()}" for name in ("stdout", "stderr")]
        environment = {**os.environ, **env}
        self._process = _CONTEXT.Process(
            target=_work, args=([*map(str, arguments)], folder, environment, self._streams, terminal)
        )
        self._process.start()
        self.pid = self._process.pid
        assert self.pid is not None

    def wait_until(self, condition: Callable[[], bool], timeout: float = 60) -> None:
        """Wait while it works until a condition holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self._process.is_alive(), self.wait()
            assert time.monotonic() < deadline, f"nothing after {timeout} s"
            time.sleep(0.01)

    def wait_until_stopped(self) -> list[int]:
        """Wait for the fault SIGSTOP; returns the process ids of its children."""
        self.wait_until(lambda: Path(f"/proc/{self.pid}/stat").read_text().split(") ")[1][0] == "T")
        return [*map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())]

    def kill(self) -> None:
        """End it at once, if it is still at work."""
        self._process.kill()
        self._process.join()

    def wait(self, timeout: float = 60) -> tuple[int, str, str]:
        """Exit code, negative of a signal that killed it, and what it wrote to the files of stdout and stderr."""
        self._process.join(timeout)
        code = self._process.exitcode
        self.kill()
        out, err = (path.read_text() if path.exists() else "" for path in self._streams)
        assert code is not None, f"still at work after {timeout} s: {err}"
        return code, out, err


def _work(
    arguments: list[str], folder: Path, environment: dict[str, str], streams: list[Path], terminal: str | None
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whether or not the tests are started by nohup
    if terminal is not None:
        os.setsid()
        fcntl.ioctl(os.open(terminal, os.O_RDWR), termios.TIOCSCTTY, 0)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(terminal or path, os.O_WRONLY | os.O_CREAT), number)
    if "VQGAN_FAULT" in environment:
        runpy.run_path(str(FAULTS))
    import torch

    from vqgan_cli.cli import console
    from vqgan_cli.cli.app import main

    console.console.is_interactive = terminal is not None  # it has looked when it was imported
    torch.set_num_threads(1)
    multiprocessing.set_start_method(
        None, force=True
    )  # its own processes start as those of any other program
    sys.argv[1:] = arguments
    main()
