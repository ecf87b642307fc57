"""The command line inside the process of the test, and what Python's audit hears of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.recipes.conftest import _own_cache as _own_cache
from tests.recipes.conftest import coarse as coarse
from tests.recipes.conftest import tiny as tiny
from tests.recipes.conftest import vqgan as vqgan
from tests.security.audit import Audit


@pytest.fixture(scope="session")
def _audit() -> Audit:
    return Audit()


@pytest.fixture
def audit(_audit: Audit) -> Iterator[Audit]:
    """The audit, which forbids nothing yet."""
    _audit.happened.clear()
    yield _audit
    _audit.forbidden = ()
