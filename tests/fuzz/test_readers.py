"""Readers of files from elsewhere, on files that are damaged at random."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


@pytest.mark.parametrize(
    ("first", "last", "kinds"),
    [
        pytest.param(0, 300, ["images"], id="images"),
        pytest.param(0, 80, ["checkpoints", "models"], id="checkpoints-models"),
        pytest.param(300, 10_000, ["images"], id="images-many", marks=pytest.mark.slow),
        pytest.param(80, 10_000, ["checkpoints"], id="checkpoints-many", marks=pytest.mark.slow),
        pytest.param(80, 2_000, ["models"], id="models-many", marks=pytest.mark.slow),
    ],
)
def test_damaged_files(first: int, last: int, kinds: list[str]) -> None:
    """Invariant: errors of the project, and no others; no crash, no hang, no blow-up, nothing executed.

    The process has the limits, see `tests.fuzz.readers`; what it prints last is the seed of a finding.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.fuzz.readers", str(first), str(last), *kinds],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-3000:]
    *found, memory = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [each["kind"] for each in found] == kinds
    for each in found:
        assert each["read"] > 0
        assert each["refused"] > (last - first) / 2
    assert memory["grown"] < 256 << 20
