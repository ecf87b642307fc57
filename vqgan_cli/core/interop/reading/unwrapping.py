"""Finds the weights in what a file of PyTorch holds: under which key, and what lies beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading.pickled_values import StandIn, TensorRecord
from vqgan_cli.core.interop.reading.plain_values import plain_items

__all__ = ["WRAPPERS", "Unwrapped", "unwrap"]

WRAPPERS = ("ema", "state_dict", "model", "module", "model_state_dict")
"""Keys under which state dicts are saved, in order of preference: averaged weights are those to use."""

_DEPTH = 3
"""A state dict lies at most so deep, as in ``["model"]["state_dict"]``."""

_TENSOR_LIKE = re.compile(r"\._rebuild_|\._reconstruct$|(Tensor|Parameter|Buffer)$")
"""Names of what must not be taken for something beside the weights: sparse, quantized, and numpy's arrays."""


@dataclass(frozen=True)
class Unwrapped:
    """The weights and their surroundings.

    Attributes:
        records: by name.
        wrapper: keys under which they were found, joined by points; empty without any.
        values: plain values beside them.
        notes: what was chosen and what was left out; one sentence each.
    """

    records: dict[str, TensorRecord]
    wrapper: str
    values: dict[str, Any]
    notes: tuple[str, ...]


def unwrap(content: Any, where: str) -> Unwrapped:
    """Find the state dict.

    Args:
        content: of a `TorchFile`.
        where: of what file, for messages.

    Raises:
        ModelError: there is none, or a part of it cannot be read.
    """
    keys: list[str] = []
    beside: dict[str, Any] = {}
    notes: list[str] = []
    while isinstance(content, dict) and len(keys) < _DEPTH:
        found = [key for key in WRAPPERS if _is_state(content.get(key), _DEPTH - len(keys) - 1)]
        if not found:
            break
        if len(found) > 1:
            notes.append(f"of the weights under {' and '.join(found)}, those under {found[0]} are used")
        beside |= {str(key): value for key, value in content.items() if key not in found}
        keys.append(found[0])
        content = content[found[0]]
    if not isinstance(content, dict) or not any(type(value) is TensorRecord for value in content.values()):
        raise _no_weights(content, where)
    records: dict[str, TensorRecord] = {}
    for name, value in content.items():
        if type(value) is TensorRecord:
            if type(name) is not str:
                raise ModelError(f"{where} names a tensor by a {type(name).__name__}, not by a text")
            records[name] = value
        elif type(value) is StandIn and _TENSOR_LIKE.search(value.name):
            raise ModelError(
                f"{where} holds {str(name)[:80]!r} as {value.name}, which is no plain tensor and is not read here"
            )
        else:
            beside[str(name)] = value
    values, left_out = plain_items(beside)
    if left_out:
        notes.append(f"also in the file, and not read: {_listed(left_out)}")
    return Unwrapped(records, ".".join(keys), values, tuple(notes))


def _is_state(value: Any, depth: int) -> bool:
    """Whether a value is a state dict, or wraps one at most so deep."""
    if not isinstance(value, dict):
        return False
    if any(type(each) is TensorRecord for each in value.values()):
        return True
    return depth > 0 and any(_is_state(value.get(key), depth - 1) for key in WRAPPERS)


def _no_weights(content: Any, where: str) -> ModelError:
    hint = "save its weights where its code is installed: torch.save(model.state_dict(), 'weights.pt')"
    if type(content) is StandIn:
        return ModelError(
            f"{where} holds a whole object, a {content.name}, instead of its weights", hint=hint
        )
    if not isinstance(content, dict):
        return ModelError(f"{where} holds a {type(content).__name__}, not weights by their names")
    whole = next((key for key in WRAPPERS if type(content.get(key)) is StandIn), None)
    if whole:
        return ModelError(
            f"{where} holds under {whole!r} a whole object, a {content[whole].name}, instead of its weights",
            hint=hint,
        )
    return ModelError(
        f"{where} holds no tensors, neither by themselves nor under {', '.join(WRAPPERS)}; its keys are "
        f"{_listed(content) or 'none'}"
    )


def _listed(names: Iterable[Any]) -> str:
    """Names in a message: printable, short, and not too many."""
    shown = [str(name)[:60] for name in names]
    shown = [name if name.isprintable() else repr(name) for name in shown]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
