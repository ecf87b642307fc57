"""The log of a run, read a part at a time, and as it grows only what is new."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.run_report.curves import LAST_STEP, Curve
from vqgan_cli.core.training.environment import TrainingSession
from vqgan_cli.core.training.run_facts import log_record

__all__ = ["Log", "LogReader"]

_LINES = 2048
"""Read at a time, so that memory stays flat."""

_RECENT = 50
"""Lines of the log by which the speed is judged."""

_SEEN_AGAIN = 256
"""Bytes before the end of what was read, by which a log is known as the same."""

Floats = npt.NDArray[np.float64]

_Record = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """What a log tells.

    Attributes:
        curves: by name, in the order in which the names first came. A text that is no number, such as the time of a
            line, belongs to none.
        seconds: of training, pauses between sessions left out; None where fewer than two lines tell it.
        seconds_per_step: over the newest lines; None likewise.
    """

    curves: Mapping[str, Curve]
    seconds: float | None
    seconds_per_step: float | None


class LogReader:
    """Reads a log, and keeps what it has made of it for the next time; a run is looked at again and again."""

    def __init__(self) -> None:
        self._known = _Known(_Clock([]))

    def read(self, path: Path, sessions: Sequence[TrainingSession], problems: list[str]) -> Log:
        """All that is in a log; what was there the last time is not read again, unless the log is another one.

        Args:
            path: of the log; it need not exist.
            sessions: of the run.
            problems: gets a log that cannot be opened.
        """
        if not os.path.lexists(path):
            self._known = _Known(_Clock(sessions))
            return Log({}, None, None)
        try:
            with path.open("rb") as file:
                stat = os.fstat(file.fileno())
                identity = (stat.st_dev, stat.st_ino, *((each.time, each.start) for each in sessions))
                if not self._known.is_of(identity, file):
                    self._known = _Known(_Clock(sessions), identity)
                file.seek(self._known.read)
                lines = self._known.records(file)
                while records := [*islice(lines, _LINES)]:
                    self._known.add(records)
                self._known.remember(file)
        except OSError as error:
            self._known = _Known(_Clock(sessions))
            problems.append(f"{str(path)!r} cannot be read: {error.strerror or error}")
        known = self._known
        return Log({**known.curves}, known.clock.seconds, known.clock.seconds_per_step)


@dataclass
class _Known:
    """What was read of a log.

    Attributes:
        clock: for its times.
        identity: of the file and of the sessions that wrote it.
        read: bytes.
        end: the last of them.
        curves: by name.
    """

    clock: _Clock
    identity: tuple[object, ...] = ()
    read: int = 0
    end: bytes = b""
    curves: dict[str, Curve] = field(default_factory=dict)

    def is_of(self, identity: tuple[object, ...], file: IO[bytes]) -> bool:
        """Whether it was read of this file, where it is there still."""
        if identity != self.identity:
            return False
        file.seek(self.read - len(self.end))
        return file.read(len(self.end)) == self.end

    def remember(self, file: IO[bytes]) -> None:
        """Note by what `is_of` knows this file."""
        file.seek(max(0, self.read - _SEEN_AGAIN))
        self.end = file.read(min(self.read, _SEEN_AGAIN))

    def records(self, file: IO[bytes]) -> Iterator[_Record]:
        """The lines that follow, as far as they are whole."""
        for line in file:
            record = log_record(line)
            if record is None and not line.endswith(b"\n"):
                return  # somebody is writing it
            self.read += len(line)
            if record is not None:
                yield record

    def add(self, records: list[_Record]) -> None:
        """Put lines that follow into the curves."""
        steps = np.array([_step(record) for record in records], np.int64)
        for step, record in zip(steps.tolist(), records, strict=True):
            self.clock.add(step, record.get("time"))
        # Most lines have the same names in the same order, and then the values of a name are a column.
        tables: dict[tuple[str, ...], list[int]] = {}
        for line in np.flatnonzero(steps >= 0).tolist():
            tables.setdefault(tuple(records[line]), []).append(line)
        found: dict[str, list[tuple[npt.NDArray[np.intp], Floats]]] = {}
        for names, lines in tables.items():
            columns = zip(*(records[line].values() for line in lines), strict=True)
            for name, column in zip(names, columns, strict=True):
                if name not in ("step", "time"):
                    numbers, values = _numbers(column)
                    found.setdefault(name, []).append((np.array(lines)[numbers], values))
        for name, parts in found.items():
            lines_of, values_of = (np.concatenate(each) for each in zip(*parts, strict=True))
            if len(lines_of):
                order = np.argsort(lines_of)
                curve = self.curves.get(name, Curve())
                self.curves[name] = curve.extended(steps[lines_of[order]], values_of[order])


class _Clock:
    """How long the training took, from the times of its lines."""

    def __init__(self, sessions: Sequence[TrainingSession]) -> None:
        begun = [
            (time, session.start) for session in sessions if (time := _seconds(session.time)) is not None
        ]
        self._begun = deque(sorted(begun))
        self._previous: tuple[float, int] | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._total = 0.0

    def add(self, step: int, text: object) -> None:
        """One more line: a session's first one counts from its beginning, any other from the line before."""
        time = _seconds(text)
        if time is None or step < 0:
            return
        while self._begun and self._begun[0][0] <= time:
            self._previous = self._begun.popleft()
        if self._previous is not None:
            seconds = max(0.0, time - self._previous[0])  # below 0 where somebody has set the clock
            self._total += seconds
            self._recent.append((seconds, step - self._previous[1]))
        self._previous = time, step

    @property
    def seconds(self) -> float | None:
        """In all; None before there are two times."""
        return self._total if self._recent else None

    @property
    def seconds_per_step(self) -> float | None:
        """Of late; None before a step is done."""
        done = sum(max(0, steps) for _, steps in self._recent)
        return sum(seconds for seconds, _ in self._recent) / done if done else None


def _step(record: _Record) -> int:
    """That of a line; -1 where it is none that a page can show."""
    step = int(record["step"])
    return step if 0 <= step < LAST_STEP else -1


def _seconds(text: object) -> float | None:
    """A time of a log or session, in seconds; None where it is none, or of no known zone."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time.timestamp() if time.tzinfo else None


def _numbers(column: tuple[Any, ...]) -> tuple[npt.NDArray[np.intp], Floats]:
    """Which values of a column are numbers, or say that they are none, and these; text may be one, such as ``nan``."""
    with suppress(ValueError, OverflowError):
        return np.arange(len(column)), np.array(column, np.float64)
    found, values = [], []
    for place, value in enumerate(column):
        with suppress(ValueError, OverflowError):
            values.append(math.nan if value is None else float(value))
            found.append(place)
    return np.array(found, np.intp), np.array(values, np.float64)
