"""Files that run a program when Python's unpickler reads them, made anew by each test.

Each maker writes one file to ``path``; `run_by_torch` on it creates ``canary``.
"""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import io
import os
import pickle
import posix
import struct
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from vqgan_cli.core.files import write_text

Maker = Callable[[Path, Path], None]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
EXTENSION = 0xF0


class Call:
    """Pickled as the call of a function, which may be the result of another call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.recipe = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.recipe

    def __call__(self) -> None:
        """Pickle wants functions to be callable."""


class ModelCheckpoint:
    """As Lightning names the keys of its callbacks."""


# Containers


def weights(**more: Any) -> dict[str, Any]:
    return {"state_dict": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3)}, "epoch": 3, **more}


def archive(path: Path, pickled: bytes, storages: dict[str, bytes] | None = None) -> None:
    """A file of the zip format with a pickle of one's own."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            file.writestr(f"archive/data/{key}", data)
        file.writestr("archive/version", "3\n")


def legacy(
    path: Path,
    content: bytes,
    *,
    magic: Any = LEGACY_MAGIC,
    protocol: Any = 1001,
    machine: Any = MACHINE,
    keys: Any = (),
    rest: bytes = b"",
) -> None:
    """A file of the older format with pickles of one's own."""
    before = [pickle.dumps(part, 2) for part in (magic, protocol, machine)]
    path.write_bytes(b"".join([*before, content, pickle.dumps(list(keys), 2), rest]))


def saved(content: Callable[[Path], Any], zipped: bool = True) -> Maker:
    def make(path: Path, canary: Path) -> None:
        torch.save(content(canary), path, _use_new_zipfile_serialization=zipped)

    return make


def pickled(content: Callable[[Path], bytes]) -> Maker:
    def make(path: Path, canary: Path) -> None:
        archive(path, content(canary))

    return make


def older(part: str, content: Callable[[Path], Any]) -> Maker:
    def make(path: Path, canary: Path) -> None:
        legacy(path, pickle.dumps({}, 2), **{part: content(canary)})

    return make


# Commands and opcodes


def touch(canary: Path) -> str:
    return f"touch '{canary}'"


def system(canary: Path) -> Call:
    return Call(os.system, touch(canary))


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()


def in_lines(module: str, name: str, argument: str) -> bytes:
    """The opcodes of protocol 2 that call a function by its names, which may be those of Python 2."""
    function = pickle.GLOBAL + f"{module}\n{name}\n".encode()
    return pickle.PROTO + b"\x02" + function + text(argument) + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP


def on_stack(module: str, name: str, argument: bytes) -> bytes:
    """The opcodes of protocol 4 that do the same; a name with points goes through attributes."""
    function = text(module) + text(name) + pickle.STACK_GLOBAL
    return pickle.PROTO + b"\x04" + function + argument + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP


def _path_method(canary: Path) -> bytes:
    """A method of a class that the reader knows, for an object that it knows as well."""
    made = pickle.GLOBAL + b"pathlib\nPosixPath\n" + text(str(canary)) + pickle.TUPLE1 + pickle.REDUCE
    return on_stack("pathlib", "Path.touch", made)


def _function_as_state(canary: Path) -> bytes:
    """Makes `os.system` an object's ``__setstate__``, then sets its state to a command."""
    return b"".join(
        [
            pickle.PROTO + b"\x02",
            pickle.GLOBAL + b"argparse\nNamespace\n" + pickle.EMPTY_TUPLE + pickle.NEWOBJ + pickle.EMPTY_DICT,
            text("__setstate__") + pickle.GLOBAL + b"posix\nsystem\n" + pickle.SETITEM + pickle.BUILD,
            text(touch(canary)) + pickle.BUILD + pickle.STOP,
        ]
    )


def _opcode_obj(canary: Path) -> bytes:
    """The opcode of Python 2's classes: mark, function, arguments."""
    function = pickle.GLOBAL + b"posix\nsystem\n"
    return pickle.PROTO + b"\x02" + pickle.MARK + function + text(touch(canary)) + pickle.OBJ + pickle.STOP


def _opcode_inst(canary: Path) -> bytes:
    """The same with the names in the opcode itself."""
    called = pickle.MARK + text(touch(canary)) + pickle.INST + b"posix\nsystem\n"
    return pickle.PROTO + b"\x02" + called + pickle.STOP


def _extension(canary: Path) -> bytes:
    number = pickle.EXT1 + bytes([EXTENSION])
    return pickle.PROTO + b"\x02" + number + text(touch(canary)) + pickle.TUPLE1 + pickle.REDUCE + pickle.STOP


def _nested_file(path: Path, canary: Path) -> None:
    """The bytes of a hostile file, for the function of torch that reads them."""
    buffer = io.BytesIO()
    torch.save(system(canary), buffer)
    torch.save(weights(more=Call(torch.storage._load_from_bytes, buffer.getvalue())), path)


def _storage_id(zipped: bool) -> Maker:
    """The program runs where the persistent id of a storage has the name of a device."""

    def make(path: Path, canary: Path) -> None:
        class Pickler(pickle.Pickler):
            def persistent_id(self, obj: Any) -> Any:
                if isinstance(obj, torch.UntypedStorage):
                    return ("storage", torch.FloatStorage, "0", system(canary), 3, None)
                return None

        buffer, storage = io.BytesIO(), torch.ones(3).untyped_storage()
        Pickler(buffer, 2).dump({"a": Call(torch._utils._rebuild_tensor, storage, 0, (3,), (1,))})
        data = struct.pack("<3f", 1, 1, 1)
        if zipped:
            archive(path, buffer.getvalue(), {"0": data})
        else:
            legacy(path, buffer.getvalue(), keys=["0"], rest=struct.pack("<q", 3) + data)

    return make


def _module_id(path: Path, canary: Path) -> None:
    """The older format saves the class of a module through a persistent id of another kind."""
    call = in_lines("posix", "system", touch(canary))[2:-1]
    pid = pickle.MARK + text("module") + call + pickle.NONE + pickle.NONE + pickle.TUPLE + pickle.BINPERSID
    legacy(path, pickle.PROTO + b"\x02" + pid + pickle.STOP)


def _import_and_getattr(canary: Path) -> Call:
    return Call(Call(getattr, Call(builtins.__import__, "os"), "system"), touch(canary))


HOSTILE: dict[str, Maker] = {
    "os.system": saved(system),
    "os.system, older format": saved(system, zipped=False),
    "beside the weights": saved(lambda canary: weights(hyper_parameters=[{"x": (1, system(canary))}])),
    "among the weights": saved(lambda canary: {"a": torch.ones(2), "b": system(canary)}),
    "among the weights, older format": saved(
        lambda canary: {"a": torch.ones(2), "b": system(canary)}, zipped=False
    ),
    "callbacks by class": saved(
        lambda canary: weights(callbacks={ModelCheckpoint: {"best": system(canary)}})
    ),
    "eval": saved(lambda canary: Call(builtins.eval, f"__import__('os').system({touch(canary)!r})")),
    "exec": saved(lambda canary: Call(builtins.exec, f"import os; os.mkdir({str(canary)!r})")),
    "os.mkdir": saved(lambda canary: Call(os.mkdir, str(canary))),
    "getattr of an import": saved(_import_and_getattr),
    "map in a list": saved(lambda canary: Call(list, Call(map, os.system, [touch(canary)]))),
    "posix.system": saved(lambda canary: Call(posix.system, touch(canary))),
    "subprocess.call": saved(lambda canary: Call(subprocess.call, ["touch", str(canary)])),
    "Python 2's names": pickled(lambda canary: in_lines("commands", "getoutput", touch(canary))),
    "a nested pickle": saved(lambda canary: Call(pickle.loads, pickle.dumps(system(canary)))),
    "a nested file": _nested_file,
    "a function of torch": pickled(lambda canary: in_lines("torch.utils.collect_env", "run", touch(canary))),
    "a function of ours": saved(lambda canary: Call(write_text, canary, "text")),
    "dotted, through a package": pickled(
        lambda canary: on_stack("torch", "serialization.os.system", text(touch(canary)))
    ),
    "dotted, of a known class": pickled(_path_method),
    "a function as state": pickled(_function_as_state),
    "opcode OBJ": pickled(_opcode_obj),
    "opcode INST": pickled(_opcode_inst),
    "an extension": pickled(_extension),
    "protocol 0": pickled(lambda canary: f"cposix\nsystem\n(V{touch(canary)}\ntR.".encode()),
    "id of a storage": _storage_id(zipped=True),
    "id of a storage, older format": _storage_id(zipped=False),
    "id of a module, older format": _module_id,
    "magic number, older format": older("magic", system),
    "protocol number, older format": older("protocol", system),
    "machine, older format": older("machine", lambda canary: {**MACHINE, "more": system(canary)}),
    "storage keys, older format": older("keys", lambda canary: [system(canary)]),
}


@contextlib.contextmanager
def registered_extension() -> Iterator[None]:
    """Python's registry has a number for `os.system`, as a program could have set it up."""
    copyreg.add_extension("posix", "system", EXTENSION)
    try:
        yield
    finally:
        copyreg.remove_extension("posix", "system", EXTENSION)


def run_by_torch(path: Path) -> None:
    """What an unrestricted reader does with a file; most fail after the program ran."""
    with registered_extension(), contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
