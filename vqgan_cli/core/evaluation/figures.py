"""Figures as evaluations give them: a value, how sure it is, and of how many images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vqgan_cli.core.evaluation.report import Table

__all__ = ["Figure", "figures_json", "figures_table", "shown"]

_DIGITS = 4


@dataclass(frozen=True)
class Figure:
    """One result.

    Attributes:
        key: in JSON, spelled out: ``frechet_distance``, ``psnr``.
        label: for people, with the unit: ``PSNR (dB)``.
        value: NaN where it is not defined.
        images: that it is of.
        interval: the 95 % confidence interval; None where none makes sense, as for what is counted exactly.
        reference: number of images that it compares with; None: with none.
    """

    key: str
    label: str
    value: float
    images: int
    interval: tuple[float, float] | None = None
    reference: int | None = None


def figures_json(figures: Iterable[Figure]) -> dict[str, Any]:
    """By key: ``{"psnr": {"value": 28.1, "confidence_interval_95": [27.9, 28.3], "images": 200}}``.

    Without an interval that key is left out; a value that is not a finite number becomes None.
    """
    return {
        figure.key: {
            "value": _finite(figure.value),
            **({"confidence_interval_95": [*map(_finite, figure.interval)]} if figure.interval else {}),
            "images": figure.images,
            **({} if figure.reference is None else {"reference_images": figure.reference}),
        }
        for figure in figures
    }


def figures_table(figures: Iterable[Figure]) -> Table:
    """A row each."""
    rows = [
        (
            figure.label,
            shown(figure.value),
            " to ".join(map(shown, figure.interval)) if figure.interval else "",
            str(figure.images) + ("" if figure.reference is None else f" against {figure.reference}"),
        )
        for figure in figures
    ]
    return Table(("", "value", "95 % interval", "images"), rows)


def shown(value: float) -> str:
    """A number for people, with four significant digits; whole numbers in full."""
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    digits = max(0, _DIGITS - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}" if digits <= 2 * _DIGITS else f"{value:.{_DIGITS - 1}e}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
