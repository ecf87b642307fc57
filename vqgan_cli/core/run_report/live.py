"""A report that is rewritten while its run goes on, at little cost and without harm."""

from __future__ import annotations

import time

from vqgan_cli.core.files import write_text
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.run_report.log import LogReader
from vqgan_cli.core.run_report.page import page
from vqgan_cli.core.run_report.pictures import FrameReader
from vqgan_cli.core.run_report.reading import read_run
from vqgan_cli.core.training.run_folder import RunFolder

__all__ = ["REPORT_FILE", "LiveReport", "keep_report"]

REPORT_FILE = "report.html"

_LEAST_SECONDS = 20.0
_SHARE = 0.01
"""Of the time, at most, is spent on reports."""


def keep_report(run: RunFolder | None, reporter: Reporter) -> None:
    """Have a report in the run folder from now on; without a folder, as in all processes but the first, none."""
    if run is not None:
        run.watcher = LiveReport(run, reporter).update
        run.watcher(True)


class LiveReport:
    """Writes ``report.html`` into a run folder whenever something is new there and it is time.

    It is written when the state of the run changes, and in between no more often than every 20 seconds, nor so often
    that it takes more than a hundredth of the time; the first one, which reads all that is there, is not counted. The
    others read what is new. Whatever goes wrong is told once, and the run goes on.

    Args:
        run: the folder, which this process holds.
        reporter: gets the warning.
    """

    def __init__(self, run: RunFolder, reporter: Reporter) -> None:
        self._run, self._reporter = run, reporter
        self._frames, self._log = FrameReader(), LogReader()
        self._next = 0.0
        self._first = True
        self._warned = False

    def update(self, now: bool) -> None:
        """Something is new.

        Args:
            now: write the report, whenever the last one was.
        """
        begun = time.monotonic()
        if not now and begun < self._next:
            return
        try:
            record = read_run(self._run.path, self._frames, self._log, state=self._run.state)
            write_text(self._run.path / REPORT_FILE, page(record))
        except Exception as error:
            # A picture of the training is never worth the training: not with a full disk, not with a bug in it.
            if not self._warned:
                self._warned = True
                self._reporter.warning(f"{REPORT_FILE} is not up to date: {error or type(error).__name__}")
        ended = time.monotonic()
        spent = 0.0 if self._first else ended - begun
        self._first = False
        self._next = ended + max(_LEAST_SECONDS, spent / _SHARE)
