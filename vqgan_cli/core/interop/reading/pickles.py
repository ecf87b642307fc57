"""Reads pickles without executing anything.

Python's own unpickler imports what a pickle names and calls what it says. A subclass can choose what names mean, but
it still calls methods of what was built, sets attributes by names of the file, and can be made to allocate any amount
of memory with a few bytes. So the opcodes are interpreted here, by their description in `pickletools`. There is no
import, no attribute access and no call by a name of the file in this interpreter: it pushes values, fills containers
that it made itself, and calls the builders of `pickled_names`, whose results cost no more than the file itself.
"""

from __future__ import annotations

import mmap
import pickle
import struct
from collections.abc import Callable
from typing import Any

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading.cursor import Cursor
from vqgan_cli.core.interop.reading.pickled_names import resolve
from vqgan_cli.core.interop.reading.pickled_values import (
    Builder,
    Namespace,
    StandIn,
    UnsuitableError,
    require_key,
)

__all__ = ["read_pickle"]

MAX_OPCODES = 10_000_000
"""A checkpoint of a thousand tensors has about 50,000."""


def read_pickle(
    data: bytes | mmap.mmap, start: int, end: int, where: str, persistent: Callable[[Any], Any] | None = None
) -> tuple[Any, int]:
    """Build what one pickle describes.

    Args:
        data: holds the pickle.
        start: where it begins.
        end: where it ends at the latest.
        where: of what file, for messages.
        persistent: what a persistent id stands for; raises `UnsuitableError`. None: there must be none.

    Returns:
        The value, of plain types and those of `pickled_values`; and the position after the pickle.

    Raises:
        ModelError: it is damaged or cut short, or asks for something that weights do not need.
    """
    at = Cursor(data, start, end, where)
    # What builders copy is in the file too, so the copies of an honest pickle cannot be much larger than it.
    machine = _Machine(at, 4 * (end - start) + (1 << 20), persistent)
    try:
        return machine.run(), at.position
    except UnsuitableError:
        raise at.damaged("a value of an unexpected type") from None
    except IndexError:
        raise at.damaged("a value is missing") from None


class _Machine:
    """A stack, marks in it, and a memo."""

    def __init__(self, at: Cursor, budget: int, persistent: Callable[[Any], Any] | None) -> None:
        self.at = at
        self._budget = budget
        self._persistent = persistent
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self.at.take(1) != pickle.PROTO or self.at.number(1) not in (2, 3, 4, 5):
            raise ModelError(f"{self.at.where} is no pickle of a kind that PyTorch writes")
        for _ in range(MAX_OPCODES):
            opcode = self.at.take(1)
            if opcode == pickle.STOP:
                return self._stack.pop()
            action = _ACTIONS.get(opcode)
            if action is None:
                raise self.at.damaged(f"opcode {opcode!r} is not one that PyTorch writes")
            action(self)
        raise self.at.damaged(f"it has more than {MAX_OPCODES:,} steps")

    # Stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._below.pop()
        return items

    def _pop_tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise self.at.damaged(f"entry {index} of the memo is missing")
        self._push(self._memo[index])

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    # Numbers and texts

    def _long(self, size: int) -> None:
        self._push(int.from_bytes(self.at.take(size), "little", signed=True))

    def _string(self, size: int) -> None:
        """A string of Python 2: text, or bytes where it is none."""
        raw = self.at.take(size)
        try:
            self._push(raw.decode())
        except UnicodeDecodeError:
            self._push(raw)

    # Containers

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not StandIn:
            raise UnsuitableError

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if len(items) % 2:
            raise IndexError
        if type(target) in (dict, Namespace):
            for key, value in zip(items[::2], items[1::2], strict=True):
                require_key(key)
                target[key] = value
        elif type(target) is not StandIn:
            raise UnsuitableError

    def _dict(self) -> None:
        items = self._pop_mark()
        self._push({})
        self._set_items(items)

    def _add_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is set:
            for item in items:
                require_key(item)
                target.add(item)
        elif type(target) is not StandIn:
            raise UnsuitableError

    def _frozenset(self) -> None:
        items = self._pop_mark()
        for item in items:
            require_key(item)
        self._push(frozenset(items))

    # Names and what is built by them

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise UnsuitableError
        self._push(resolve(module, name, self.at.where))

    def _extension(self) -> None:
        raise ModelError(
            f"{self.at.where} uses Python's registry of extensions, which weights do not need; nothing was executed"
        )

    def _build(self, function: Any, arguments: Any, named: Any = None) -> None:
        if type(arguments) is not tuple:
            raise UnsuitableError
        if type(function) is StandIn:
            self._push(StandIn(function.name))
            return
        if type(function) is not Builder:
            raise self.at.damaged(f"it calls a value of type {type(function).__name__}")
        if named or len(arguments) > 64:
            raise UnsuitableError
        self._charge(*arguments)
        try:
            self._push(function.build(*arguments))
        except (TypeError, UnsuitableError):  # a wrong number, or wrong types
            raise self.at.damaged(f"{function.name} is given arguments that it does not take") from None

    def _charge(self, *values: Any) -> None:
        self._budget -= sum(len(value) for value in values if type(value) in _SIZED)
        if self._budget < 0:
            raise self.at.damaged("it copies more than it holds")

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._build(function, arguments)

    def _new_object_named(self) -> None:
        named, arguments, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if type(named) is not dict:
            raise UnsuitableError
        self._build(function, arguments, named)

    def _set_state(self) -> None:
        """Attributes of what was built: kept for a namespace; nothing else that is built has any."""
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is Namespace:
            if type(state) is not dict:
                raise UnsuitableError
            self._charge(state)
            target.update(state)

    def _persistent_id(self) -> None:
        if self._persistent is None:
            raise self.at.damaged("it refers to something outside itself")
        self._push(self._persistent(self._stack.pop()))


_SIZED = (str, bytes, list, tuple, dict, set, frozenset, Namespace)

_ACTIONS: dict[bytes, Callable[[_Machine], object]] = {
    pickle.PROTO: lambda m: m.at.number(1),
    pickle.FRAME: lambda m: m.at.number(8),
    pickle.MARK: _Machine._mark,
    pickle.POP: lambda m: m._stack.pop(),
    pickle.POP_MARK: _Machine._pop_mark,
    pickle.DUP: lambda m: m._push(m._stack[-1]),
    pickle.NONE: lambda m: m._push(None),
    pickle.NEWTRUE: lambda m: m._push(True),
    pickle.NEWFALSE: lambda m: m._push(False),
    pickle.BININT: lambda m: m._long(4),
    pickle.BININT1: lambda m: m._push(m.at.number(1)),
    pickle.BININT2: lambda m: m._push(m.at.number(2)),
    # LONG4, for numbers of more than 255 bytes, is left out: a model has none.
    pickle.LONG1: lambda m: m._long(m.at.number(1)),
    pickle.BINFLOAT: lambda m: m._push(struct.unpack(">d", m.at.take(8))[0]),
    pickle.BINSTRING: lambda m: m._string(m.at.number(4)),
    pickle.SHORT_BINSTRING: lambda m: m._string(m.at.number(1)),
    pickle.BINUNICODE: lambda m: m._push(m.at.text(m.at.number(4))),
    pickle.SHORT_BINUNICODE: lambda m: m._push(m.at.text(m.at.number(1))),
    pickle.BINUNICODE8: lambda m: m._push(m.at.text(m.at.number(8))),
    pickle.BINBYTES: lambda m: m._push(m.at.take(m.at.number(4))),
    pickle.SHORT_BINBYTES: lambda m: m._push(m.at.take(m.at.number(1))),
    pickle.BINBYTES8: lambda m: m._push(m.at.take(m.at.number(8))),
    pickle.BYTEARRAY8: lambda m: m._push(m.at.take(m.at.number(8))),
    pickle.EMPTY_LIST: lambda m: m._push([]),
    pickle.APPEND: lambda m: m._extend([m._stack.pop()]),
    pickle.APPENDS: lambda m: m._extend(m._pop_mark()),
    pickle.LIST: lambda m: m._push(m._pop_mark()),
    pickle.EMPTY_TUPLE: lambda m: m._push(()),
    pickle.TUPLE: lambda m: m._push(tuple(m._pop_mark())),
    pickle.TUPLE1: lambda m: m._pop_tuple(1),
    pickle.TUPLE2: lambda m: m._pop_tuple(2),
    pickle.TUPLE3: lambda m: m._pop_tuple(3),
    pickle.EMPTY_DICT: lambda m: m._push({}),
    pickle.DICT: _Machine._dict,
    pickle.SETITEM: lambda m: m._set_items([m._stack.pop(), m._stack.pop()][::-1]),
    pickle.SETITEMS: lambda m: m._set_items(m._pop_mark()),
    pickle.EMPTY_SET: lambda m: m._push(set()),
    pickle.ADDITEMS: lambda m: m._add_items(m._pop_mark()),
    pickle.FROZENSET: _Machine._frozenset,
    pickle.BINGET: lambda m: m._get(m.at.number(1)),
    pickle.LONG_BINGET: lambda m: m._get(m.at.number(4)),
    pickle.BINPUT: lambda m: m._put(m.at.number(1)),
    pickle.LONG_BINPUT: lambda m: m._put(m.at.number(4)),
    pickle.MEMOIZE: lambda m: m._put(len(m._memo)),
    pickle.GLOBAL: lambda m: m._push(resolve(m.at.line(), m.at.line(), m.at.where)),
    pickle.STACK_GLOBAL: _Machine._stack_global,
    pickle.EXT1: _Machine._extension,
    pickle.EXT2: _Machine._extension,
    pickle.EXT4: _Machine._extension,
    pickle.REDUCE: _Machine._reduce,
    pickle.NEWOBJ: _Machine._reduce,  # for builders and stand-ins, creating is calling
    pickle.NEWOBJ_EX: _Machine._new_object_named,
    pickle.BUILD: _Machine._set_state,
    pickle.BINPERSID: _Machine._persistent_id,
}
