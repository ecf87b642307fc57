"""What a log holds when nobody watches: lines at intervals, and nothing that moves a cursor."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from vqgan_cli.cli import display
from vqgan_cli.cli.console import console

PROGRAM = """
from vqgan_cli.cli.display import ConsoleReporter
reporter = ConsoleReporter()
reporter.info("one file left out:")
reporter.info("  its name")
with reporter.progress("train", 3, "steps") as bar:
    for step in range(1, 4):
        bar.update(step, {"loss": "0.5"})
reporter.warning("that was all")
"""
LINES = ("one file left out:", "its name", "train: 3/3 steps", "warning: that was all")


def test_a_log_stays_readable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Four steps a second, by a clock that is set. Oracle: six lines in the first minute, one a minute in the end."""
    now = 0.0
    monkeypatch.setattr(console, "quiet", False)  # as a process begins
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    with display.ConsoleReporter().progress("train", 400_000, "steps") as bar:
        written = []
        for step in range(1, 86_400 * 4):
            now = step / 4
            if step % 240 == 0:
                written.append(capsys.readouterr().err.count("\n"))
            bar.update(step)
    assert written[0] in (5, 6)
    assert 1400 < sum(written) < 1600
    assert set(written[30:]) <= {0, 1, 2}


def run(stderr: int | None, tmp_path: Path, **env: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.DEVNULL, stderr=stderr or subprocess.PIPE, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stderr


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_a_file_gets_lines(env: dict[str, str], tmp_path: Path) -> None:
    """FORCE_COLOR, which continuous integration sets, asks for colour and not for a bar."""
    text = run(None, tmp_path, **env)
    assert "\r" not in text
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert len(lines) == len(LINES)
    for line, said in zip(lines, LINES, strict=True):
        stamp = r"  " if said == "its name" else r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
        assert re.match(stamp + re.escape(said), line)


def test_a_dumb_terminal_gets_lines_at_once(tmp_path: Path) -> None:
    parent, child = pty.openpty()
    run(child, tmp_path, TERM="dumb")
    os.close(child)
    shown = os.read(parent, 100_000).decode()
    os.close(parent)
    assert "\x1b" not in shown
    assert "train: 3/3 steps" in shown
