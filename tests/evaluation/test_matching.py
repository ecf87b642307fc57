"""Which classes are the same."""

from __future__ import annotations

import pytest

from vqgan_cli.core.evaluation.matching import match_classes

REFERENCE = {
    0: "n01440764_tench",
    1: "n02012849_crane",
    2: "n02099601_golden_retriever",
    3: "n03126707_crane",
}


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ({5: "Golden Retriever", 9: "tench"}, {5: 2, 9: 0}),  # by name, whatever the numbers
        ({0: "tench", 1: "crane", 3: "crane"}, {0: 0, 1: 1, 3: 3}),  # two of one name, by number
        (
            {4: "tench", 1: "crane", 3: "crane"},
            {4: 0},
        ),  # numbers mean something else here, and the name says nothing
        ({0: "tench", 1: "dog"}, {0: 0}),  # a name that the reference lacks
        ({2: "2", 7: "7"}, {2: 2}),  # no names at all
        ({0: "dog"}, {}),
        ({}, {}),
    ],
)
def test_match_classes(samples: dict[int, str], expected: dict[int, int]) -> None:
    assert match_classes(samples, REFERENCE) == expected
