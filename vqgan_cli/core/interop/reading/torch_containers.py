"""The two formats of ``torch.save``: where the pickle lies in the file, and where the numbers.

Since PyTorch 1.6: a zip archive without compression that holds ``NAME/data.pkl``, whose tensors refer to the members
``NAME/data/KEY``, and ``NAME/byteorder``. Before: five pickles in a row (a magic number, a protocol number, facts
about the machine, the object, the list of storage keys), then for each key the number of its elements in 8 bytes and
the elements. In both, numbers lie in the file as they lie in memory.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading.cursor import COPY_AGAIN
from vqgan_cli.core.interop.reading.pickled_values import StorageKind, StorageRecord, UnsuitableError
from vqgan_cli.core.interop.reading.pickles import read_pickle

__all__ = ["ZIP_MAGIC", "Extent", "read_archive", "read_legacy"]

ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of a file that belong together."""

    start: int
    length: int


def read_archive(path: Path, data: mmap.mmap) -> tuple[Any, dict[str, Extent]]:
    """The saved object of a zip archive, and where its storages lie by their keys.

    Raises:
        ModelError: it is damaged, no archive of `torch.save`, or its pickle is refused.
    """
    where = repr(str(path))
    directory = _directory(path)
    if any(info.filename.partition("/")[2].startswith("code/") for info in directory):
        raise ModelError(
            f"{where} is a TorchScript archive: it holds a program beside its weights, and is not read here",
            hint="get the checkpoint that it was made from",
        )
    members = _members(directory, path, data)
    roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ModelError(f"{where} is a zip archive, but not one of torch.save: it has no single data.pkl")
    root = roots[0]
    order = members.get(f"{root}/byteorder")
    if order is not None and data[order.start : order.start + order.length].strip() != b"little":
        raise _big_endian(where)
    prefix = f"{root}/data/"
    extents = {
        name.removeprefix(prefix): extent for name, extent in members.items() if name.startswith(prefix)
    }
    pickled = members[f"{root}/data.pkl"]
    content, _ = read_pickle(data, pickled.start, pickled.start + pickled.length, where, _storage)
    return content, extents


def _directory(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except Exception:  # a damaged one makes zipfile raise struct.error, ValueError, UnicodeError, and others
        raise ModelError(
            f"{str(path)!r} is a zip archive whose directory is damaged or cut off", hint=COPY_AGAIN
        ) from None


def _members(directory: list[zipfile.ZipInfo], path: Path, data: mmap.mmap) -> dict[str, Extent]:
    """Where the contents of each member of a zip archive lie."""
    members: dict[str, Extent] = {}
    total = 0
    for info in directory:
        where = f"the member {info.filename[:80]!r} of {str(path)!r}"
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ModelError(f"{where} is compressed or encrypted, which torch.save never does")
        if info.filename in members:
            raise ModelError(f"{where} is there twice")
        header = data[info.header_offset : info.header_offset + 30] if info.header_offset >= 0 else b""
        if len(header) < 30 or not header.startswith(ZIP_MAGIC):
            raise ModelError(f"{where} is damaged", hint=COPY_AGAIN)
        name_length, extra_length = struct.unpack("<HH", header[26:])
        start = info.header_offset + 30 + name_length + extra_length
        total += info.file_size
        # The sum too: members that lie over each other could be copied to far more than the file holds.
        if start + info.file_size > len(data) or total > len(data):
            raise ModelError(f"{where} is damaged: it is longer than the file", hint=COPY_AGAIN)
        # Of the pickle alone, as the numbers are not read yet. PyTorch can be told to write 0 instead of checksums.
        if info.CRC and info.filename.endswith("/data.pkl"):
            pickled = data[start : start + info.file_size]
            if zlib.crc32(pickled) != info.CRC:
                raise ModelError(f"{where} is damaged: its checksum is another", hint=COPY_AGAIN)
        members[info.filename] = Extent(start, info.file_size)
    return members


def read_legacy(path: Path, data: mmap.mmap) -> tuple[Any, dict[str, Extent]]:
    """The saved object of the older format, and where its storages lie by their keys.

    Raises:
        ModelError: it is damaged, another pickle than those of `torch.save`, or refused.
    """
    where, end = repr(str(path)), len(data)
    kinds: dict[str, StorageKind] = {}

    def persistent(pid: Any) -> Any:
        found = _storage(pid)
        if type(found) is StorageRecord:
            kinds.setdefault(found.key, found.kind)
        return found

    magic, position = read_pickle(data, 0, end, where)
    if magic != _LEGACY_MAGIC:
        raise ModelError(
            f"{where} is a pickle, but not one of torch.save",
            hint="save the weights with torch.save or as safetensors",
        )
    protocol, position = read_pickle(data, position, end, where)
    if protocol != _LEGACY_PROTOCOL:
        raise ModelError(f"{where} is of an unknown version of PyTorch's older format")
    machine, position = read_pickle(data, position, end, where)
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise _big_endian(where)
    content, position = read_pickle(data, position, end, where, persistent)
    keys, position = read_pickle(data, position, end, where)
    if type(keys) is not list:
        raise ModelError(f"{where} is damaged: it has no list of storages")
    extents: dict[str, Extent] = {}
    for key in keys:
        if type(key) not in (str, int) or str(key) not in kinds or str(key) in extents:
            raise ModelError(f"{where} is damaged: its list of storages does not fit its tensors")
        start = position + 8
        length = int.from_bytes(data[position:start], "little") * kinds[str(key)].itemsize
        if start + length > end:
            raise ModelError(
                f"{where} is cut short: a storage of {length:,} bytes is not whole", hint=COPY_AGAIN
            )
        extents[str(key)] = Extent(start, length)
        position = start + length
    return content, extents


def _big_endian(where: str) -> ModelError:
    return ModelError(
        f"{where} was written on a big-endian machine, which is not read here",
        hint="load it with PyTorch where it was written, and save it as safetensors",
    )


def _storage(pid: Any) -> Any:
    """What a persistent id stands for: ``("storage", kind, key, device, number of elements, view)``."""
    if type(pid) is not tuple or not pid:
        raise UnsuitableError
    if (
        pid[0] == "module" and len(pid) == 4
    ):  # the class of a module that was saved as a whole, and its source text
        return pid[1]
    if pid[0] != "storage" or len(pid) not in (5, 6):
        raise UnsuitableError
    kind, key, length, view = pid[1], pid[2], pid[4], (pid[5] if len(pid) == 6 else None)
    if type(kind) is not StorageKind or type(key) not in (str, int) or not _is_count(length):
        raise UnsuitableError
    if view is None:
        return StorageRecord(str(key), kind, 0, length)
    if type(view) is not tuple or len(view) != 3 or not _is_count(view[1]) or not _is_count(view[2]):
        raise UnsuitableError
    if view[1] + view[2] > length:
        raise UnsuitableError
    return StorageRecord(str(key), kind, view[1], view[2])


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 60
