"""What a pickle can be built of beside Python's plain values. None of it does anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = [
    "Builder",
    "Namespace",
    "StandIn",
    "StorageKind",
    "StorageRecord",
    "TensorRecord",
    "UnsuitableError",
    "require_key",
]


class UnsuitableError(Exception):
    """A value of a type or size that is not expected in its place; the reader of the pickle says where."""


class StandIn:
    """A class, a function, or what one of them would have made: nothing but the name.

    Attributes:
        name: with its module, such as ``pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint``.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Namespace(dict[str, Any]):
    """An object whose attributes are kept as items."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A class or function that is known: makes one plain value.

    Attributes:
        name: with its module.
        build: checks the types of its arguments; raises `UnsuitableError`.
    """

    name: str
    build: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class StorageKind:
    """The class of a storage; its type is None where each tensor states its own."""

    dtype: torch.dtype | None

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize if self.dtype else 1


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A run of numbers in a file.

    Attributes:
        key: its name in the file.
        kind: type of its elements.
        start: first element of the stored run that belongs to it.
        length: number of elements.
    """

    key: str
    kind: StorageKind
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor as the pickle describes it, with the meaning of `torch.as_strided`; only types were checked."""

    storage: StorageRecord
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


_KEYS = (str, int, float, bool, complex, bytes, type(None), StandIn, Builder, StorageKind, torch.dtype)


def require_key(key: Any) -> None:
    """Check that a value can be looked up at no cost: a scalar, a name, or a short flat tuple of them.

    The hash of a tuple that holds a million others, one in the next, would end the whole process.

    Raises:
        UnsuitableError: it is something else.
    """
    if type(key) is tuple and len(key) > 16:
        raise UnsuitableError
    for part in key if type(key) is tuple else (key,):
        if type(part) not in _KEYS:
            raise UnsuitableError
