"""Checkpoints that are whole or absent: staged, flushed, renamed, with a checksum of every file.

A checkpoint is a folder ``step-00001000`` of safetensors and JSON files; nothing is pickled. ``manifest.json`` lists
the SHA-256 of the others and is written last.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vqgan_cli.core.errors import CheckpointError, OutputError
from vqgan_cli.core.files import staged_folder
from vqgan_cli.core.training.sharding import divided_like, whole

__all__ = [
    "Checkpoint",
    "checkpoint_folders",
    "discard_after",
    "load",
    "load_newest",
    "pack_optimizer",
    "save",
    "step_of",
    "unpack_optimizer",
    "verify",
]

_NAME = re.compile(r"step-(\d{8,})|\.step-(\d{8,})\.replaced")  # see `staged_folder` for the latter
_MANIFEST = "manifest.json"
_FACTS = "facts.json"


@dataclass
class Checkpoint:
    """Everything that a run needs to go on.

    Attributes:
        step: optimiser steps done.
        tensors: state dicts by name, such as ``tokenizer`` or ``optimizer``; one file each.
        facts: what is not a tensor; must survive JSON.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimizer's state as flat tensors (``12.exp_avg``) and its groups as JSON.

    Every process must call it for a divided one (see `vqgan_cli.core.training.sharding`).
    """
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": whole(torch.as_tensor(value))
        for index, slots in state["state"].items()
        for name, value in slots.items()
    }
    return tensors, state["param_groups"]


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Restore what `pack_optimizer` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # Fused updates walk memory in order, so the moments must be laid out as their parameters are.
    for parameter, slots in optimizer.state.items():
        for name, value in slots.items():
            if value.shape == parameter.shape and value.ndim:
                slots[name] = divided_like(value, parameter)


def save(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint, then remove the oldest beyond ``keep``.

    Raises:
        OutputError: it cannot be written; earlier checkpoints are untouched.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    with staged_folder(target) as staging:
        try:
            for name, tensors in checkpoint.tensors.items():
                flat = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
                save_file(flat, staging / f"{name}.safetensors")
        except SafetensorError as error:
            raise OutputError(f"cannot write {str(target)!r}: {error}") from error
        facts = {"step": checkpoint.step, **checkpoint.facts}
        (staging / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        manifest = {path.name: _sha256(path) for path in sorted(staging.iterdir())}
        (staging / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for old in checkpoint_folders(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def checkpoint_folders(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; staging folders and strangers are not among them."""
    if not folder.is_dir():
        return []
    # What begins with a dot comes first, and counts where the folder that replaces it is not there.
    found = {step_of(p): p for p in sorted(folder.iterdir()) if _NAME.fullmatch(p.name) and p.is_dir()}
    return [found[step] for step in sorted(found)]


def step_of(folder: Path) -> int:
    """The optimiser steps done of a checkpoint, from its name."""
    match = _NAME.fullmatch(folder.name)
    assert match is not None
    return int(match[1] or match[2])


def discard_after(folder: Path, step: int) -> list[Path]:
    """Remove the checkpoints beyond a step from which a run goes on, and say which they were.

    They belong to a history that is given up, or are damaged; the next resume must not take them, nor may they be
    kept in place of new ones. What a killed process left half written is removed as well.
    """
    for staging in folder.glob(".step-*.partial"):
        shutil.rmtree(staging, ignore_errors=True)
    abandoned = [path for path in checkpoint_folders(folder) if step_of(path) > step]
    for path in abandoned:
        shutil.rmtree(path, ignore_errors=True)
    return abandoned


def verify(folder: Path) -> str:
    """What is wrong with a checkpoint, in a few words; empty if all its checksums agree."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if _FACTS not in manifest:
            return f"{_MANIFEST} does not list {_FACTS}"
        for name, expected in manifest.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if _sha256(folder / name) != expected:
                return f"{name} is damaged (checksum differs)"
    except FileNotFoundError:
        return f"{_MANIFEST} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"{_MANIFEST} cannot be read ({error})"
    return ""


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint whose checksums agree.

    Raises:
        CheckpointError: it is damaged.
    """
    problem = verify(folder)
    if problem:
        raise CheckpointError(f"checkpoint {str(folder)!r}: {problem}")
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        names = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))  # and no file without a checksum
        files = [folder / name for name in sorted(names) if name.endswith(".safetensors")]
        tensors = {path.stem: load_file(path) for path in files}
        return Checkpoint(int(facts.pop("step")), tensors, facts)
    # Of another program, checksums and all.
    except (SafetensorError, ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"checkpoint {str(folder)!r} cannot be read: {error}") from None


def load_newest(folder: Path) -> tuple[Checkpoint, Path, list[str]]:
    """The newest checkpoint that is whole.

    Args:
        folder: the ``checkpoints`` folder of a run, or one checkpoint.

    Returns:
        The checkpoint, its folder, and a message for each newer one that was passed over.

    Raises:
        CheckpointError: there is none.
    """
    if _NAME.fullmatch(folder.name):
        return load(folder), folder, []
    passed_over: list[str] = []
    for candidate in reversed(checkpoint_folders(folder)):
        try:
            return load(candidate), candidate, passed_over
        except CheckpointError as error:
            passed_over.append(error.message)
    details = "".join(f"\n  {line}" for line in passed_over)
    raise CheckpointError(
        f"no usable checkpoint in {str(folder)!r}{details}", hint="start anew without --resume"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
