"""Parts of photos: masks, cells and seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.generation.completion import (
    blend,
    drawn_cells,
    known_cells,
    parse_known,
    visible_share,
)


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("top:0.5", slice(0, 10), slice(None)),
        ("bottom:0.25", slice(15, 20), slice(None)),
        ("left:.3", slice(None), slice(0, 12)),
        ("right:0.1", slice(None), slice(36, 40)),
        ("box:2,3,12,30", slice(2, 12), slice(3, 30)),
        ("box:0.5,0,1,0.5", slice(10, 20), slice(0, 20)),
    ],
)
def test_forms(text: str, rows: slice, columns: slice) -> None:
    """Closed form: the rectangle."""
    expected = np.zeros((20, 40), bool)
    expected[rows, columns] = True
    assert np.array_equal(parse_known(text, 20, 40), expected)
    if text.startswith("box"):
        assert np.array_equal(parse_known(text.replace("box", "outside"), 20, 40), ~expected)


def test_mask_image(tmp_path: Path) -> None:
    """Oracle: the mask, at twice its size."""
    mask = np.random.default_rng(0).random((10, 20)) > 0.5
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    assert np.array_equal(parse_known(str(tmp_path / "mask.png"), 20, 40), mask.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("top:1.5", "between 0 and 1"),
        ("top:0", "between 0 and 1"),
        ("top", "expected one number"),
        ("box:1,2,3", "expected 4 numbers"),
        ("box:9,2,3,8", "in this order inside 20x40"),
        ("box:0,0,99,8", "in this order inside 20x40"),
        ("middle:0.5", "no such form"),
        ("absent.png", "no such file"),
        ("box:0,0,20,40", "nothing to draw"),
        ("outside:0,0,20,40", "nothing to keep"),
    ],
)
def test_wrong_forms(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_known(text, 20, 40)


def test_a_mask_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("no")
    with pytest.raises(ImageError):
        parse_known(str(tmp_path / "mask.png"), 20, 40)


def test_cells_are_known_as_a_whole_or_not() -> None:
    """Closed form: 9 of 16 columns and all rows: the second of four cells is cut."""
    mask = np.zeros((8, 16), bool)
    mask[:, :9] = True
    assert np.array_equal(known_cells(mask, 4), [[True, True, False, False]] * 2)


def test_strengths_are_nested_and_hold_on_average() -> None:
    """Invariant and closed form: a weaker change is part of a stronger one; shares within four deviations."""
    weak, strong = drawn_cells((64, 64), 0.3, 1, 2), drawn_cells((64, 64), 0.6, 1, 2)
    assert not (weak & ~strong).any()
    assert abs(strong.mean() - 0.6) < 4 * (0.6 * 0.4 / 4096) ** 0.5
    assert not np.array_equal(strong, drawn_cells((64, 64), 0.6, 1, 3))
    assert np.array_equal(strong, drawn_cells((64, 64), 0.6, 1, 2))
    assert drawn_cells((8, 8), 1.0, 0, 0).all()
    assert not drawn_cells((8, 8), 0.0, 0, 0).any()


def test_seam() -> None:
    """Closed form: half a cosine wave over the distance to the drawn half; drawn pixels and far ones are untouched."""
    original, drawn = np.full((6, 20, 3), 200, np.uint8), np.zeros((6, 20, 3), np.uint8)
    mask = np.zeros((6, 20), bool)
    mask[:, 10:] = True
    mixed = blend(original, drawn, mask, seam=4)
    distances = np.arange(1, 11).clip(max=5)
    expected = np.rint(200 * (1 - np.cos(np.pi * distances / 5)) / 2)
    assert (mixed[:, :10] == 0).all()
    assert (mixed[:, 10:, 0] == expected).all()
    assert (mixed[:, 14:] == 200).all()


def test_seam_around_a_corner() -> None:
    """Oracle: Euclidean distances, by trying every pixel."""
    mask = np.ones((16, 16), bool)
    mask[3, 4] = mask[10:, 9:] = False
    mixed = blend(np.full((16, 16, 3), 255, np.uint8), np.zeros((16, 16, 3), np.uint8), mask, seam=5)
    unknown = np.argwhere(~mask)
    for row, column in np.ndindex(16, 16):
        distance = min(6.0, np.hypot(*(unknown - (row, column)).T).min())
        expected = 255 * (1 - np.cos(np.pi * distance / 6)) / 2
        assert abs(mixed[row, column, 0] - expected) <= 0.51


@pytest.mark.parametrize(
    ("order", "rows", "share"),
    [
        ("row", slice(0, 2), 1.0),
        ("row", slice(2, 4), 0.0),
        ("row", slice(0, 4), 1.0),
        ("spiral-in", slice(0, 2), 0.0),
    ],
)
def test_what_the_model_can_see(order: str, rows: slice, share: float) -> None:
    """Closed form: what lies above is seen in row order, what lies below is not."""
    known = np.zeros((4, 4), bool)
    known[rows] = True
    assert visible_share(order, known) == share
