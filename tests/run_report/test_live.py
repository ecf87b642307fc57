"""When a report is written while its run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_report.runs import page_curve
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.run_report import live
from vqgan_cli.core.run_report.live import LiveReport, keep_report
from vqgan_cli.core.training.run_folder import RunFolder


class Listener(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def test_report_is_written_at_changes_of_state_and_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a clock that the test moves; lines of the log in quick succession make no report each."""
    now = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    run = RunFolder(tmp_path / "run")
    run.begin("name: demo\n")
    run.write_status("running", step=0, steps=10)
    keep_report(run, Reporter())

    def steps() -> list[int]:
        return page_curve(tmp_path / "run/report.html", "other-0")[0]

    run.log(1, {"x": 1.0})
    assert "Nothing is logged yet" in (tmp_path / "run/report.html").read_text("utf-8")
    now[0] += 21
    run.log(2, {"x": 1.0})
    assert steps() == [1, 2]
    run.log(3, {"x": 1.0})
    assert steps() == [1, 2]
    run.write_status("finished")
    assert steps() == [1, 2, 3]
    assert '<span class="state good">done</span>' in (tmp_path / "run/report.html").read_text("utf-8")
    run.close()


def test_slow_reports_are_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a hundredth of the time. One that takes 5 seconds is not due again for 500, but for the first, which has
    read what the others need not read.
    """
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    written: list[float] = []

    def slow(*_: object) -> None:
        now[0] += 5
        written.append(now[0])
        raise OutputError("full")

    monkeypatch.setattr(live, "write_text", slow)
    run, listener = RunFolder(tmp_path / "run"), Listener()
    report = LiveReport(run, listener)
    for second in range(0, 1300, 10):
        now[0] = max(now[0], second)
        report.update(False)
    assert written == [5, 35, 545, 1055]
    assert listener.warnings == ["report.html is not up to date: full"]
    run.close()


def test_each_report_reads_what_is_new(tmp_path: Path) -> None:
    """Oracle: a line that is changed in its place, which only who reads it again would see."""
    run = RunFolder(tmp_path / "run")
    run.begin("name: demo\n")
    for step in range(1, 101):
        run.log(step, {"x": 1.0})
    report = LiveReport(run, Reporter())
    report.update(True)
    with (tmp_path / "run/log.jsonl").open("r+b") as file:
        file.write(b'{"step": 7')
    run.log(101, {"x": 1.0})
    report.update(True)
    assert page_curve(tmp_path / "run/report.html", "other-0")[0] == list(range(1, 102))
    run.close()
