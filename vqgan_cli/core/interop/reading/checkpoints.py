"""Reads another project's checkpoint, whatever wrote it: PyTorch, safetensors, or diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from vqgan_cli.core.artifacts import MODEL_FILE
from vqgan_cli.core.errors import ModelError, did_you_mean
from vqgan_cli.core.interop.foreign import Foreign
from vqgan_cli.core.interop.reading.config_files import config_beside, read_config
from vqgan_cli.core.interop.reading.cursor import COPY_AGAIN
from vqgan_cli.core.interop.reading.plain_values import plain_items
from vqgan_cli.core.interop.reading.torch_files import open_torch_file
from vqgan_cli.core.interop.reading.unwrapping import unwrap

__all__ = ["read_foreign", "read_tensors"]

_SUBFOLDERS = ("vqvae", "vqmodel", "movq")
_FOLDER_WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
    MODEL_FILE,
)
_PREFIXES = ("module.", "_orig_mod.")
"""Put before every name by DataParallel and by torch.compile."""


def read_foreign(
    path: Path, config: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Foreign:
    """Read a checkpoint; tensors are mapped into memory where the file allows.

    Args:
        path: a file of torch.save or safetensors, told by its content; an index of shards (``*.index.json``); or the
            folder of a diffusers model, or one that holds it as ``vqvae`` or ``vqmodel``.
        config: its yaml or json config; None: one of the same name beside the file, or ``config.json`` of a folder.
        settings: nested values of ``--set``, passed on.

    Raises:
        ModelError: there is nothing to read, it is damaged, asks for what weights do not need, or is a model of this
            program already.
    """
    path = path.expanduser()
    try:
        weights = _weights_file(path)
        if weights.name.endswith(".index.json"):
            files = _shards(weights)
            read = _read_shards(weights, files)
        else:
            files = (weights,)
            read = _read_weights(weights)
        config_path = (
            config.expanduser() if config else config_beside(weights, weights.name in _FOLDER_WEIGHTS)
        )
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    return Foreign(
        path=weights.parent if path.is_dir() else path,
        tensors=_without_prefix(read.tensors),
        wrapper=read.wrapper,
        values=read.values,
        config=read_config(config_path) if config_path else {},
        settings=settings or {},
        files=files,
        config_path=config_path,
        notes=read.notes,
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in one file of torch.save or safetensors, without what lies beside it.

    Raises:
        ModelError: as `read_foreign`.
        OSError: it cannot be opened.
    """
    return _without_prefix(_read_weights(path).tensors)


@dataclass(frozen=True)
class _Read:
    """The weights of one file and what was beside them; see `Foreign`."""

    tensors: dict[str, Tensor]
    wrapper: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _weights_file(path: Path) -> Path:
    """The file to read first: itself, or that of a folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ModelError(f"there is no file {str(path)!r}{did_you_mean(path.name, siblings)}")
    for folder in (path, *(path / name for name in _SUBFOLDERS)):
        for name in _FOLDER_WEIGHTS:
            if (folder / name).is_file():
                return folder / name
    inside = sorted(f"{each.name}{'/' * each.is_dir()}" for each in path.iterdir())
    shown = ", ".join(inside[:8]) + (f" and {len(inside) - 8} more" if len(inside) > 8 else "")
    raise ModelError(
        f"the folder {str(path)!r} holds no model of diffusers, that is none of {', '.join(_FOLDER_WEIGHTS)}, "
        f"nor a folder {' or '.join(_SUBFOLDERS)} with one of them; it holds {shown or 'nothing'}",
        hint="of another project's model, name the checkpoint's file",
    )


def _read_weights(path: Path) -> _Read:
    read = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    if not read.tensors:
        raise ModelError(f"{str(path)!r} holds no tensors")
    for name in read.tensors:
        if not name or not name.isprintable() or len(name) > 500:
            raise ModelError(f"{str(path)!r} holds a tensor with an unusable name, {name[:80]!r}")
    return read


def _read_torch(path: Path) -> _Read:
    file = open_torch_file(path)
    found = unwrap(file.content, repr(str(path)))
    tensors = {name: file.tensor(record, name) for name, record in found.records.items()}
    return _Read(tensors, found.wrapper, found.values, found.notes)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as that format does: the length of a header in 8 bytes, and JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000  # the format's own limit


def _read_safetensors(path: Path) -> _Read:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format", "").startswith("vqgan-"):
                raise ModelError(
                    f"{str(path)!r} is a model of this program already ({metadata['format']})",
                    hint="it needs no import: give it to any command that takes a model",
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no iterator
    except SafetensorError as error:
        raise ModelError(f"{str(path)!r} is a damaged safetensors file: {error}", hint=COPY_AGAIN) from None
    return _Read(tensors, values=plain_items({"metadata": metadata})[0])


def _shards(index: Path) -> tuple[Path, ...]:
    """The files that an index names, each once.

    Raises:
        ModelError: it is no index, or names a file that is not beside it.
    """
    places = read_config(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ModelError(f"{str(index)!r} is no index of shards: it has no weight_map of file names")
    names = list(dict.fromkeys(places.values()))
    for name in names:
        if not name or Path(name).name != name or name == "..":
            raise ModelError(f"{str(index)!r} names the shard {name[:80]!r}, which is no file beside it")
        if not (index.parent / name).is_file():
            raise ModelError(f"the shard {name!r} of {str(index)!r} is missing")
    return tuple(index.parent / name for name in names)


def _read_shards(index: Path, shards: tuple[Path, ...]) -> _Read:
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        read = _read_weights(shard)
        twice = sorted(read.tensors.keys() & tensors.keys())
        if twice:
            raise ModelError(f"two shards of {str(index)!r} hold the tensor {twice[0]!r}")
        tensors |= read.tensors
    absent = sorted(read_config(index)["weight_map"].keys() - tensors.keys())
    if absent:
        raise ModelError(
            f"the shards of {str(index)!r} lack {len(absent)} tensors, such as {absent[0][:80]!r}"
        )
    return _Read(tensors)


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = next((each for each in _PREFIXES if all(name.startswith(each) for name in tensors)), None)
    if prefix is None:
        return tensors
    return _without_prefix({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
