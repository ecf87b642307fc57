"""The program in several processes on CPUs, as ``torchrun`` starts them; they talk by gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import ROOT

__all__ = ["Launched", "Launcher", "wait_until"]


class Launched(NamedTuple):
    """What the launcher says, and what each process that came to its end has written down: see ``launched.py``.

    ``code`` is that of the launcher: 1 whatever those of the processes are, which it names in ``err``.
    """

    code: int
    out: str
    err: str
    ranks: dict[int, dict[str, Any]]

    @property
    def codes(self) -> dict[int, list[int]]:
        """Exit codes of the commands of each process; of one that was killed there are none."""
        return {rank: facts["codes"] for rank, facts in self.ranks.items()}

    @property
    def weights(self) -> list[list[str]]:
        """Fingerprints of the networks that each of two processes trained, which found each other."""
        assert [facts["world"] for facts in self.ranks.values()] == [2, 2]
        return [facts["weights"] for facts in self.ranks.values()]


@dataclass(frozen=True)
class Launcher:
    """Starts ``vqgan ARGUMENTS`` in two processes. They work in ``folder``."""

    folder: Path

    def __call__(self, *arguments: str | Path, env: dict[str, str] | None = None) -> Launched:
        """Start them and wait for their end."""
        return self.finish(self.start(*arguments, env=env))

    def start(
        self,
        *arguments: str | Path,
        env: dict[str, str] | None = None,
        options: tuple[str, ...] = ("--standalone", "--nproc_per_node", "2"),
    ) -> subprocess.Popen[str]:
        """Start them by a launcher with ``options``; it hands signals on."""
        for left in self.folder.glob("rank-*.json"):
            left.unlink()
        plain = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
        launcher = ["-m", "torch.distributed.run", *options, "-m", "tests.recipes.launched"]
        return subprocess.Popen(
            [sys.executable, *launcher, *map(str, arguments)],
            cwd=self.folder, env={**os.environ, **plain, **(env or {})}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str], timeout: float = 120) -> Launched:
        """Wait for the end; a launcher that hangs is made to end its processes."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate(timeout=60)
            raise
        paths = sorted(self.folder.glob("rank-*.json"))
        ranks = {int(path.stem.removeprefix("rank-")): json.loads(path.read_text()) for path in paths}
        return Launched(process.returncode, out, err, ranks)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], timeout: float = 60) -> None:
    """Wait while a process works, until a condition holds or it has ended."""
    deadline = time.monotonic() + timeout
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
