"""Another project's checkpoint as it lies on disk, and the account of what becomes of each of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vqgan_cli.core.errors import ModelError

__all__ = ["Dropped", "Foreign", "Ledger"]


@dataclass(frozen=True)
class Foreign:
    """A checkpoint that was read and not yet understood. Nothing in it was executed.

    Attributes:
        path: the file, or the folder of a diffusers model.
        tensors: flat state dict; memory-mapped where the format allows.
        wrapper: key of the file under which the state dict was found, such as ``state_dict``; empty without one.
        values: plain values beside the weights, such as ``global_step`` and ``epoch``.
        config: its yaml or json config; empty without one.
        config_path: the file of the config, given or found beside the weights; None without one.
        settings: nested values that the user gave with ``--set``, which win over everything that is read or guessed.
        files: those that hold the weights, in order.
        notes: what the user should know about the reading, such as which of two state dicts was taken; one sentence
            each.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    wrapper: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    config_path: Path | None = None
    notes: tuple[str, ...] = ()

    def setting(self, key: str) -> Any:
        """The value of a dotted key that the user gave with ``--set``, or None."""
        value: Any = self.settings
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True)
class Dropped:
    """Tensors that the converted model does not need, and why."""

    names: tuple[str, ...]
    reason: str


class Ledger:
    """Hands out the tensors of a file, each once: what is neither used nor dropped with a reason is an error."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._left = dict(tensors)
        self.used: list[str] = []
        self.dropped: list[Dropped] = []

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def __iter__(self) -> Iterator[str]:
        """Names of the tensors that are neither used nor dropped."""
        return iter(list(self._left))

    def look(self, name: str) -> Tensor:
        """A tensor that stays in the ledger, for its shape.

        Raises:
            ModelError: it is not there.
        """
        if name not in self._left:
            raise ModelError(f"the checkpoint lacks the tensor {name!r}")
        return self._left[name]

    def take(self, name: str) -> Tensor:
        """A tensor that the converted model uses.

        Raises:
            ModelError: it is not there.
        """
        tensor = self.look(name)
        del self._left[name]
        self.used.append(name)
        return tensor

    def take_below(self, prefix: str) -> dict[str, Tensor]:
        """All tensors whose names start with a prefix, without it."""
        return {name.removeprefix(prefix): self.take(name) for name in self if name.startswith(prefix)}

    def drop(self, names: Iterable[str], reason: str) -> None:
        """Account for tensors that are not needed; without any, nothing is noted."""
        present = tuple(name for name in names if name in self._left)
        for name in present:
            del self._left[name]
        if present:
            self.dropped.append(Dropped(present, reason))

    def drop_below(self, prefix: str, reason: str) -> None:
        """`drop` all tensors whose names start with a prefix."""
        self.drop([name for name in self if name.startswith(prefix)], reason)

    def settle(self) -> None:
        """Check that nothing is left.

        Raises:
            ModelError: naming the tensors that nobody knows.
        """
        if self._left:
            left = sorted(self._left)
            shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
            raise ModelError(
                f"the checkpoint holds {len(left)} tensors that have no place in a model of its kind: {shown}",
                hint="it is of another architecture than its names say; nothing was imported",
            )
