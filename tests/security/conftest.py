"""The command line inside the process of the test, and what Python's audit hears of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.recipes.conftest import _own_cache as _own_cache
from tests.recipes.conftest import coarse as coarse
from tests.recipes.conftest import tiny as tiny
from tests.recipes.conftest import vqgan as vqgan

NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
EXECUTION = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen"),
    "pickle.find_class",
)


class Audit:
    """Refuses, and notes, events of some names while it is switched on; a hook cannot be taken away again."""

    def __init__(self) -> None:
        self.forbidden: tuple[str, ...] = ()
        self.happened: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in self.forbidden:
            self.happened.append(f"{event} {arguments!r:.200}")
            raise PermissionError(f"{event} is forbidden here")


_AUDIT = Audit()


@pytest.fixture
def audit() -> Iterator[Audit]:
    """The audit, which forbids nothing yet."""
    _AUDIT.happened.clear()
    yield _AUDIT
    _AUDIT.forbidden = ()
