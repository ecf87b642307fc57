"""Properties of what reads sizes, classes, times, parts of photos and addresses from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.fuzz.efforts import attempted, efforts
from vqgan_cli.cli.training import parse_duration
from vqgan_cli.core.cache import cache_root
from vqgan_cli.core.data.listing import natural_order
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.generation.completion import parse_known
from vqgan_cli.core.published.locations import parse_remote
from vqgan_cli.core.sizes import parse_size

SIDES = st.integers(1, 999_999)
DIGITS = st.text("0123456789", max_size=30) | st.integers(4300, 5000).map("9".__mul__)


@efforts
def test_sizes(effort: settings) -> None:
    """Oracle: the numbers that were written, in every spelling; any other text is refused."""

    @effort
    @given(SIDES, SIDES, st.sampled_from(["x", "X", " x ", "×"]))
    def spelt(height: int, width: int, between: str) -> None:
        assert parse_size(f" {height}{between}{width}") == (height, width)
        assert parse_size(str(height)) == (height, height)

    @effort
    @given(st.text(max_size=20) | st.builds("{}x{}".format, *[DIGITS | st.sampled_from("012")] * 2))
    def any_text(text: str) -> None:
        found = attempted(lambda: parse_size(text))
        assert isinstance(found, UsageError) or all(0 < side < 10**6 for side in found)

    spelt()
    any_text()


@efforts
def test_classes(effort: settings) -> None:
    """Oracle: the place in the list, for every name that is one; any other text is refused or means classes."""
    names = st.lists(st.text("ab_ -1,", min_size=1, max_size=6) | DIGITS.filter(bool), min_size=1, max_size=6)

    @effort
    @given(names, st.text(max_size=10) | DIGITS | st.sampled_from(["all", "0,1", ",", "0,,1"]))
    def holds(names: list[str], text: str) -> None:
        classes = ClassNames(names, len(names))
        found = attempted(lambda: classes.find(text))
        if isinstance(found, UsageError):
            assert found.hint
        else:
            assert found
            assert set(found) <= set(range(len(names)))
            assert len(set(found)) == len(found)
        for index, name in enumerate(names):
            found = attempted(lambda name=name: classes.find(name))
            # Several may have this name, or nothing but spaces is left of it.
            assert isinstance(found, UsageError) or index in found
        number = str(len(names) - 1)
        if not any(number in name for name in names):  # which wins over a number
            assert classes.find(number) == [len(names) - 1]

    holds()


@efforts
def test_times(effort: settings) -> None:
    """Oracle: seconds, minutes and hours added up."""
    units = st.builds("{}{}".format, DIGITS, st.sampled_from(["", "h", "m", "s"]))

    @effort
    @given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 9999))
    def added(hours: int, minutes: int, seconds: int) -> None:
        assume(hours + minutes + seconds)
        assert parse_duration(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds

    @effort
    @given(st.text("0123456789hms.- ", max_size=12) | st.text(max_size=10) | units)
    def any_text(text: str) -> None:
        found = attempted(lambda: parse_duration(text))
        assert isinstance(found, UsageError) or found > 0

    added()
    any_text()


@efforts
def test_parts_of_photos(effort: settings) -> None:
    """Invariant: something is known and something is not, or the text is refused."""
    forms = st.sampled_from(["top", "bottom", "left", "right", "box", "outside", "middle", ""])
    number = (
        DIGITS
        | st.floats(-2, 40).map(str)
        | st.text(max_size=4)
        | st.sampled_from(["0.01", "0.99", "0", "1"])
    )
    numbers = st.lists(number, max_size=5).map(",".join) | number

    @effort
    @given(st.builds("{}:{}".format, forms, numbers) | st.text(max_size=10))
    def holds(text: str) -> None:
        mask = attempted(lambda: parse_known(text, 24, 40))
        assert isinstance(mask, UsageError) or (mask.shape == (24, 40) and 0 < mask.sum() < mask.size)

    holds()


@efforts
def test_addresses_stay_in_the_folder_of_downloads(effort: settings) -> None:
    """Invariant: whatever an address says, its file lies below downloads/ of the cache, under a name of its own."""
    hosts = st.sampled_from(
        ["huggingface.co", "huggingface.co/o/r/resolve/main", "x.test", "..", "[::1]", "[", "a:1", ""]
    )
    odd = [
        "..",
        ".",
        "",
        "%2e%2e",
        "%2F..%2F..",
        "resolve",
        "main",
        "a.ckpt",
        "a@b",
        "%00",
        "a" * 300,
        "o",
        "\\",
    ]
    climbing = st.lists(st.sampled_from(["..", "%2e%2e", "a.ckpt"]), min_size=2, max_size=6)
    paths = (st.lists(st.sampled_from(odd) | st.text(max_size=5), max_size=6) | climbing).map("/".join)
    starts = st.builds("https://{}".format, hosts) | st.sampled_from(["hf://o/r", "hf://", "http:/"])
    addresses = st.builds("{}/{}".format, starts, paths)

    @effort
    @given(addresses | st.text(max_size=20))
    def holds(text: str) -> None:
        remote = attempted(lambda: parse_remote(text))
        if remote is None or isinstance(remote, UsageError):
            return
        root = Path(cache_root(), "downloads").resolve()
        place = Path(str(remote.place))
        assert place.resolve().is_relative_to(root)
        assert place.resolve() != root
        assert "\0" not in str(place)
        assert max(len(part.encode()) for part in place.parts) <= 255
        assert str(remote)

    holds()


@efforts
def test_the_order_of_names(effort: settings) -> None:
    """Invariants: names of any kind have one order, and in it numbers are as numbers."""

    @effort
    @given(st.lists(st.text(max_size=8) | DIGITS, max_size=6), st.integers(0, 10**9), st.integers(0, 10**9))
    def holds(names: list[str], one: int, other: int) -> None:
        backwards = names[::-1]
        assert sorted(names, key=natural_order) == sorted(backwards, key=natural_order)
        before = natural_order(f"img{one}.png") < natural_order(f"img{other}.png")
        assert before == (one < other)

    holds()


def test_numbers_that_python_does_not_read() -> None:
    """Closed form: 5,000 digits are more than `int` takes, and no reason for a traceback."""
    long = "9" * 5000
    for parse in (parse_size, parse_duration, ClassNames(["cat"], 1).find):
        with pytest.raises(UsageError):
            parse(long)
    assert natural_order(f"a{long}") < natural_order(f"a{long}9")
    assert ClassNames([long], 1).find("0") == [0]
