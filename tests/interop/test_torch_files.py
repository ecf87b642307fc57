"""Both formats of ``torch.save`` against `torch.load`, damaged files, and what reading costs."""

from __future__ import annotations

import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from tests.interop.hostile import MACHINE, archive, legacy, text, weights
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading.pickled_values import TensorRecord
from vqgan_cli.core.interop.reading.torch_files import open_torch_file

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.uint16,
]


@pytest.fixture(params=[True, False], ids=["zip", "older"])
def zipped(request: pytest.FixtureRequest) -> bool:
    return request.param


def save(content: Any, path: Path, zipped: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def tensors(path: Path) -> dict[str, torch.Tensor]:
    file = open_torch_file(path)
    return {
        name: file.tensor(value, name)
        for name, value in file.content.items()
        if isinstance(value, TensorRecord)
    }


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal in type, shape, strides and every bit."""
    same = a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride()
    return same and bytes(a.clone().untyped_storage()) == bytes(b.clone().untyped_storage())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_comes_back(tmp_path: Path, dtype: torch.dtype, zipped: bool) -> None:
    """Oracle: the tensors that were saved, bit for bit; odd lengths before them shift the older format's storages."""
    values = torch.arange(-6, 6).reshape(3, 4)
    content = {"odd": torch.ones(3, dtype=torch.uint8), "a": values.to(dtype), "b": values[0].to(dtype)}
    read = tensors(save(content, tmp_path / "x.pt", zipped))
    assert read.keys() == content.keys()
    assert all(equal(read[name], content[name]) for name in content)
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in read.values())


def test_views_share_memory_and_keep_strides(tmp_path: Path, zipped: bool) -> None:
    """Oracle: `torch.load`; and views of one storage are views of one storage again."""
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "base": base,
        "rows": base[1:3],
        "turned": base.t(),
        "every other": base[:, ::2],
        "last": base[3, 5],
        "tied": base,
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(1.5),
        "empty": torch.empty(0),
        "empty rows": torch.empty(0, 512),
        "parameter": nn.Parameter(torch.ones(3)),
        "frozen": nn.Parameter(torch.ones(3), requires_grad=False),
        "buffer": nn.Buffer(torch.ones(2)),
    }
    path = save(content, tmp_path / "x.pt", zipped)
    read, loaded = tensors(path), torch.load(path, weights_only=False)
    assert read.keys() == loaded.keys()
    assert all(equal(read[name], loaded[name]) for name in loaded)
    assert all(type(tensor) is torch.Tensor and not tensor.requires_grad for tensor in read.values())
    pointer = read["base"].untyped_storage().data_ptr()
    for name in ("rows", "turned", "every other", "last", "tied"):
        assert read[name].untyped_storage().data_ptr() == pointer


def test_tensors_with_attributes(tmp_path: Path, zipped: bool) -> None:
    """Oracle: the values that were saved; attributes that somebody gave a tensor are left behind."""
    plain, parameter = torch.ones(3), nn.Parameter(torch.zeros(2))
    plain.note = parameter.note = "x"  # type: ignore[attr-defined]
    read = tensors(save({"plain": plain, "parameter": parameter}, tmp_path / "x.pt", zipped))
    assert equal(read["plain"], torch.ones(3))
    assert equal(read["parameter"], torch.zeros(2))
    assert not hasattr(read["plain"], "note")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol(tmp_path: Path, zipped: bool, protocol: int) -> None:
    """Oracle: the state dict that was saved."""
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    path = tmp_path / "x.pt"
    torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    read = tensors(path)
    assert list(read) == list(state)
    assert all(equal(read[name], state[name]) for name in state)


def test_writing_to_a_tensor_leaves_the_file(tmp_path: Path, zipped: bool) -> None:
    """Oracle: the bytes of the file."""
    path = save({"a": torch.zeros(1000)}, tmp_path / "x.pt", zipped)
    before = path.read_bytes()
    read = tensors(path)["a"]
    read.fill_(7)
    assert read.sum() == 7000
    assert path.read_bytes() == before


# Descriptions that do not fit the numbers


def described(
    path: Path,
    zipped: bool,
    *,
    offset: Any = 0,
    size: Any = (3,),
    stride: Any = (1,),
    length: Any = 3,
    key: Any = "0",
    data: bytes = b"\0" * 12,
) -> Path:
    """A file of one tensor of three floats, described as one likes."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return obj.id if isinstance(obj, Storage) else None

    class Storage:
        id = ("storage", torch.FloatStorage, key, "cpu", length, None)

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, {})

    inner = path.with_suffix(".pkl")
    with inner.open("wb") as file:
        Pickler(file, 2).dump({"a": Tensor()})
    if zipped:
        archive(path, inner.read_bytes(), {"0": data})
    else:
        legacy(path, inner.read_bytes(), keys=["0"], rest=struct.pack("<q", len(data) // 4) + data)
    return path


OUTSIDE = {
    "offset": ({"offset": 1}, "reaches outside"),
    "far offset": ({"offset": 2**62}, "reaches outside"),
    "negative offset": ({"offset": -1}, "does not take"),
    "fraction": ({"offset": 0.5}, "does not take"),
    "truth": ({"offset": True}, "does not take"),
    "size": ({"size": (4,)}, "reaches outside"),
    "huge size": ({"size": (2**62, 2**62), "stride": (1, 1)}, "reaches outside"),
    "huge number": ({"size": (10**300,)}, "does not take"),
    "negative size": ({"size": (-1,)}, "does not take"),
    "size of another kind": ({"size": "abc"}, "does not take"),
    "dimensions": ({"size": (1,) * 65, "stride": (1,) * 65}, "does not take"),
    "strides": ({"size": (3, 1)}, "does not take"),
    "stride": ({"stride": (2,)}, "reaches outside"),
    "negative stride": ({"stride": (-1,)}, "does not take"),
    "expanded": ({"size": (2**40,), "stride": (0,)}, "repeats the 3 elements"),
    "windows": ({"size": (2, 2), "stride": (1, 1)}, "repeats the 3 elements"),
    "empty and huge": ({"size": (0, 2**62, 2**62), "stride": (1, 1, 1)}, "impossible size"),
    "storage": ({"length": 4}, "of which the file holds 12"),
    "huge storage": ({"length": 2**59}, "of which the file holds 12"),
    "impossible storage": ({"length": 2**63}, "unexpected type"),
    "negative storage": ({"length": -1}, "unexpected type"),
    "storage of no length": ({"length": None}, "unexpected type"),
    "key of another kind": ({"key": ("0",)}, "unexpected type"),
    "data that are short": ({"data": b"\0" * 8}, "of which the file holds 8"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_tensors_outside_their_storage_are_refused(tmp_path: Path, zipped: bool, name: str) -> None:
    """Oracle: the sizes of the file; each is an error with the reason, and no memory is taken for it."""
    changes, reason = OUTSIDE[name]
    path = described(tmp_path / "x.pt", zipped, **changes)
    with pytest.raises(ModelError, match=reason):
        tensors(path)


def test_a_description_that_fits(tmp_path: Path, zipped: bool) -> None:
    """Oracle: closed form; the test above fails for the change alone."""
    path = described(tmp_path / "x.pt", zipped, data=struct.pack("<3f", 1, 2, 3))
    assert tensors(path)["a"].tolist() == [1, 2, 3]


def test_a_storage_that_is_not_there(tmp_path: Path, zipped: bool) -> None:
    """Oracle: closed form. Keys are looked up among the members, so they are no paths."""
    path = described(tmp_path / "x.pt", zipped, key="../data.pkl")
    with pytest.raises(ModelError, match=r"lacks|does not fit"):
        tensors(path)


@pytest.mark.parametrize(
    "pid", ["text", 7, None, (), ("storage",), ("other", 1, 2, 3, 4, 5), ("storage", 1, "0", "cpu", 3, None)]
)
def test_odd_persistent_ids_are_refused(tmp_path: Path, zipped: bool, pid: Any) -> None:
    """Oracle: invariant. Only storages, and classes of modules, are persistent."""
    content = pickle.dumps(pid, 2)[:-1] + pickle.BINPERSID + pickle.STOP
    if zipped:
        archive(tmp_path / "x.pt", content)
    else:
        legacy(tmp_path / "x.pt", content)
    with pytest.raises(ModelError, match="unexpected type"):
        open_torch_file(tmp_path / "x.pt")


def test_negated_and_conjugated_tensors_are_refused(tmp_path: Path) -> None:
    """Oracle: closed form. Their storages hold other values than they have."""
    torch.save({"a": torch.randn(3, dtype=torch.complex64).conj()}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match="does not take"):
        open_torch_file(tmp_path / "x.pt")


# Files of another kind, and damaged ones


def test_every_cut_is_an_error(tmp_path: Path, zipped: bool) -> None:
    """Oracle: invariant. A file without its end is never read, wherever it is cut."""
    whole = save(weights(note="x" * 50), tmp_path / "whole.pt", zipped).read_bytes()
    path = tmp_path / "cut.pt"
    for end in [*range(0, len(whole), 5), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError):
            open_torch_file(path)


def test_changed_bytes_are_errors_or_values(tmp_path: Path, zipped: bool) -> None:
    """Oracle: invariant. Nothing but `ModelError` comes out of damaged files."""
    whole = save(
        {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3)}, tmp_path / "whole.pt", zipped
    ).read_bytes()
    rng, path, errors = random.Random(0), tmp_path / "changed.pt", []
    for _ in range(600):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            file = open_torch_file(path)
            for value in file.content.values() if isinstance(file.content, dict) else ():
                if isinstance(value, TensorRecord):
                    file.tensor(value, "a").sum()
        except ModelError as error:
            errors.append(error.message)
    assert 0 < len(errors) < 600
    assert all(message.isprintable() for message in errors)


def test_a_damaged_pickle_is_noticed(tmp_path: Path) -> None:
    """Oracle: the checksum of the archive; the change alone would be another name."""
    path = save({"weight": torch.ones(3)}, tmp_path / "x.pt", zipped=True)
    path.write_bytes(path.read_bytes().replace(b"weight", b"weighs"))
    with pytest.raises(ModelError, match="checksum"):
        open_torch_file(path)


def test_files_without_checksums(tmp_path: Path) -> None:
    """Oracle: the tensor that was saved; PyTorch can be told to leave them out."""
    path = tmp_path / "x.pt"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert tensors(path)["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"", "is empty", "again"),
        (b"\x80", "cut short", "again"),
        (b"hello", "no checkpoint", "safetensors"),
        (bytes(range(256)) * 4, "no checkpoint", "safetensors"),
        (b"\0" * 1000, "no checkpoint", "safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "no checkpoint", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "no checkpoint", "web page"),
        (pickle.dumps({"a": 1}, 2), "not one of torch.save", "safetensors"),
        (pickle.dumps({"a": 1}, 0), "no checkpoint", "safetensors"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged", "again"),
        (b"storages" + b"\0" * 249 + b"ustar\0" + b"\0" * 300, "tar archive", "torch.save"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes, message: str, hint: str) -> None:
    """Oracle: closed form. Each is told what it is, and what to do."""
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        open_torch_file(path)
    assert hint in (error.value.hint or "")


def test_torchscript_is_refused_by_name(tmp_path: Path) -> None:
    """Oracle: an archive that TorchScript wrote."""
    path = tmp_path / "x.pt"
    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)
    with pytest.raises(ModelError, match="TorchScript archive"):
        open_torch_file(path)


def test_other_archives(tmp_path: Path) -> None:
    """Oracle: closed form. Archives with compression, with a member twice, of other programs."""
    path, pickled = tmp_path / "x.pt", pickle.dumps({"a": 1}, 2)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights.npy", b"abc")
    with pytest.raises(ModelError, match=r"no single data\.pkl"):
        open_torch_file(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickled)
    with pytest.raises(ModelError, match="compressed"):
        open_torch_file(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("archive/data.pkl", pickled)
    with pytest.raises(ModelError, match="twice"):
        open_torch_file(path)


def test_archives_that_lie_over_themselves(tmp_path: Path) -> None:
    """Oracle: closed form. A thousand members that are the same bytes are more than the file holds."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}, 2))
        file.writestr("archive/data/0", b"\0" * 10_000)
        first = file.infolist()[-1]
        for i in range(1, 1000):
            again = zipfile.ZipInfo(f"archive/data/{i}")
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.file_size = again.compress_size = first.file_size
            file.filelist.append(again)
    with pytest.raises(ModelError, match="longer than the file"):
        open_torch_file(path)


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    """Oracle: closed form. Both formats say so in their own way."""
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}, 2))
        file.writestr("archive/byteorder", "big")
    with pytest.raises(ModelError, match="big-endian"):
        open_torch_file(path)
    legacy(path, pickle.dumps({}, 2), machine={**MACHINE, "little_endian": False})
    with pytest.raises(ModelError, match="big-endian"):
        open_torch_file(path)


def test_views_of_storages_in_the_oldest_files(tmp_path: Path) -> None:
    """Oracle: closed form. Before 0.4 a storage could be a part of another, as the sixth entry of its id says."""
    entries = [text("storage") + b"ctorch\nFloatStorage\n" + text("7") + text("cpu")]
    entries += [
        b"K\x06",
        b"(" + text("8") + b"K\x02K\x03t",
    ]  # six elements, of which three from the second on
    pid = b"(" + b"".join(entries) + b"t" + pickle.BINPERSID
    call = b"ctorch._utils\n_rebuild_tensor\n(" + pid + b"K\x01K\x02\x85K\x01\x85t" + pickle.REDUCE
    content = b"\x80\x02}" + text("a") + call + b"s."
    path = tmp_path / "x.pt"
    legacy(path, content, keys=["7"], rest=struct.pack("<q6f", 6, 0, 1, 2, 3, 4, 5))
    assert tensors(path)["a"].tolist() == [3, 4]


# Cost


MEASURE = """
import os, sys
from pathlib import Path
from vqgan_cli.core.interop.reading import read_foreign

def resident():  # MiB
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

start = resident()
foreign = read_foreign(Path(sys.argv[1]))
shapes = [tuple(tensor.shape) for tensor in foreign.tensors.values()]
read = resident()
total = sum(float(tensor.sum()) for tensor in foreign.tensors.values())
print(len(shapes), read - start, resident() - start, total)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_reading_maps_and_does_not_load(tmp_path: Path) -> None:
    """Oracle: resident memory of a process of its own. Names and shapes of 200 MiB cost less than a tenth of that;
    it grows by the whole file when the values are used, which shows that it is measured.
    """
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {str(i): torch.full((25, 1 << 18), 1.0) for i in range(8)}}, path)
    assert path.stat().st_size > 200 << 20
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    count, read, used, total = done.stdout.split()
    assert (int(count), float(total)) == (8, 8 * 25 * (1 << 18))
    assert int(read) < 20
    assert int(used) > 180
