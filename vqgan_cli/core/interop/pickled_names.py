"""What a name inside a pickle may stand for: a builder of this module, or something inert.

A pickle gives classes and functions by their names and asks for them to be called. Here nothing is imported and no
function of another module is called by such a name. A name is either known, and then stands for a `Builder` that
makes plain values; or it belongs to a package that is none of Python's own, and then stands for a `StandIn`, which
does nothing; or the pickle is refused.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from vqgan_cli.core.errors import ModelError

__all__ = [
    "Builder",
    "Namespace",
    "StandIn",
    "StorageKind",
    "StorageRecord",
    "TensorRecord",
    "UnsuitableError",
    "require_key",
    "resolve",
]


class UnsuitableError(Exception):
    """Arguments that a builder does not take; the reader of the pickle says where."""


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
class StorageKind:
    """The class of a storage; its type is None where each tensor states its own."""

    dtype: torch.dtype | None


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A run of numbers in a file.

    Attributes:
        key: its name in the file.
        kind: type of its elements.
        start: first element of the stored run that belongs to it.
        length: number of elements; of bytes, where the kind has no type.
    """

    key: str
    kind: StorageKind
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A tensor as the pickle describes it; nothing of it was checked but the types. See `torch.as_strided`."""

    storage: StorageRecord
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Builder:
    """A known name: makes one plain value of arguments, whose types it checks.

    Attributes:
        name: with its module.
        build: raises `UnsuitableError`.
    """

    name: str
    build: Callable[..., Any]


def resolve(module: str, name: str, where: str) -> Any:
    """What a name in a pickle stands for.

    Args:
        module: as the pickle gives it, such as ``torch._utils``.
        name: of a class or function in it.
        where: of the pickle, for the message.

    Raises:
        ModelError: the name is one that weights have no need of.
    """
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", module) or not name.isidentifier():
        raise _refusal(f"{module[:80]!r} {name[:80]!r}", where)
    qualified = f"{_RENAMED.get(module, module)}.{name}"
    known = _known().get(qualified)
    if known is not None:
        return known
    package = qualified.partition(".")[0]
    dunder = name.startswith("__") and name.endswith("__")
    # A function of torch that is not known might be one that reads another file or runs a program.
    function = package == "torch" and name.lstrip("_")[:1].islower() and not name.startswith("_rebuild_")
    if dunder or function or package in _FORBIDDEN or package in sys.stdlib_module_names - {"__main__"}:
        if qualified in _INERT:
            return StandIn(qualified)
        raise _refusal(f"{module}.{name}", where)
    return StandIn(qualified)


def _refusal(name: str, where: str) -> ModelError:
    return ModelError(
        f"{where} asks for {name}, which no weights need and which could run a program; nothing of it was executed",
        hint="do not open it with other programs; get the weights as safetensors, or from a source that you trust",
    )


_FORBIDDEN = frozenset({"vqgan_cli", "commands", "popen2", "cPickle", "StringIO", "cStringIO", "__builtin__"})
"""This program, and modules of Python 2's library."""

_RENAMED = {
    "__builtin__": "builtins",  # Python 2, whose names pickles of protocol 2 use to this day
    "torch.cuda": "torch",
    "torch.storage": "torch",
}

_INERT = frozenset(
    {"builtins.slice", "builtins.range", "builtins.xrange", "builtins.object", "builtins.type"}
    | {f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")}
    | {f"typing.{name}" for name in ("Any", "Dict", "List", "Optional", "Tuple", "Union")}
    | {"decimal.Decimal", "fractions.Fraction", "functools.partial", "uuid.UUID"}
    | {f"torch.{name}" for name in ("strided", "sparse_coo", "contiguous_format", "channels_last")}
    | {"torch.preserve_format", "torch.serialization._get_layout"}
)
"""Names of Python's library and of torch that are met in checkpoints, and whose values no model needs."""

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": None,
}


def _whole(value: Any) -> int:
    """A count or an offset."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise UnsuitableError
    return value


def _wholes(values: Any) -> tuple[int, ...]:
    if type(values) not in (tuple, list) or len(values) > 64:
        raise UnsuitableError
    return tuple(_whole(value) for value in values)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: Any = None) -> TensorRecord:
    if type(storage) is not StorageRecord:
        raise UnsuitableError
    dtype = dtype or storage.kind.dtype
    if type(dtype) is not torch.dtype:
        raise UnsuitableError
    record = TensorRecord(storage, dtype, _whole(offset), _wholes(size), _wholes(stride))
    if len(record.size) != len(record.stride):
        raise UnsuitableError
    return record


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> TensorRecord:
    return _tensor(storage, offset, size, stride, dtype=dtype)


def _parameter(data: Any, *_: Any) -> Any:
    if type(data) is not TensorRecord:
        return StandIn("torch.nn.Parameter")
    return data


def _scalar(kind: type) -> Callable[..., Any]:
    def build(value: Any = kind()) -> Any:  # noqa: B008 - immutable
        if type(value) is not kind:
            raise UnsuitableError
        return value

    return build


def _complex(real: Any = 0.0, imag: Any = 0.0) -> complex:
    if not {type(real), type(imag)} <= {int, float}:
        raise UnsuitableError
    return complex(real, imag)


def _sequence(kind: Callable[..., Any]) -> Callable[..., Any]:
    def build(values: Any = (), *_: Any) -> Any:
        if type(values) not in (list, tuple, set, frozenset):
            raise UnsuitableError
        if kind in (set, frozenset):
            for value in values:
                require_key(value)
        return kind(values)

    return build


def _mapping(values: Any = (), *_: Any) -> dict[Any, Any]:
    """A dict of a dict, or of pairs, as Python 2 wrote ordered ones."""
    if isinstance(values, dict):
        return dict(values)
    if type(values) not in (list, tuple):
        raise UnsuitableError
    built = {}
    for pair in values:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise UnsuitableError
        require_key(pair[0])
        built[pair[0]] = pair[1]
    return built


def _encode(text: Any = "", encoding: Any = "latin1", *_: Any) -> bytes:
    """Bytes are written as text in protocol 2."""
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8"):
        raise UnsuitableError
    return text.encode(encoding, "replace")


def _bytes(data: Any = b"", *encoding: Any) -> bytes:
    return data if type(data) is bytes else _encode(data, *encoding)


def _path(*parts: Any) -> str:
    if not all(type(part) is str for part in parts):
        raise UnsuitableError
    root, rest = ("/", parts[1:]) if parts[:1] == ("/",) else ("", parts)
    return root + "/".join(rest)


def _device(*parts: Any) -> str:
    if not all(type(part) in (str, int) for part in parts):
        raise UnsuitableError
    return ":".join(str(part) for part in parts)


def require_key(key: Any) -> None:
    """Check that a value can be looked up in bounded time and depth: scalars, names, and flat tuples of them.

    Raises:
        UnsuitableError: it cannot; Python itself can be brought down by the hash of tuples nested a million deep.
    """
    for part in key if type(key) is tuple else (key,):
        if type(part) not in _KEYS:
            raise UnsuitableError


_KEYS = (str, int, float, bool, complex, bytes, type(None), StandIn, Builder, torch.dtype, StorageKind)


def _known() -> dict[str, Any]:
    if not _TABLE:
        _TABLE.update(_build_table())
    return _TABLE


_TABLE: dict[str, Any] = {}


def _build_table() -> dict[str, Any]:
    builders: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _tensor_v3,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch.Size": _sequence(tuple),
        "torch.device": _device,
        "collections.OrderedDict": _mapping,
        "collections.Counter": _mapping,
        "collections.defaultdict": lambda *_: {},  # its items follow one by one
        "collections.deque": _sequence(list),
        "argparse.Namespace": lambda: Namespace(),  # its attributes follow
        "types.SimpleNamespace": lambda: Namespace(),
        "_codecs.encode": _encode,
        "builtins.set": _sequence(set),
        "builtins.frozenset": _sequence(frozenset),
        "builtins.list": _sequence(list),
        "builtins.tuple": _sequence(tuple),
        "builtins.dict": _mapping,
        "builtins.complex": _complex,
        "builtins.bytes": _bytes,
        "builtins.bytearray": _bytes,
        **{f"builtins.{kind.__name__}": _scalar(kind) for kind in (int, float, bool, str)},
        "builtins.long": _scalar(int),  # Python 2
        "builtins.unicode": _scalar(str),
        **{
            f"pathlib.{name}": _path
            for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
        },
    }
    table: dict[str, Any] = {name: Builder(name, build) for name, build in builders.items()}
    table |= {f"torch.{name}": StorageKind(dtype) for name, dtype in _STORAGES.items()}
    table |= {f"torch.{name}": value for name, value in vars(torch).items() if type(value) is torch.dtype}
    return table
