"""``make audit`` on what pip-audit answers; the tool itself is played by a script that prints what it printed once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.security.known_vulnerabilities import main

GOOD = {"name": "numpy", "version": "2.4.6", "vulns": []}
UNKNOWN = {
    "name": "torch",
    "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)",
}
ISSUE = {"id": "GHSA-abcd", "fix_versions": ["6.0.2"], "aliases": [], "description": "text"}
BAD = {"name": "pyyaml", "version": "6.0.1", "vulns": [ISSUE]}


def report(*packages: dict[str, Any]) -> str:
    return f"echo '{json.dumps({'dependencies': packages, 'fixes': []})}'"


@pytest.mark.parametrize(
    ("script", "code", "output"),
    [
        (None, 0, "audit: skipped, pip-audit is not installed"),
        (report(GOOD, UNKNOWN), 0, "audit: no known vulnerability in 1 packages"),
        (report(GOOD, BAD) + "; exit 1", 1, "audit: pyyaml 6.0.1 has GHSA-abcd; fixed in 6.0.2"),
        (report(UNKNOWN), 0, "audit: skipped, the service knows none of the 1 packages"),
        ("echo 'ConnectionError: no route' >&2; exit 1", 0,
         "audit: skipped, pip-audit gives no report: ConnectionError: no route"),
        ("exit 1", 0, "audit: skipped, pip-audit gives no report: exit code 1"),
        ("exec sleep 60", 0, "audit: skipped, no answer within 0.5 seconds"),
    ],
    ids=["absent", "good", "bad", "unknown", "unreachable", "broken", "silent"],
)  # fmt: skip
def test_audit(
    script: str | None,
    code: int,
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Oracle: reports and errors of pip-audit 2.10 as they were seen, with a network and without."""
    if script is not None:
        (tmp_path / "pip-audit").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "pip-audit").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # the tool is looked for beside it first
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("AUDIT_SECONDS", "0.5" if output.endswith("0.5 seconds") else "30")
    assert main() == code
    assert capfd.readouterr() == (output + "\n", "")
