"""What all tests share: one thread, the recorded reference data, and the command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fault_rows import ROWS

ROOT = Path(__file__).resolve().parents[1]

RunVqgan = Callable[..., "subprocess.CompletedProcess[str]"]


class Collected(NamedTuple):
    """A test and the faults that it causes, numbers and commands, from ``@pytest.mark.fault(8, "encode")``."""

    name: str
    faults: list[tuple[int, tuple[str, ...]]]


COLLECTED: list[Collected] = []
"""All tests that cause faults, those too that a run leaves out as slow."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults", action="store_true", help="print which tests caused which faults, and their seconds"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        faults = [(mark.args[0], mark.args[1:]) for mark in item.iter_markers("fault")]
        COLLECTED.extend([Collected(item.nodeid, faults)] if faults else [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--faults"):
        return
    seconds: dict[str, float] = {}
    for outcome in ("passed", "failed", "error", ""):  # "" has set-up and tear-down
        for report in terminalreporter.getreports(outcome):
            seconds[report.nodeid] = seconds.get(report.nodeid, 0) + report.duration
    for number, row in ROWS.items():
        terminalreporter.write_line(f"{number}. {row.what}")
        for test in COLLECTED:
            for commands in [commands for fault, commands in test.faults if fault == number]:
                took = f"{seconds[test.name]:.1f} s" if test.name in seconds else "not run"
                terminalreporter.write_line(f"    {', '.join(commands)}: {test.name} ({took})")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny tensors gain nothing from threads, and sums are the same on every machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded reference data beside the checkout; tests that need it are skipped without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}")
    return folder


@pytest.fixture(scope="session")
def squeezenet(shared: Path) -> Path:
    """The weights of a real classifier, squeezenet1_0."""
    file = shared / "weights/squeezenet1_0.safetensors"
    if not file.is_file():
        pytest.skip(f"no {file}")
    return file


@pytest.fixture
def run_vqgan(tmp_path: Path) -> RunVqgan:
    """Runs ``python -m vqgan_cli ARGUMENTS`` in ``tmp_path``: a process of its own, as a user would start it."""

    def run(
        *arguments: str | Path, timeout: float = 120, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        environment.pop("FORCE_COLOR", None)
        return subprocess.run(
            [sys.executable, "-m", "vqgan_cli", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
