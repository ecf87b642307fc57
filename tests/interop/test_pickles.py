"""What pickles become: plain values as they were, everything else inert, nothing larger than the file."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
import pathlib
import pickle
import random
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.interop.hostile import Call, text
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading.pickled_names import resolve
from vqgan_cli.core.interop.reading.pickled_values import StandIn
from vqgan_cli.core.interop.reading.pickles import read_pickle

PLAIN: list[Any] = [
    None,
    True,
    [0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**63, -(2**100), 2**2000],
    [0.0, -1.5, 1e300, float("inf")],
    ["", "ASCII", "äöü €", "x" * 300],
    [b"", b"\x00\xff", b"x" * 300],
    [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    {"a": 1, 2: "b", (1, "x"): None, None: [], 1.5: {}},
    [{1, 2}, frozenset({"a"}), set(), frozenset()],
    [complex(1, -2), bytearray(b"abc") == b"abc"],
    list(range(3000)),
    {str(i): [i, {"x": (i,)}] for i in range(1500)},
]


def read(data: bytes) -> Any:
    value, end = read_pickle(data, 0, len(data), "'x.pt'")
    assert end == len(data)
    return value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    """Oracle: the values that were pickled, with their types."""
    read_back = read(pickle.dumps(value, protocol))
    assert read_back == value
    assert type(read_back) is type(value)


def test_known_classes_become_plain_values() -> None:
    """Oracle: closed form."""
    ordered = collections.OrderedDict(b=1, a=2)
    ordered._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]  # as module.state_dict() has it
    defaults = collections.defaultdict(list, {"x": [1]})
    values = [
        (ordered, {"b": 1, "a": 2}),
        (defaults, {"x": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.deque([1, 2]), [1, 2]),
        (argparse.Namespace(lr=1e-4, name="x"), {"lr": 1e-4, "name": "x"}),
        (torch.Size([2, 3]), (2, 3)),
        (torch.device("cuda:1"), "cuda:1"),
        (torch.bfloat16, torch.bfloat16),
        (pathlib.PurePosixPath("/a/b.ckpt"), "/a/b.ckpt"),
        (pathlib.PurePosixPath("a/b.ckpt"), "a/b.ckpt"),
        (bytearray(b"abc"), b"abc"),
    ]
    for value, expected in values:
        for protocol in (2, 4, 5):
            read_back = read(pickle.dumps(value, protocol))
            assert read_back == expected
            assert isinstance(read_back, dict) or type(read_back) is type(expected)
    assert list(read(pickle.dumps(ordered, 2))) == ["b", "a"]


class Outer:
    """Any class of a package outside Python's library; this one must never be touched."""

    touched = False

    def __init__(self) -> None:
        self.x = [1, 2]

    def __setstate__(self, state: Any) -> None:
        Outer.touched = True

    def __hash__(self) -> int:
        Outer.touched = True
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


class ListLike(list[Any]):
    pass


class DictLike(dict[Any, Any]):
    pass


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_other_classes_are_stand_ins(protocol: int) -> None:
    """Oracle: invariant. Stand-ins have the names, serve as keys, and the classes themselves are not called."""
    value = {
        "class": Outer,
        "object": Outer(),
        "list": ListLike([1, 2, 3]),
        "dict": DictLike(a=1),
        "function": test_known_classes_become_plain_values,
        "array": np.arange(3),
        "number": np.float64(1.5),
        "random": np.random.default_rng(0),
        "day": datetime.date(2020, 1, 2),
        "partial": functools.partial(Outer, 1),
        "any": Any,
        "kept": 7,
    }
    value[Outer] = value[ListLike] = "a key"  # type: ignore[index]
    data = pickle.dumps(value, protocol)
    Outer.touched = False
    read_back = read(data)
    assert not Outer.touched
    assert read_back.pop("kept") == 7
    assert {key.name for key in read_back if not isinstance(key, str)} == {
        f"{__name__}.Outer",
        f"{__name__}.ListLike",
    }
    stand_ins = {key: each.name for key, each in read_back.items() if isinstance(key, str)}
    assert stand_ins["object"] == stand_ins["class"] == f"{__name__}.Outer"
    assert stand_ins["number"].endswith(".scalar")
    assert stand_ins["any"] == "typing.Any"


def test_states_and_attributes_reach_nothing() -> None:
    """Oracle: invariant. Opcodes that set attributes change neither stand-ins, nor builders, nor their modules."""
    state = {"__class__": 1, "build": 2, "name": 3, "__dict__": {}, "__setstate__": 4}
    for module, name in (
        ("torch._utils", "_rebuild_tensor_v2"),
        ("collections", "OrderedDict"),
        ("some.package", "Class"),
        ("torch", "FloatStorage"),
        ("torch", "float32"),
    ):
        before = resolve(module, name, "")
        attributes = pickle.dumps((state, state), 2)[2:-1]
        found = read(
            pickle.PROTO + b"\x02" + f"c{module}\n{name}\n".encode() + attributes + pickle.BUILD + pickle.STOP
        )
        after = resolve(module, name, "")
        if type(before) is StandIn:
            assert type(found) is StandIn
            assert found.name == after.name == f"{module}.{name}"
            assert not hasattr(found, "__dict__")
        else:
            assert found is before is after


def test_functions_of_other_packages_are_not_called(tmp_path: Path) -> None:
    """Oracle: a canary, which Python's unpickler creates from the same bytes. The call becomes a stand-in."""
    from numpy.testing._private.utils import runstring

    canary = tmp_path / "canary"
    data = pickle.dumps([Call(runstring, f"import os; os.mkdir({str(canary)!r})", {}), 5], 2)
    assert [type(each) for each in read(data)] == [StandIn, int]
    assert not canary.exists()
    pickle.loads(data)
    assert canary.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("__builtin__", "eval"),
        ("importlib", "import_module"),
        ("runpy", "run_path"),
        ("shutil", "rmtree"),
        ("ctypes", "CDLL"),
        ("_io", "open"),
        ("collections", "namedtuple"),
        ("collections.abc", "Callable"),
        ("functools", "reduce"),
        ("copyreg", "_reconstructor"),
        ("operator", "attrgetter"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "__class__"),
        ("some.package", "__globals__"),
        ("some.package", "a.b"),
        ("some..package", "a"),
        ("some.package\x1b[2J", "a"),
        ("", "a"),
        ("a", ""),
        ("vqgan_cli.core.files", "write_text"),
        ("vqgan_cli", "Any"),
    ],
)
def test_refused_names(module: str, name: str) -> None:
    """Oracle: the rule of the module; the message names what was asked for, without control characters."""
    with pytest.raises(ModelError, match="nothing of it was executed") as error:
        resolve(module, name, "'x.pt'")
    assert error.value.message.isprintable()
    assert (name or module) in error.value.message
    assert error.value.hint


def test_every_module_of_python_is_refused() -> None:
    """Oracle: Python's own list of its library."""
    for module in sys.stdlib_module_names:
        with pytest.raises(ModelError, match="nothing of it was executed"):
            resolve(module, "anything", "'x.pt'")


def ops(*parts: bytes) -> bytes:
    return b"".join([pickle.PROTO + b"\x04", *parts, pickle.STOP])


def long(size: int) -> bytes:
    return struct.pack("<I", size)


def called(name: str, argument: bytes) -> bytes:
    return pickle.GLOBAL + f"builtins\n{name}\n".encode() + argument + pickle.TUPLE1 + pickle.REDUCE


MANY = pickle.BININT + long(2**30)
DEEP = pickle.EMPTY_TUPLE + pickle.TUPLE1 * 200_000
BOMBS = {
    "memo": ops(
        pickle.NONE, pickle.LONG_BINPUT + b"\xff\xff\xff\xff", pickle.LONG_BINGET + b"\xfe\xff\xff\xff"
    ),
    "text": ops(pickle.BINUNICODE + long(2**32 - 1)),
    "text of 8 bytes": ops(pickle.BINUNICODE8 + b"\xff" * 8),
    "bytes": ops(pickle.BINBYTES8 + b"\xff" * 7 + b"\x7f"),
    "bytearray": ops(pickle.BYTEARRAY8 + b"\xff" * 7 + b"\x7f"),
    "number": ops(pickle.LONG4 + long(2**31 - 1)),
    "number in decimals": ops(pickle.LONG + b"9" * 100_000 + b"L\n"),
    "bytes of a length": ops(called("bytes", MANY)),
    "bytearray of a length": ops(called("bytearray", MANY)),
    "list of a range": ops(called("list", called("range", MANY))),
    "copies": ops(
        pickle.MARK + pickle.NONE * 50_000 + pickle.LIST + pickle.BINPUT + b"\0",
        (called("list", pickle.BINGET + b"\0") + pickle.POP) * 500,
    ),
    "arguments without end": ops(
        pickle.GLOBAL + b"pathlib\nPosixPath\n",
        pickle.MARK + text("x") * 65 + pickle.TUPLE + pickle.REDUCE,
    ),
    "deep key": ops(pickle.EMPTY_DICT, DEEP, pickle.NONE, pickle.SETITEM),
    "deep key of a dict of pairs": ops(
        called("dict", pickle.EMPTY_LIST + DEEP + pickle.NONE + pickle.TUPLE2 + pickle.APPEND)
    ),
    "deep item": ops(pickle.EMPTY_SET, pickle.MARK, DEEP, pickle.ADDITEMS),
    "deep item of a list": ops(called("set", pickle.EMPTY_LIST + DEEP + pickle.APPEND)),
    "deep item of a frozen set": ops(pickle.MARK, DEEP, pickle.FROZENSET),
    "many-fold key": ops(
        pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, (pickle.DUP + pickle.TUPLE2) * 64, pickle.NONE, pickle.SETITEM
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str) -> None:
    """Oracle: invariant. A few bytes that ask for much memory, time or depth are an error, not a crash."""
    with pytest.raises(ModelError, match=r"damaged|cut short"):
        read(BOMBS[name])


def test_steps_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: closed form. Steps that each make a container of their own are the way to memory that is left."""
    monkeypatch.setattr("vqgan_cli.core.interop.reading.pickles.MAX_OPCODES", 100)
    assert read(ops(pickle.EMPTY_LIST * 99)) == []
    with pytest.raises(ModelError, match="more than 100 steps"):
        read(ops(pickle.EMPTY_LIST * 100))


def test_depth_is_harmless() -> None:
    """Oracle: invariant. What is nested a hundred thousand deep is built and thrown away without recursion."""
    assert len(read(ops(pickle.EMPTY_LIST * 200_000, pickle.APPEND * 199_999))) == 1
    assert len(read(ops(DEEP))) == 1


def test_python_2_strings() -> None:
    """Oracle: closed form. Text where the bytes are text, bytes where they are none."""
    data = ops(pickle.SHORT_BINSTRING + b"\x03abc", pickle.BINSTRING + long(2) + b"\xff\xfe", pickle.TUPLE2)
    assert read(data) == ("abc", b"\xff\xfe")


def test_text_that_is_not_utf8_stays_printable() -> None:
    """Oracle: closed form."""
    assert read(ops(pickle.BINUNICODE + long(2) + b"\xffa")) == "\\xffa"


def test_every_cut_is_an_error() -> None:
    """Oracle: invariant. A pickle without its end is never read."""
    for protocol in (2, 4):
        data = pickle.dumps({"a": [1, 2.5, (Outer, b"x" * 300)], "b": collections.OrderedDict(x=1)}, protocol)
        for end in range(len(data)):
            with pytest.raises(ModelError):
                read_pickle(data, 0, end, "'x.pt'")


def test_random_bytes_are_errors_or_values() -> None:
    """Oracle: invariant. Nothing but `ModelError` comes out, whatever goes in, and its message can be shown."""
    rng = random.Random(0)
    good = pickle.dumps({"a": [1, 2.5, (Outer, b"x")], "b": collections.OrderedDict(x=1), "c": {1, 2}}, 4)
    opcodes = [value for name, value in vars(pickle).items() if name.isupper() and isinstance(value, bytes)]
    messages = []
    for _ in range(3000):
        mutated = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            mutated[rng.randrange(2, len(mutated))] = rng.randrange(256)
        parts = [rng.choice(opcodes) + rng.randbytes(rng.choice([0, 0, 1, 4])) for _ in range(12)]
        for data in (bytes(mutated), ops(text("x"), *parts)):
            try:
                read_pickle(data, 0, len(data), "'x.pt'")
            except ModelError as error:
                messages.append(error.message)
    assert 3000 < len(messages) < 6000
    assert all(message.isprintable() for message in messages)
