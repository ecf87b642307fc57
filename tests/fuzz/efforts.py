"""How often a property is tried: some tens of times with the same examples each time, or a thousand times and more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from vqgan_cli.core.errors import VqganError

__all__ = ["attempted", "efforts"]

T = TypeVar("T")

settings.register_profile(
    "few",
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,  # how long an example takes says more about the machine; what must end is run by `readers`
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("many", settings.get_profile("few"), max_examples=1500)

efforts = pytest.mark.parametrize(
    "effort",
    [
        pytest.param(settings.get_profile("few"), id="few"),
        pytest.param(settings.get_profile("many"), id="many", marks=pytest.mark.slow),
    ],
)
"""Gives a test its profile as ``effort``, with which it decorates the property."""


def attempted(call: Callable[[], T]) -> T | VqganError:
    """What a call returns, or the error of the project that it raises; any other error is a finding."""
    try:
        return call()
    except VqganError as error:
        return error
