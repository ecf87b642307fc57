"""The config models in words: every key with its meaning, and validation failures as plain sentences.

Pydantic reports what its own machinery saw ("Extra inputs are not permitted"). A user needs the dotted key, the
value, what was expected, and the key that was probably meant; all of that can be read from the models.
"""

from __future__ import annotations

import difflib
import reprlib
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.config.registry import OneOf
from vqgan_cli.core.errors import did_you_mean

__all__ = ["Setting", "problems_of", "settings"]

Location = Sequence[str | int]

_SHORT = reprlib.Repr()
"""Looks at the first items only: a value that refers to another many times may have no end when written out."""
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


@dataclass(frozen=True)
class Setting:
    """One key of a config.

    Attributes:
        key: dotted, as ``--set`` takes it: ``tokenizer.codebook_size``.
        expected: the values it takes, in words: ``a whole number above 0``.
        default: the value when no preset and no flag gives one.
        description: meaning and unit, one sentence.
    """

    key: str
    expected: str
    default: Any
    description: str


def settings() -> list[Setting]:
    """Every key of `ExperimentConfig`, in the order of declaration; sections themselves are not listed."""
    return [
        Setting(
            key=key,
            expected=_in_words(field.annotation, field.metadata),
            default=field.get_default(call_default_factory=True),
            description=field.description or "",
        )
        for key, field in _fields(ExperimentConfig)
    ]


def problems_of(error: ValidationError, called: Callable[[str], str] = str) -> list[str]:
    """One sentence per failure of validating an `ExperimentConfig`: dotted key, value, what is expected.

    Args:
        error: of the validation.
        called: what a dotted key is called where its value was given.
    """
    return [
        _problem(
            called, details["type"], details["loc"], details["input"], details.get("ctx", {}), details["msg"]
        )
        for details in error.errors(include_url=False)
    ]


def _problem(
    called: Callable[[str], str], kind: str, loc: Location, value: Any, context: dict[str, Any], message: str
) -> str:
    key = called(_dotted(loc))
    if kind in ("extra_forbidden", "invalid_key"):
        return f"{key}: unknown key{_nearest_key(loc)}"
    annotation, constraints = _declaration(loc)
    if _is_section(annotation):
        if kind == "value_error":
            # A rule between several keys, whose message names them.
            return f"{key}: {context['error']}" if loc else str(context["error"])
        return f"{key or 'the file'}: expected keys with values, not {_shown(value)}"
    if annotation is None:
        return f"{key}: {message}"
    meant = ""
    if isinstance(value, str) and (names := _choices(annotation, constraints)):
        meant = did_you_mean(value, names)
    return f"{key}: {_shown(value)} is not {_in_words(annotation, constraints)}{meant}"


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        annotation = _present(field.annotation)
        if _is_section(annotation):
            yield from _fields(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _present(annotation: Any) -> Any:
    """The section of an optional section; anything else as it is."""
    items = get_args(annotation)
    if type(None) in items and any(map(_is_section, items)):
        return next(item for item in items if _is_section(item))
    return annotation


def _is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _declaration(loc: Location) -> tuple[Any, list[Any]]:
    """Type and constraints declared for a location; (None, []) for one that no model declares."""
    annotation: Any = ExperimentConfig
    constraints: list[Any] = []
    for part in loc:
        if _is_section(annotation) and part in annotation.model_fields:
            field = annotation.model_fields[part]
            annotation, constraints = _present(field.annotation), field.metadata
        elif get_origin(annotation) is tuple and isinstance(part, int):
            items = get_args(annotation)
            item = items[0] if items[-1] is Ellipsis else items[min(part, len(items) - 1)]
            annotation, constraints = _unwrapped(item)
        else:
            return None, []
    return annotation, constraints


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """``Annotated[int, Field(gt=0)]`` as (int, [Gt(0)])."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    inner, *extras = get_args(annotation)
    constraints: list[Any] = []
    for extra in extras:
        constraints += extra.metadata if isinstance(extra, FieldInfo) else [extra]
    return inner, constraints


def _in_words(annotation: Any, constraints: Sequence[Any] = ()) -> str:
    origin, items = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _in_words(*_unwrapped(annotation))
    if names := _choices(annotation, constraints):
        return "one of " + ", ".join(names)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if item is type(None) else _in_words(item, constraints) for item in items)
    if origin is tuple:
        length = _length(constraints) if items[-1] is Ellipsis else f" of {len(items)}"
        return f"a list{length}, each {_in_words(items[0])}"
    if annotation is bool:
        return "true or false"
    if annotation is str:
        return "text" + _pattern(constraints)
    noun = {int: "a whole number", float: "a number"}[annotation]
    return noun + _bounds(constraints)


def _choices(annotation: Any, constraints: Sequence[Any]) -> list[str]:
    """The values of a field that takes only some; of a registry, or written where it is declared."""
    if get_origin(annotation) is Literal:
        return [str(item) for item in get_args(annotation)]
    return [name for each in constraints if isinstance(each, OneOf) for name in each.names]


def _limit(constraints: Sequence[Any], name: str) -> Any:
    return next((getattr(c, name) for c in constraints if getattr(c, name, None) is not None), None)


def _length(constraints: Sequence[Any]) -> str:
    least, most = _limit(constraints, "min_length"), _limit(constraints, "max_length")
    return "" if most is None else f" of {least or 0} to {most}"


def _bounds(constraints: Sequence[Any]) -> str:
    ge, gt, le, lt = (_limit(constraints, name) for name in ("ge", "gt", "le", "lt"))
    lower = f"of at least {ge}" if ge is not None else f"above {gt}" if gt is not None else ""
    upper = f"at most {le}" if le is not None else f"below {lt}" if lt is not None else ""
    bounds = [f"from {ge} to {le}"] if ge is not None and le is not None else [lower, upper]
    text = " and ".join(bound for bound in bounds if bound)
    return f" {text}" if text else ""


def _pattern(constraints: Sequence[Any]) -> str:
    patterns = [c.pattern for c in constraints if getattr(c, "pattern", None)]
    return f" that matches {patterns[0]}" if patterns else ""


def _dotted(loc: Location) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) and text else f".{part}" if text else str(part)
    return text


def _shown(value: Any) -> str:
    """A value as the user wrote it in YAML, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = list(value)
    text = _SHORT.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest_key(loc: Location) -> str:
    """The key that an unknown one was probably meant to be: misspelt, of another section, or both."""
    *section, name = (str(part) for part in loc)
    prefix = "".join(f"{part}." for part in section)
    keys = [key for key, _ in _fields(ExperimentConfig)]
    if name in keys:
        return " (write its section and the key below it on lines of their own)"
    beside = {key.removeprefix(prefix).partition(".")[0] for key in keys if key.startswith(prefix)}
    elsewhere = {key.rpartition(".")[2] for key in keys}
    match = difflib.get_close_matches(name, beside | elsewhere, n=1, cutoff=0.6)
    if not match:
        return ""
    nearest = [prefix + match[0]]
    if match[0] not in beside:
        nearest = [key for key in keys if key.rpartition(".")[2] == match[0]]
        nearest = [key for key in nearest if key.startswith(prefix)] or nearest
        nearest = [key for key in nearest if key.count(".") == min(each.count(".") for each in nearest)]
    return f" (did you mean {' or '.join(map(repr, nearest[:2]))}?)"
