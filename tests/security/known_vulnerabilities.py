"""``make audit``: fails if a package of this environment has a known vulnerability, and says so where it cannot know.

pip-audit asks a service on the network. Where it is not installed or gets no answer, nothing fails: a check that needs
a network would fail for reasons that are none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main() -> int:
    """The exit code: 1 if there is a known vulnerability."""
    seconds = float(os.environ.get("AUDIT_SECONDS", "30"))
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    tool = shutil.which("pip-audit", path=folders)
    if tool is None:
        return _skipped("pip-audit is not installed")
    installed = sysconfig.get_path("purelib")
    options = [
        "--path",
        installed,
        "--skip-editable",
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--timeout",
        "5",
    ]
    try:
        done = subprocess.run([tool, *options], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return _skipped(f"no answer within {seconds:g} seconds")
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return _skipped(f"pip-audit gives no report: {last[0][:200]}")
    known = [package for package in packages if "vulns" in package]
    if not known:
        return _skipped(f"the service knows none of the {len(packages)} packages")
    found = [(package, each) for package in known for each in package["vulns"]]
    for package, each in found:
        fixed = ", ".join(each["fix_versions"]) or "no version"
        print(f"audit: {package['name']} {package['version']} has {each['id']}; fixed in {fixed}")
    if not found:
        print(f"audit: no known vulnerability in {len(known)} packages")
    return 1 if found else 0


def _skipped(reason: str) -> int:
    print(f"audit: skipped, {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
