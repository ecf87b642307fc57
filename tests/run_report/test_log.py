"""The log of a run, damaged or not, read at once and as it grows."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.run_report.runs import write_log
from vqgan_cli.core.files import write_text
from vqgan_cli.core.run_report.curves import thin
from vqgan_cli.core.run_report.log import Log, LogReader
from vqgan_cli.core.training.environment import TrainingSession


def read(folder: Path, reader: LogReader | None = None, *sessions: TrainingSession) -> Log:
    problems: list[str] = []
    log = (reader or LogReader()).read(folder / "log.jsonl", sessions, problems)
    assert not problems
    return log


def session(second: int, start: int) -> TrainingSession:
    return TrainingSession(at(second), start, "cpu", 1, "fp32", "", {})


def at(second: int) -> str:
    return (datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=second)).isoformat()


def assert_equal(log: Log, other: Log) -> None:
    assert list(log.curves) == list(other.curves)
    for name, curve in log.curves.items():
        assert curve.points == pytest.approx(other.curves[name].points, nan_ok=True), name
        assert (curve.size, curve.length, curve.odd_at) == (
            other.curves[name].size, other.curves[name].length, other.curves[name].odd_at
        )  # fmt: skip
    assert (log.seconds, log.seconds_per_step) == pytest.approx((other.seconds, other.seconds_per_step))


def test_log_with_a_line_cut_short_and_foreign_lines(tmp_path: Path) -> None:
    """Oracle: the values that were written."""
    write_log(tmp_path, [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0, "note": "text"}])
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'[1, 2]\n"text"\n{"loss": 9}\n{"step": "x", "loss": 9}\n{"step": -4, "loss": 9}\n')
        file.write(b'{"step": 1e300, "loss": 9}\n{"step": 1e999, "loss": 9}\n{"step": 9, "loss": [9]}\n\n')
        file.write(b'{"step": 3, "lo\xff": 1}\n{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    curves = read(tmp_path).curves
    assert list(curves) == ["loss", "lo\N{REPLACEMENT CHARACTER}"]
    assert curves["loss"].steps.tolist() == [1, 2, 3]
    assert curves["loss"].values.tolist() == [3.0, 2.0, 1.0]


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    """As this program writes them, and as another's JSON does; text that is no number is not there at all."""
    values = ["nan", "inf", "-inf", math.nan, math.inf, None, 1.0, 10**400, "text", True]
    write_log(tmp_path, [{"step": step, "loss": value} for step, value in enumerate(values)])
    curve = read(tmp_path).curves["loss"]
    thinned = thin(curve)
    assert thinned["x"] == [0, 1, 2, 3, 4, 5, 6, 9]
    assert thinned["y"] == [None] * 6 + [1.0, 1.0]
    assert thinned["odd_at"] == [0, 1, 2, 3, 4, 5]
    json.dumps(thinned, allow_nan=False)
    assert curve.extreme(greatest=True) == curve.extreme(greatest=False) == (6, 1.0)


def test_names_that_come_and_go(tmp_path: Path) -> None:
    """Lines of several kinds in turns, as with validations and losses that begin late. Oracle: the later line of a
    step, also of another kind.
    """
    lines = [{"step": 1, "a": 1.0}, {"step": 2, "b": 2.0, "a": 2.0}, {"step": 3, "a": 3.0}]
    write_log(tmp_path, [*lines, {"step": 2, "a": 20.0}, {"step": 3, "b": 3.0, "a": 30.0}])
    curves = read(tmp_path).curves
    assert [*curves] == ["a", "b"]
    assert curves["a"].values.tolist() == [1.0, 20.0, 30.0]
    assert curves["b"].steps.tolist() == [2, 3]


def long_log(folder: Path, count: int = 9000) -> bytes:
    """A log of so many steps, three of them logged each second, and validations; in two sessions."""
    random = np.random.default_rng(0)
    lines = []
    for step in range(1, count + 1):
        time = at(step // 3 + 100 * (step > count // 2))
        lines.append({"step": step, "time": time, "loss": random.normal(), "rate": 0.1})
        if step % 500 == 0:
            lines.append({"step": step, "time": time, "validation/loss": random.normal()})
    write_log(folder, lines)
    return (folder / "log.jsonl").read_bytes()


def test_reading_as_it_grows(tmp_path: Path) -> None:
    """Oracle: the whole log, read at once; it was looked at after parts that end anywhere in a line."""
    text = long_log(tmp_path)
    sessions = (session(0, 0), session(1600, 4500))
    whole = read(tmp_path, None, *sessions)
    reader, path = LogReader(), tmp_path / "log.jsonl"
    path.write_bytes(b"")
    for begin, end in zip(
        (parts := [0, 1, 7, 999, 40_000, 40_001, 500_000, len(text)]), parts[1:], strict=False
    ):
        with path.open("ab") as file:
            file.write(text[begin:end])
        grown = read(tmp_path, reader, *sessions)
    assert_equal(grown, whole)
    assert whole.curves["loss"].size > 1
    assert whole.curves["loss"].last()[0] == 9000


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    """Oracle: a first line that is changed in its place, which only who reads it would see."""
    long_log(tmp_path, 100)
    reader, path = LogReader(), tmp_path / "log.jsonl"
    before = read(tmp_path, reader)
    with path.open("r+b") as file:
        file.write(b'{"step": 5')
    with path.open("ab") as file:
        file.write(json.dumps({"step": 101, "time": at(34), "loss": 5.0}).encode())  # no end of line yet
    after = read(tmp_path, reader)
    assert after.curves["loss"].values.tolist() == [*before.curves["loss"].values.tolist(), 5.0]
    with path.open("ab") as file:
        file.write(b"\n")
    assert_equal(read(tmp_path, reader), after)
    assert read(tmp_path).curves["loss"].last() == (101, 5.0)
    assert 1 not in read(tmp_path).curves["loss"].steps


@pytest.mark.parametrize("how", ["replaced", "in its place", "cut", "removed", "other sessions"])
def test_another_log_is_read_anew(how: str, tmp_path: Path) -> None:
    """As after a resume, which drops lines. Oracle: a reader that has seen nothing before."""
    text, reader, path = long_log(tmp_path, 200).decode(), LogReader(), tmp_path / "log.jsonl"
    read(tmp_path, reader)
    sessions = []
    other = text.replace('"loss": 0', '"loss": 7') + text[-80:]
    if how == "replaced":
        write_text(path, other)
    elif how == "in its place":
        path.write_text(other.replace("rate", "etar"))
    elif how == "cut":
        os.truncate(path, 1000)
    elif how == "removed":
        path.unlink()
    else:
        sessions = [session(20, 60)]
    found = read(tmp_path, reader, *sessions)
    assert_equal(found, read(tmp_path, None, *sessions))
    assert bool(found.curves) == (how != "removed")


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.symlink_to(path)
    problems: list[str] = []
    assert LogReader().read(path, [], problems).curves == {}
    assert "log.jsonl' cannot be read: " in problems[0]


def test_time_of_training(tmp_path: Path) -> None:
    """Closed form: pauses between sessions do not count; a clock that somebody sets back is no time."""
    times = [(10, 10), (20, 20), (20, 21), (30, 30), (40, 1010), (50, 1005), (60, 1020)]
    write_log(tmp_path, [{"step": step, "time": at(second), "x": 1} for step, second in times])
    log = read(tmp_path, None, session(0, 0), session(1000, 30))
    assert (log.seconds, log.seconds_per_step) == (30 + 25, 55 / 60)
    without = read(tmp_path)
    assert (without.seconds, without.seconds_per_step) == (1015, 1015 / 50)
    write_log(
        tmp_path, [{"step": 1, "time": "yesterday", "x": 1}, {"step": 2, "time": at(3), "x": 1}, {"step": 3}]
    )
    assert (read(tmp_path).seconds, read(tmp_path).seconds_per_step) == (None, None)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Oracle: what tracemalloc counts. A log of four times as many lines takes no more, while it is read or later."""
    import tracemalloc

    peaks = []
    for count in (20_000, 80_000):
        long_log(tmp_path, count)
        reader = LogReader()
        tracemalloc.start()
        read(tmp_path, reader)
        peaks.append(tracemalloc.get_traced_memory())
        tracemalloc.stop()
    (kept, peak), (more_kept, more_peak) = peaks
    assert more_kept < 1.3 * kept
    assert more_peak < 1.3 * peak
