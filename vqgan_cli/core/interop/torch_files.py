"""Files written by ``torch.save``, mapped into memory and read without executing anything.

Two formats. Since PyTorch 1.6: a zip archive without compression, of ``NAME/data.pkl``, whose tensors refer to the
members ``NAME/data/KEY``, and of ``NAME/byteorder``. Before: five pickles in a row (a magic number, a protocol
number, facts about the machine, the object, the list of storage keys), then for each key the number of its elements
in 8 bytes and the elements. In both, the numbers of a tensor lie in the file as they lie in memory, so a tensor is a
view of the mapped file and is read from disk when it is used.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.pickled_names import StorageKind, StorageRecord, TensorRecord, UnsuitableError
from vqgan_cli.core.interop.pickles import read_pickle

__all__ = ["TorchFile", "open_torch_file"]

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
CONVERSION = "python -c \"import torch; torch.save(torch.load({0!r}, map_location='cpu'), {1!r})\""

_COPY_AGAIN = "copy or download the file again"


@dataclass(frozen=True)
class _Extent:
    """Bytes of a storage in the file."""

    start: int
    length: int


class TorchFile:
    """What a file holds.

    Attributes:
        content: the saved object, of plain types and those of `pickled_names`; tensors in it are a `TensorRecord`
            each, see `tensor`.
    """

    def __init__(self, path: Path, data: mmap.mmap, content: Any, extents: dict[str, _Extent]) -> None:
        self.content = content
        self._path = path
        self._data = data
        self._extents = extents
        self._storages: dict[str, torch.UntypedStorage] = {}

    def tensor(self, record: TensorRecord, name: str) -> Tensor:
        """The tensor that a record describes; those of one storage share memory, as they did when they were saved.

        It is mapped privately: what is written to it never reaches the file.

        Args:
            record: found in ``content``.
            name: for messages.

        Raises:
            ModelError: the file does not hold what the record asks for.
        """
        where = f"the tensor {name!r} in {str(self._path)!r}"
        storage, itemsize = record.storage, record.dtype.itemsize
        extent = self._extents.get(storage.key)
        if extent is None:
            raise ModelError(f"{where} lies in the storage {storage.key[:80]!r}, which the file lacks")
        unit = storage.kind.dtype.itemsize if storage.kind.dtype else 1
        first, length = storage.start * unit, storage.length * unit
        if first + length > extent.length:
            raise ModelError(
                f"{where} lies in a storage of {length:,} bytes, of which the file holds "
                f"{max(extent.length - first, 0):,}",
                hint=_COPY_AGAIN,
            )
        count = length // itemsize
        elements = 1
        for size in record.size:
            elements *= size
        if not elements:
            if max(record.size) > count:
                raise ModelError(f"{where} has an impossible size")
            return torch.empty(record.size, dtype=record.dtype)
        last = record.offset + sum(
            (size - 1) * step for size, step in zip(record.size, record.stride, strict=True)
        )
        if last >= count:
            raise ModelError(f"{where} reaches outside its storage, which holds {count:,} elements")
        if elements > count:
            raise ModelError(
                f"{where} repeats the {count:,} elements of its storage to {elements:,}",
                hint="save it again from a contiguous copy (`tensor.clone()`)",
            )
        if first % itemsize:
            raise ModelError(f"{where} begins inside an element of its storage")
        return torch.empty(0, dtype=record.dtype).set_(
            self._storage(storage.key, extent, itemsize),
            first // itemsize + record.offset,
            record.size,
            record.stride,
        )

    def _storage(self, key: str, extent: _Extent, itemsize: int) -> torch.UntypedStorage:
        if key not in self._storages:
            whole = torch.frombuffer(self._data, dtype=torch.uint8, count=extent.length, offset=extent.start)
            if (
                extent.start % itemsize
            ):  # as in the older format: the processor wants numbers at even addresses
                whole = whole.clone()
            self._storages[key] = whole.untyped_storage()
        return self._storages[key]


def open_torch_file(path: Path) -> TorchFile:
    """Map a file and read what it holds but its numbers.

    Raises:
        ModelError: it cannot be read, is damaged, is of another format, or asks for more than weights need.
    """
    try:
        with path.open("rb") as file:
            # Private pages: a mapping without write access would make tensors that crash when they are written to.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except ValueError:
        raise ModelError(f"{str(path)!r} is empty", hint=_COPY_AGAIN) from None
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    if data[:4] == ZIP_MAGIC:
        return _open_archive(path, data)
    if data[:1] == b"\x80":
        return _open_legacy(path, data)
    if data[257:262] == b"ustar":
        raise ModelError(
            f"{str(path)!r} is of the tar format that PyTorch wrote before 0.1.10, which is not read here",
            hint="if you trust it: " + CONVERSION.format(path.name, path.stem + "-new.pt"),
        )
    raise ModelError(f"{str(path)!r} is no file of PyTorch", hint=_what_else(data[:256]))


def _what_else(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it is a placeholder of git-lfs: `git lfs pull` fetches the file itself"
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<?xml"):
        return "it is a web page: the download needs another address, or a login"
    return "expected a file of torch.save, or safetensors"


# The zip format


def _open_archive(path: Path, data: mmap.mmap) -> TorchFile:
    members = _members(path, data)
    roots = {
        name.partition("/")[0] for name in members if name.count("/") == 1 and name.endswith("/data.pkl")
    }
    if any(name.partition("/")[2].startswith("code/") for name in members):
        raise ModelError(
            f"{str(path)!r} is a TorchScript archive: it holds a program with its weights, and is not read here",
            hint="get the checkpoint that it was made from",
        )
    if len(roots) != 1:
        raise ModelError(
            f"{str(path)!r} is a zip archive, but not one of torch.save: it has no single data.pkl"
        )
    root = roots.pop()
    order = members.get(f"{root}/byteorder")
    if order is not None and data[order.start : order.start + order.length].strip() != b"little":
        raise ModelError(f"{str(path)!r} was written on a big-endian machine, which is not read here")
    extents = {
        name.removeprefix(f"{root}/data/"): extent
        for name, extent in members.items()
        if name.startswith(f"{root}/data/")
    }
    pickled = members[f"{root}/data.pkl"]
    content, _ = read_pickle(
        data, pickled.start, pickled.start + pickled.length, repr(str(path)), _persistent_storage
    )
    return TorchFile(path, data, content, extents)


def _members(path: Path, data: mmap.mmap) -> dict[str, _Extent]:
    """Where the contents of each member lie."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    # zipfile is not made for damaged files: it raises struct.error, ValueError, UnicodeError, NotImplementedError ...
    except Exception as error:
        raise ModelError(
            f"{str(path)!r} is a zip archive that is damaged or cut short ({error})", hint=_COPY_AGAIN
        ) from None
    members: dict[str, _Extent] = {}
    total = 0
    for info in infos:
        where = f"the member {info.filename[:80]!r} of {str(path)!r}"
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise ModelError(f"{where} is compressed or encrypted, which torch.save never does")
        if info.filename in members:
            raise ModelError(f"{where} is there twice")
        header = data[max(info.header_offset, 0) : max(info.header_offset, 0) + 30]
        if len(header) < 30 or not header.startswith(ZIP_MAGIC):
            raise ModelError(f"{where} is damaged", hint=_COPY_AGAIN)
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        start = info.header_offset + 30 + name_length + extra_length
        total += info.file_size
        if start + info.file_size > len(data) or total > len(data):
            raise ModelError(f"{where} is cut short", hint=_COPY_AGAIN)
        if (
            info.filename.endswith("/data.pkl")
            and zlib.crc32(data[start : start + info.file_size]) != info.CRC
        ):
            raise ModelError(f"{where} is damaged: its checksum is another", hint=_COPY_AGAIN)
        members[info.filename] = _Extent(start, info.file_size)
    return members


def _persistent_storage(pid: Any) -> Any:
    """What a persistent id stands for: ``("storage", kind, key, device, number of elements, view)``."""
    if type(pid) is not tuple or not pid:
        raise UnsuitableError
    if (
        pid[0] == "module" and len(pid) == 4
    ):  # the class of a module that was saved as a whole, with its source text
        return pid[1]
    if pid[0] != "storage" or len(pid) not in (5, 6):
        raise UnsuitableError
    kind, key, length = pid[1], pid[2], pid[4]
    if type(kind) is not StorageKind or type(key) not in (str, int) or not _is_count(length):
        raise UnsuitableError
    record = StorageRecord(str(key), kind, 0, length)
    view = pid[5] if len(pid) == 6 else None
    if view is None:
        return record
    if type(view) is not tuple or len(view) != 3 or not _is_count(view[1]) or not _is_count(view[2]):
        raise UnsuitableError
    if view[1] + view[2] > length:
        raise UnsuitableError
    return StorageRecord(str(key), kind, view[1], view[2])


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 60


# The format before 1.6


def _open_legacy(path: Path, data: mmap.mmap) -> TorchFile:
    where, end = repr(str(path)), len(data)
    kinds: dict[str, StorageKind] = {}

    def persistent(pid: Any) -> Any:
        found = _persistent_storage(pid)
        if type(found) is StorageRecord:
            kinds.setdefault(found.key, found.kind)
        return found

    magic, position = read_pickle(data, 0, end, where)
    if magic != LEGACY_MAGIC:
        raise ModelError(f"{where} is a pickle, but not one of torch.save")
    protocol, position = read_pickle(data, position, end, where)
    if protocol != LEGACY_PROTOCOL:
        raise ModelError(f"{where} is of an unknown version of PyTorch's older format")
    machine, position = read_pickle(data, position, end, where)
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise ModelError(f"{where} was written on a big-endian machine, which is not read here")
    content, position = read_pickle(data, position, end, where, persistent)
    keys, position = read_pickle(data, position, end, where)
    if type(keys) is not list:
        raise ModelError(f"{where} is damaged: it has no list of storages")
    extents: dict[str, _Extent] = {}
    for key in keys:
        if type(key) not in (str, int) or str(key) not in kinds or str(key) in extents:
            raise ModelError(f"{where} is damaged: its list of storages does not fit its tensors")
        dtype = kinds[str(key)].dtype
        count = int.from_bytes(data[position : position + 8], "little")
        start, length = position + 8, count * (dtype.itemsize if dtype else 1)
        if start + length > end:
            raise ModelError(
                f"{where} is cut short: a storage of {length:,} bytes is not whole", hint=_COPY_AGAIN
            )
        extents[str(key)] = _Extent(start, length)
        position = start + length
    return TorchFile(path, data, content, extents)
