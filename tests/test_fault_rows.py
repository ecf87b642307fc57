"""Every fault is caused in a test for every command that meets it."""

from __future__ import annotations

import pytest

from tests.conftest import COLLECTED
from tests.fault_rows import ROWS


def test_every_command_meets_its_faults(request: pytest.FixtureRequest) -> None:
    """Oracle: the table of faults."""
    if request.config.args != [str(request.config.rootpath / "tests")] and request.config.args != ["tests"]:
        pytest.skip("not the whole suite was collected")
    marked = {(row, command) for test in COLLECTED for row, commands in test.faults for command in commands}
    expected = {(number, command) for number, row in ROWS.items() for command in row.commands}
    assert not marked - expected, "marked with a fault that the table does not have"
    assert not expected - marked, "no test causes these"
