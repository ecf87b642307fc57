"""Sizes on the command line."""

from __future__ import annotations

import itertools

import pytest

from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.sizes import nearest_multiples, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512x1024", (512, 1024)),  # height first
        ("256", (256, 256)),
        (" 16 X 32 ", (16, 32)),
        ("16×32", (16, 32)),
        ("1x999999", (1, 999_999)),
    ],
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "0", "0x16", "16x0", "16x", "x16", "-16x16", "1.5", "16x16x16", "16 16", "1000000", "16x16\n8"]
)  # fmt: skip
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert repr(text) in caught.value.message
    assert "HEIGHTxWIDTH" in str(caught.value.hint)


def test_nearest_multiples_bracket_the_size() -> None:
    """Closed form: below <= size <= above, both multiples, never 0, and one entry where they are the same."""
    for height, width in itertools.product([1, 15, 16, 17, 100], repeat=2):
        sizes = [parse_size(text) for text in nearest_multiples(height, width, 16)]
        below = tuple(max(16, side - side % 16) for side in (height, width))
        above = tuple(side + -side % 16 for side in (height, width))
        assert sizes == ([below, above] if below != above else [below])


def test_nearest_multiples_in_order_of_size() -> None:
    assert nearest_multiples(97, 1000, 16) == ["96x992", "112x1008"]
