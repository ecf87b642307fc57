"""Plain values beside the weights of a checkpoint, such as the step: numbers, texts, and small containers of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["plain_items"]

MAX_DEPTH = 4
MAX_ITEMS = 1000
MAX_TEXT = 2000


class _OtherError(Exception):
    """A value that is not plain, or too large."""


def plain_items(items: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Copies of those values that are plain and small, and the names of the others."""
    plain: dict[str, Any] = {}
    left_out = []
    for name, value in items.items():
        try:
            plain[name] = _Copier().copy(value, MAX_DEPTH)
        except _OtherError:
            left_out.append(name)
    return plain, left_out


class _Copier:
    """Counts what it copies, as a container that is in itself or in many others would have no end."""

    def __init__(self) -> None:
        self._left = MAX_ITEMS

    def copy(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth < 0:
            raise _OtherError
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int) and abs(value) < 1 << 64:
            return value
        if isinstance(value, str) and len(value) <= MAX_TEXT:
            return value
        if isinstance(value, (list, tuple)):
            return [self.copy(each, depth - 1) for each in value]
        if isinstance(value, Mapping) and all(isinstance(key, (str, int)) for key in value):
            return {key: self.copy(each, depth - 1) for key, each in value.items()}
        raise _OtherError
