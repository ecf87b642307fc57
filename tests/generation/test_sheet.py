"""The contact sheet's shape."""

from __future__ import annotations

import pytest

from vqgan_cli.core.generation.folder import sheet_columns


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        ([None] * 8, 3),  # no classes: about square
        ([3] * 5, 3),
        ([c for c in range(12) for _ in range(4)], 8),  # two classes in a row
        ([0, 0, 0, 1, 1, 1], 3),  # a class in a row
        ([0, 1, 2, 0], 2),
        ([0, 0, 1], 2),  # unequal
    ],
)
def test_columns(labels: list[int | None], columns: int) -> None:
    """Oracle: counted by hand."""
    assert sheet_columns(labels) == columns
