"""Reads another project's checkpoint, whatever wrote it: PyTorch, safetensors, or a folder of diffusers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vqgan_cli.core.errors import ModelError, did_you_mean
from vqgan_cli.core.interop.foreign import Foreign
from vqgan_cli.core.interop.pickled_names import StandIn, TensorRecord
from vqgan_cli.core.interop.plain_values import plain_items
from vqgan_cli.core.interop.torch_files import TorchFile, open_torch_file

__all__ = ["WRAPPERS", "read_foreign"]

WRAPPERS = ("ema", "state_dict", "model", "module", "model_state_dict")
"""Keys under which state dicts are saved, in order of preference: averaged weights are those to use."""

_PREFIXES = ("module.", "_orig_mod.")
"""Put before every name by DataParallel and by torch.compile."""

_SUBFOLDERS = ("vqvae", "vqmodel", "movq")
_WEIGHTS = tuple(
    f"diffusion_pytorch_model.{suffix}"
    for suffix in ("safetensors", "safetensors.index.json", "bin", "bin.index.json")
)
_CONFIGS = (".yaml", ".yml", ".json")
_MAX_CONFIG = 4 << 20


def read_foreign(
    path: Path, config: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Foreign:
    """Read a checkpoint; tensors are mapped into memory where the file allows.

    Args:
        path: a file of torch.save or safetensors (told by its content), an index of shards (``*.index.json``), or a
            folder of diffusers or one above it.
        config: its yaml or json config; None: one of the same name beside it, or ``config.json`` of a folder.
        settings: nested values of ``--set``, passed on.

    Raises:
        ModelError: there is nothing to read, it is damaged, asks for what weights do not need, or is a model of this
            program already.
    """
    path = path.expanduser()
    if path.is_dir():
        path = _model_folder(path)
        weights = next(path / name for name in _WEIGHTS if (path / name).is_file())
    elif path.is_file():
        weights = path
    else:
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ModelError(f"there is no file {str(path)!r}{did_you_mean(path.name, siblings)}")
    if weights.name.endswith(".index.json"):
        read, files = _read_shards(weights)
    else:
        read, files = _read_weights(weights), (weights,)
    if not read.tensors:
        raise ModelError(f"{str(path)!r} holds no tensors")
    config_path = config.expanduser() if config else _config_beside(weights)
    return Foreign(
        path=path,
        tensors=_without_prefix(read.tensors),
        files=files,
        wrapper=read.wrapper,
        values=read.values,
        config=_read_config(config_path) if config_path else {},
        config_path=config_path,
        settings=settings or {},
        notes=read.notes,
    )


class _Read:
    """Weights of one file, and what was beside them."""

    def __init__(
        self,
        tensors: dict[str, Tensor],
        wrapper: str = "",
        values: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.tensors = tensors
        self.wrapper = wrapper
        self.values = values or {}
        self.notes = notes


def _model_folder(folder: Path) -> Path:
    for candidate in (folder, *(folder / name for name in _SUBFOLDERS)):
        if any((candidate / name).is_file() for name in _WEIGHTS):
            return candidate
    try:
        inside = sorted(each.name + "/" * each.is_dir() for each in folder.iterdir())
    except OSError as error:
        raise ModelError(f"{str(folder)!r} cannot be read: {error.strerror or error}") from None
    shown = ", ".join(inside[:8]) + (f" and {len(inside) - 8} more" if len(inside) > 8 else "")
    raise ModelError(
        f"the folder {str(folder)!r} holds no model of diffusers ({', '.join(_WEIGHTS)}, there or in "
        f"{', '.join(name + '/' for name in _SUBFOLDERS)}); in it: {shown or 'nothing'}",
        hint="name the checkpoint's file itself",
    )


def _read_weights(path: Path) -> _Read:
    return _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)


# safetensors


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as that format does: the header's length in 8 bytes, then JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    return head[8:] == b"{" and head[:1] != b"\x80"


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
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is not a readable safetensors file: {error}") from None
    return _Read(_with_usable_names(tensors, path), values=plain_items({"metadata": metadata})[0])


def _read_shards(index: Path) -> tuple[_Read, tuple[Path, ...]]:
    described = _read_config(index)
    named = described.get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(file, str) for file in named.values()):
        raise ModelError(f"{str(index)!r} is no index of shards: it has no weight_map of file names")
    names = list(dict.fromkeys(named.values()))
    for name in names:
        if Path(name).name != name or name in ("", "..", "."):
            raise ModelError(f"{str(index)!r} names the shard {name!r}, which is not a file beside it")
        if not (index.parent / name).is_file():
            raise ModelError(f"the shard {name!r} of {str(index)!r} is missing")
    tensors: dict[str, Tensor] = {}
    for name in names:
        shard = _read_weights(index.parent / name).tensors
        twice = sorted(shard.keys() & tensors.keys())
        if twice:
            raise ModelError(f"two shards of {str(index)!r} hold the tensor {twice[0]!r}")
        tensors |= shard
    absent = sorted(named.keys() - tensors.keys())
    if absent:
        raise ModelError(f"the shards of {str(index)!r} lack {len(absent)} tensors, such as {absent[0]!r}")
    return _Read(tensors), tuple(index.parent / name for name in names)


# PyTorch


def _read_torch(path: Path) -> _Read:
    file = open_torch_file(path)
    state, wrapper, beside, notes = _unwrapped(file.content, path)
    tensors, others = _tensors(state, file, path)
    values, left_out = plain_items({**others, **beside})
    if left_out:
        notes += (f"also in the file, and not read: {', '.join(left_out)}",)
    return _Read(tensors, wrapper, values, notes)


def _unwrapped(content: Any, path: Path) -> tuple[dict[Any, Any], str, dict[str, Any], tuple[str, ...]]:
    """The state dict, the key it was found under, what lies beside it, and notes."""
    keys: list[str] = []
    beside: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    while isinstance(content, dict):
        found = [key for key in WRAPPERS if _has_tensors(content.get(key))]
        if not found:
            if any(type(value) is TensorRecord for value in content.values()):
                return content, ".".join(keys), beside, notes
            break
        keys.append(found[0])
        beside |= {str(key): value for key, value in content.items() if key not in found}
        if len(found) > 1:
            notes += (f"of the weights under {' and '.join(found)}, those under {found[0]} are used",)
        content = content[found[0]]
    where = repr(str(path))
    if type(content) is StandIn:
        raise ModelError(
            f"{where} holds a whole object of the class {content.name}, not its weights",
            hint="save its weights where its code is installed: torch.save(model.state_dict(), 'weights.pt')",
        )
    if not isinstance(content, dict):
        raise ModelError(f"{where} holds a {type(content).__name__}, not weights by their names")
    shown = ", ".join(repr(key)[:60] for key in list(content)[:8])
    raise ModelError(
        f"{where} holds no tensors by themselves or under {', '.join(WRAPPERS)}; its keys: {shown or 'none'}"
    )


def _has_tensors(value: Any, depth: int = 2) -> bool:
    """Whether a value is a state dict, or wraps one."""
    if not isinstance(value, dict):
        return False
    if any(type(each) is TensorRecord for each in value.values()):
        return True
    return depth > 0 and any(_has_tensors(value.get(key), depth - 1) for key in WRAPPERS)


def _tensors(state: dict[Any, Any], file: TorchFile, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a state dict, and the other entries that are no weights."""
    tensors, others = {}, {}
    for name, value in state.items():
        if type(value) is TensorRecord:
            if type(name) is not str:
                raise ModelError(f"{str(path)!r} names a tensor by a {type(name).__name__}, not by a text")
            tensors[name] = file.tensor(value, name)
        elif type(value) is StandIn and value.name.startswith(("torch.", "numpy.")):
            raise ModelError(
                f"{str(path)!r} holds {str(name)[:80]!r} as {value.name}, which is no plain tensor; it is not read here"
            )
        else:
            others[str(name)] = value
    return _with_usable_names(tensors, path), others


def _with_usable_names(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name in tensors:
        if not name or not name.isprintable() or len(name) > 500:
            raise ModelError(f"{str(path)!r} holds a tensor with an unusable name, {name[:80]!r}")
    return tensors


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in range(4):
        prefix = next((each for each in _PREFIXES if all(name.startswith(each) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


# Config


def _config_beside(weights: Path) -> Path | None:
    return next((path for path in _candidates(weights) if path.is_file() and path != weights), None)


def _candidates(weights: Path) -> Iterator[Path]:
    if weights.name in _WEIGHTS:
        yield weights.with_name("config.json")
    else:
        yield from (weights.with_suffix(suffix) for suffix in _CONFIGS)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise ModelError(f"{str(path)!r} is too large for a config")
        text = path.read_text(encoding="utf-8")
        read = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ModelError(f"the config {str(path)!r} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())[:300]
        raise ModelError(f"the config {str(path)!r} is not readable: {problem}") from None
    if not isinstance(read, dict):
        raise ModelError(f"the config {str(path)!r} has no keys with values")
    return read
