"""How a run's validations went, against steps and against the time spent in training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vqgan_cli.core.errors import DataError
from vqgan_cli.core.presets import resolve

__all__ = ["Point", "at", "read_curve"]

_PREFIX = "validation/"


@dataclass(frozen=True)
class Point:
    """A validation.

    Attributes:
        step: steps before it.
        seconds: spent in these steps; validations, samples, checkpoints and the encoding of images not counted.
        values: what it found.
    """

    step: int
    seconds: float
    values: Mapping[str, float]


def read_curve(run: Path, section: str) -> list[Point]:
    """The validations of a run folder, in their order.

    Args:
        run: the folder.
        section: of its training, ``train_ae`` or ``train_transformer``.

    Raises:
        DataError: the log holds none.
    """
    config = resolve(str(run / "config.yaml"))
    settings = getattr(config, section)
    per_step = settings.batch_size * settings.accumulate
    unit = "images"
    if section == "train_transformer":
        per_step *= (config.data.size // config.tokenizer.downsampling) ** 2
        unit = "codes"
    points: list[Point] = []
    step, seconds = 0, 0.0
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        rate = record.get(f"{unit}_per_second")
        if rate:
            seconds += (record["step"] - step) * per_step / rate
            step = record["step"]
        found = {
            name.removeprefix(_PREFIX): float(value)
            for name, value in record.items()
            if name.startswith(_PREFIX)
        }
        if found and record["step"] != step:
            # Between two lines of training, whose rate is known only at the second.
            raise DataError(f"{str(run)!r}: its log has no line of training at step {record['step']}")
        if found:
            points.append(Point(step, seconds, found))
    if not points:
        raise DataError(f"{str(run)!r} has no validation in its log")
    return points


def at(curve: Sequence[Point], axis: Literal["step", "seconds"], place: float, key: str) -> float:
    """A value somewhere on a curve, between two validations by a straight line; at the ends the nearest one's.

    Args:
        curve: in rising order.
        axis: what ``place`` counts.
        place: where.
        key: of the value.
    """
    before = [point for point in curve if getattr(point, axis) <= place]
    after = [point for point in curve if getattr(point, axis) >= place]
    if not before or not after:
        return (before[-1] if before else after[0]).values[key]
    low, high = before[-1], after[0]
    span = getattr(high, axis) - getattr(low, axis)
    share = (place - getattr(low, axis)) / span if span else 0.0
    return low.values[key] * (1 - share) + high.values[key] * share
