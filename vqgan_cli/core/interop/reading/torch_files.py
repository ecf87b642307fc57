"""Files of ``torch.save``, mapped into memory: a tensor is a view of the file and is read when it is used."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading.cursor import COPY_AGAIN
from vqgan_cli.core.interop.reading.pickled_values import TensorRecord
from vqgan_cli.core.interop.reading.torch_containers import ZIP_MAGIC, Extent, read_archive, read_legacy

__all__ = ["TorchFile", "open_torch_file"]

_CONVERSION = "python -c \"import torch; torch.save(torch.load('{}', weights_only=False), '{}')\""


class TorchFile:
    """What a file holds. Its pickle was read, its numbers were not.

    Attributes:
        content: the saved object, of plain types and those of `pickled_values`; each tensor in it is a `TensorRecord`.
    """

    def __init__(self, path: Path, data: mmap.mmap, content: Any, extents: dict[str, Extent]) -> None:
        self.content = content
        self._path = path
        self._data = data
        self._extents = extents
        self._storages: dict[str, torch.UntypedStorage] = {}

    def tensor(self, record: TensorRecord, name: str) -> Tensor:
        """The tensor that a record describes; those of one storage share memory, as they did when they were saved.

        What is written to it never reaches the file.

        Args:
            record: found in ``content``.
            name: for messages.

        Raises:
            ModelError: the file does not hold what the record asks for.
        """
        where = f"the tensor {name[:80]!r} in {str(self._path)!r}"
        storage, itemsize = record.storage, record.dtype.itemsize
        extent = self._extents.get(storage.key)
        if extent is None:
            raise ModelError(f"{where} lies in a storage that the file lacks")
        first, length = storage.start * storage.kind.itemsize, storage.length * storage.kind.itemsize
        if first + length > extent.length:
            held = max(extent.length - first, 0)
            raise ModelError(
                f"{where} lies in a storage of {length:,} bytes, of which the file holds {held:,}",
                hint=COPY_AGAIN,
            )
        elements, count = math.prod(record.size), length // itemsize
        if not elements:
            if math.prod(size for size in record.size if size) >= 1 << 40:
                raise ModelError(f"{where} has an impossible size")
            return torch.empty(record.size, dtype=record.dtype)
        steps = zip(record.size, record.stride, strict=True)
        if record.offset + sum((size - 1) * stride for size, stride in steps) >= count:
            raise ModelError(f"{where} reaches outside its storage, which holds {count:,} elements")
        if elements > count:  # a file of a few bytes could ask for any amount of memory
            raise ModelError(
                f"{where} repeats the {count:,} elements of its storage",
                hint="save a contiguous copy: tensor.clone(memory_format=torch.contiguous_format)",
            )
        if first % itemsize:
            raise ModelError(f"{where} begins inside an element of its storage")
        untyped = self._storage(storage.key, extent, itemsize)
        offset = first // itemsize + record.offset
        return torch.empty(0, dtype=record.dtype).set_(untyped, offset, record.size, record.stride)

    def _storage(self, key: str, extent: Extent, itemsize: int) -> torch.UntypedStorage:
        if key not in self._storages:
            mapped = torch.frombuffer(self._data, dtype=torch.uint8, count=extent.length, offset=extent.start)
            if (
                extent.start % itemsize
            ):  # the older format does not align; unaligned numbers are no valid tensors
                mapped = mapped.clone()
            self._storages[key] = mapped.untyped_storage()
        return self._storages[key]


def open_torch_file(path: Path) -> TorchFile:
    """Map a file and read its pickle.

    Raises:
        ModelError: it is damaged, of another format, or asks for more than weights need.
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            # Private pages, as a mapping without write access makes tensors that crash when they are written to.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except ValueError:
            raise ModelError(f"{str(path)!r} is empty", hint=COPY_AGAIN) from None
    if data[:4] == ZIP_MAGIC:
        return TorchFile(path, data, *read_archive(path, data))
    if data[:1] == b"\x80":
        return TorchFile(path, data, *read_legacy(path, data))
    if data[257:262] == b"ustar":
        raise ModelError(
            f"{str(path)!r} is a tar archive, as PyTorch before 0.1.10 wrote them, and is not read here",
            hint=f"if you trust it: {_CONVERSION.format(path.name, path.stem + '-new.pt')}",
        )
    raise ModelError(f"{str(path)!r} is no checkpoint", hint=_what_else(data[:256]))


def _what_else(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it is a placeholder of git-lfs: `git lfs pull` fetches the file itself"
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<?xml"):
        return "it is a web page: the download needs another address, or a login"
    return "expected a file of torch.save or safetensors"
