"""What a class or function that a pickle names stands for.

Nothing is imported, and nothing of another module is called, by a name in a file. A name is known, and then stands for
a `Builder` of this module, a storage or a type; or it belongs to a package that is not Python's own, and then stands
for a `StandIn`, which does nothing; or the pickle is refused.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import Any

import torch

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading.pickled_values import (
    Builder,
    Namespace,
    StandIn,
    StorageKind,
    StorageRecord,
    TensorRecord,
    UnsuitableError,
    require_key,
)

__all__ = ["resolve"]


def resolve(module: str, name: str, where: str) -> Any:
    """What a name in a pickle stands for.

    Args:
        module: as the pickle gives it, such as ``torch._utils``.
        name: of a class or function in it.
        where: of the pickle, for the message.

    Raises:
        ModelError: it could be one that runs a program; no weights need it.
    """
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", module) or not name.isidentifier():
        raise _refusal(f"{module[:80]!r} {name[:80]!r}", where)
    qualified = f"{_RENAMED.get(module, module)}.{name}"
    known = _known_names().get(qualified)
    if known is not None:
        return known
    if qualified not in _INERT:
        package = qualified.partition(".")[0]
        dunder = name.startswith("__") and name.endswith("__")
        if (
            dunder
            or _is_torch_function(module, name)
            or package in _FORBIDDEN
            or package in sys.stdlib_module_names
        ):
            raise _refusal(f"{module}.{name}", where)
    return StandIn(qualified)


def _is_torch_function(module: str, name: str) -> bool:
    """Whether a name may be a function that reads other files or runs programs, as some of torch do."""
    if module.partition(".")[0] != "torch" or module in ("torch.nn.functional", "torch._C._nn"):
        return False
    return name.lstrip("_")[:1].islower() and not name.startswith("_rebuild_")


def _refusal(name: str, where: str) -> ModelError:
    return ModelError(
        f"{where} asks for {name}, which no weights need and which could run a program; nothing of it was executed",
        hint="get the weights from another source, best as safetensors; if you made the file yourself, save the "
        "state dict alone",
    )


_FORBIDDEN = frozenset({"vqgan_cli", "cPickle", "commands", "copy_reg", "popen2"})
"""This program, and modules of Python 2."""

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
"""Names of Python's library and of torch that checkpoints hold beside their weights; only stand-ins are made."""

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


# Tensors


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise UnsuitableError
    return value


def _wholes(values: Any) -> tuple[int, ...]:
    if type(values) not in (tuple, list) or len(values) > 64:
        raise UnsuitableError
    return tuple(_whole(value) for value in values)


def _record(storage: Any, offset: Any, size: Any, stride: Any, dtype: Any) -> TensorRecord:
    if type(storage) is not StorageRecord:
        raise UnsuitableError
    dtype = dtype or storage.kind.dtype
    record = TensorRecord(storage, dtype, _whole(offset), _wholes(size), _wholes(stride))
    if type(dtype) is not torch.dtype or len(record.size) != len(record.stride):
        raise UnsuitableError
    return record


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> TensorRecord:
    if metadata:  # the values are not those of the storage, but their negatives or conjugates
        raise UnsuitableError
    return _record(storage, offset, size, stride, None)


def _tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> TensorRecord:
    if metadata:
        raise UnsuitableError
    return _record(storage, offset, size, stride, dtype)


def _parameter(data: Any, *_: Any) -> Any:
    return data if type(data) is TensorRecord else StandIn("torch.nn.Parameter")


def _from_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor to which somebody gave attributes, or one of a subclass, whose values may mean something else."""
    if type(kind) is not StandIn or type(arguments) is not tuple or type(function) not in (Builder, StandIn):
        raise UnsuitableError
    if kind.name in ("torch.Tensor", "torch.nn.parameter.Parameter"):
        if function.name == "torch._utils._rebuild_tensor_v2":
            return _tensor(*arguments)
        if function.name == "torch._utils._rebuild_tensor_v3":
            return _tensor_v3(*arguments)
    return StandIn(kind.name)


# Plain values


def _scalar(kind: type) -> Callable[..., Any]:
    def build(value: Any = kind()) -> Any:  # noqa: B008 - immutable
        if type(value) is not kind:
            raise UnsuitableError
        return value

    return build


def _complex(real: Any = 0.0, imag: Any = 0.0) -> complex:
    if type(real) is not float or type(imag) is not float:
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


def _bytes(data: Any = b"", encoding: Any = "latin1", *_: Any) -> bytes:
    """Protocol 2 writes bytes as a text, each as the character of its number."""
    if type(data) is bytes:
        return data
    if type(data) is not str or encoding not in ("latin1", "latin-1"):
        raise UnsuitableError
    return data.encode("latin1", "replace")


def _path(*parts: Any) -> str:
    if not all(type(part) is str for part in parts):
        raise UnsuitableError
    return "/" + "/".join(parts[1:]) if parts[:1] == ("/",) else "/".join(parts)


def _device(*parts: Any) -> str:
    if not all(type(part) in (str, int) for part in parts):
        raise UnsuitableError
    return ":".join(str(part) for part in parts)


@functools.cache
def _known_names() -> dict[str, Any]:
    builders: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _tensor_v3,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": _from_type,
        "torch.Size": _sequence(tuple),
        "torch.device": _device,
        "collections.OrderedDict": _mapping,
        "collections.Counter": _mapping,
        "collections.defaultdict": lambda *_: {},  # its items follow one by one
        "collections.deque": _sequence(list),
        "argparse.Namespace": lambda: Namespace(),  # its attributes follow
        "types.SimpleNamespace": lambda: Namespace(),
        "_codecs.encode": _bytes,
        "builtins.bytes": _bytes,
        "builtins.bytearray": _bytes,
        "builtins.set": _sequence(set),
        "builtins.frozenset": _sequence(frozenset),
        "builtins.list": _sequence(list),
        "builtins.tuple": _sequence(tuple),
        "builtins.dict": _mapping,
        "builtins.complex": _complex,
        **{f"builtins.{kind.__name__}": _scalar(kind) for kind in (int, float, bool, str)},
        "builtins.long": _scalar(int),  # Python 2
        "builtins.unicode": _scalar(str),
    }
    for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"):
        builders[f"pathlib.{name}"] = _path
    return {
        **{name: Builder(name, build) for name, build in builders.items()},
        **{f"torch.{name}": StorageKind(dtype) for name, dtype in _STORAGES.items()},
        **{f"torch.{name}": value for name, value in vars(torch).items() if type(value) is torch.dtype},
    }
