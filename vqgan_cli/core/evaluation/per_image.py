"""Figures of single images: their mean with its interval, a table of them all, and which images lie at the ends."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.evaluation.figures import Figure
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.metrics.bootstrap import mean_interval

__all__ = ["IMAGES_FILE", "Extremes", "PerImage"]

IMAGES_FILE = "images.csv"

T = TypeVar("T")


class PerImage:
    """Some numbers per image, 8 bytes each.

    Args:
        labels: by key, the names of the numbers for people.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self.names: list[str] = []
        self._columns = {key: array("d") for key in labels}

    def add(self, name: str, values: Mapping[str, float]) -> None:
        """The numbers of one more image; NaN where one is not defined."""
        self.names.append(name)
        for key, column in self._columns.items():
            column.append(values[key])

    def column(self, key: str) -> npt.NDArray[np.float64]:
        """One number of all images, [N]."""
        return np.array(self._columns[key], np.float64)

    def figure(self, key: str) -> Figure:
        """The mean over the images for which the number is defined, with its interval."""
        values = self.column(key)
        values = values[~np.isnan(values)]
        mean = float(values.mean()) if len(values) else math.nan
        interval = mean_interval(values) if len(values) else None
        return Figure(key, self.labels[key], mean, len(values), interval)

    def figures(self) -> list[Figure]:
        """`figure` of every number."""
        return [self.figure(key) for key in self._columns]

    def write(self, path: Path) -> None:
        """A csv with a line per image.

        Raises:
            OutputError: it cannot be written.
        """
        with staged_file(path) as staging, staging.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", *self._columns])
            writer.writerows(zip(self.names, *self._columns.values(), strict=True))


class Extremes(Generic[T]):
    """What belongs to the lowest and to the highest of many scores, without keeping the rest.

    Args:
        count: how many of each.

    Attributes:
        lowest: (score, what belongs to it), the lowest first.
        highest: the same, the highest first.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.lowest: list[tuple[float, T]] = []
        self.highest: list[tuple[float, T]] = []

    def offer(self, score: float, make: Callable[[], T]) -> None:
        """Keep what ``make`` makes if the score is at an end so far; of equal scores the first stays, NaN never."""
        if math.isnan(score):
            return
        for kept, sign in ((self.lowest, 1), (self.highest, -1)):
            if len(kept) < self._count or sign * score < sign * kept[-1][0]:
                kept.append((score, make()))
                kept.sort(key=lambda each: sign * each[0])  # stable: the first of equal ones stays
                del kept[self._count :]
