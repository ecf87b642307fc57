"""``vqgan report``: one page that shows a run, or compares several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vqgan_cli.core.errors import OutputError, UsageError
from vqgan_cli.core.files import write_text
from vqgan_cli.core.pages.document import GENERATOR
from vqgan_cli.core.run_report.comparison import comparison
from vqgan_cli.core.run_report.live import REPORT_FILE
from vqgan_cli.core.run_report.page import page
from vqgan_cli.core.run_report.reading import read_run
from vqgan_cli.core.training.run_facts import is_run

__all__ = ["COMPARISON_FILE", "ReportResult", "report"]

COMPARISON_FILE = "comparison.html"


@dataclass(frozen=True)
class ReportResult:
    """The page, and what of the runs could not be read."""

    path: Path
    problems: list[str]


def report(runs: Sequence[Path], out: Path | None = None, *, force: bool = False) -> ReportResult:
    """Write the page of one run, or one that compares several; they may be at work.

    Args:
        runs: run folders, at least one.
        out: the page; None: ``report.html`` in the run's folder, of several ``comparison.html`` here.
        force: replace a file that is no page of this program.

    Raises:
        UsageError: a path is no run folder, or is named twice.
        OutputError: the page cannot be written, or another file is there.
    """
    for run in runs:
        _require_run(run)
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is named twice", hint="name each run once")
    target = out or (runs[0] / REPORT_FILE if len(runs) == 1 else Path(COMPARISON_FILE))
    _require_replaceable(target, force=force)
    records = [read_run(run, limit=1) if len(runs) > 1 else read_run(run) for run in runs]
    write_text(target, page(records[0]) if len(records) == 1 else comparison(records))
    return ReportResult(target, [problem for record in records for problem in record.problems])


def _require_run(folder: Path) -> None:
    try:
        if is_run(folder):
            return
        missing, is_file = not folder.exists(), folder.is_file()
        below = (
            sorted(each for each in folder.iterdir() if each.is_dir() and is_run(each))
            if folder.is_dir()
            else []
        )
    except PermissionError as error:
        raise UsageError(f"{str(error.filename)!r} cannot be read: permission denied") from None
    if missing:
        raise UsageError(
            f"{str(folder)!r} does not exist", hint="name the folder of a run, such as runs/demo-ae"
        )
    if is_file:
        raise UsageError(
            f"{str(folder)!r} is a file, and a run is a folder", hint="name the folder of the run"
        )
    hint = "name the folder that train-ae or train-transformer wrote to"
    if below:
        hint = f"there are runs in it, such as {str(below[0])!r}"
    raise UsageError(f"{str(folder)!r} is no run folder", hint=hint)


def _require_replaceable(target: Path, *, force: bool) -> None:
    """A page of this program may be replaced, and nothing else without ``--force``."""
    if target.is_dir():
        raise OutputError(
            f"{str(target)!r} is a folder", hint=f"name a file, such as {str(target / REPORT_FILE)!r}"
        )
    if force or not target.exists():
        return
    try:
        with target.open("rb") as file:
            begin = file.read(1000)
    except OSError as error:
        raise OutputError(f"cannot read {str(target)!r}: {error.strerror or error}") from None
    if f'<meta name="generator" content="{GENERATOR}">'.encode() not in begin:
        raise OutputError(
            f"{str(target)!r} exists and is no report",
            hint="overwrite with --force, or name another file with -o",
        )
