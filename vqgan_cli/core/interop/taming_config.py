"""What the yaml configs of taming-transformers and latent-diffusion say, and whether the tensors agree.

Both describe a module as ``{target: dotted.ClassName, params: {...}}``, nested. A module may also be one of the
texts ``__is_first_stage__`` and ``__is_unconditional__``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from vqgan_cli.core.errors import ModelError

__all__ = [
    "Described",
    "describe",
    "errors_of",
    "model_config",
    "number",
    "require_agreement",
    "tokenizer_config",
    "validated",
]

M = TypeVar("M", bound=BaseModel)


class Described(NamedTuple):
    """One module of a config.

    Attributes:
        target: its class without the package, such as ``VQModel``, or one of the texts above; empty if not given.
        params: its arguments.
    """

    target: str = ""
    params: Mapping[str, Any] = {}

    def part(self, key: str) -> Described:
        """The module that an argument describes; an empty description without it."""
        return describe(self.params.get(key))

    def section(self, key: str) -> Mapping[str, Any]:
        """An argument that holds plain values by name; empty without it."""
        value = self.params.get(key)
        return value if isinstance(value, Mapping) else {}


def describe(value: Any) -> Described:
    """A node of a config, whatever it is; an empty description where it describes no module."""
    if isinstance(value, str):
        return Described(value)
    if not isinstance(value, Mapping):
        return Described()
    params, target = value.get("params"), value.get("target")
    return Described(
        target.rpartition(".")[2] if isinstance(target, str) else "",
        params if isinstance(params, Mapping) else {},
    )


def model_config(config: Mapping[str, Any]) -> Described:
    """The model of a whole config, which stands under ``model`` there, or is all of it."""
    return describe(config["model"] if isinstance(config.get("model"), Mapping) else config)


def tokenizer_config(config: Mapping[str, Any]) -> Described:
    """The first stage of a whole config: its model, or that model's ``first_stage_config``."""
    model = model_config(config)
    return model if "ddconfig" in model.params else model.part("first_stage_config")


def number(params: Mapping[str, Any], key: str, default: float) -> float:
    """A number of a config.

    Raises:
        ModelError: it is none.
    """
    value = params.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"{key} is {value!r} in the config, where a number is expected")
    return value


def require_agreement(params: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Check that a config says of an architecture what the tensors show.

    Args:
        params: of the config; keys that it lacks are not compared.
        found: by the tensors.

    Raises:
        ModelError: with every difference.
    """
    problems = [
        f"{key} is {_plain(params[key])} in the config and {_plain(value)} by the tensors"
        for key, value in found.items()
        if params.get(key) is not None and _plain(params[key]) != _plain(value)
    ]
    if problems:
        raise ModelError(
            f"the config is not that of the checkpoint: {'; '.join(problems)}",
            hint="give the yaml that lies beside the checkpoint where it comes from",
        )


def validated(section: type[M], **values: Any) -> M:
    """A section of our config with values of theirs.

    Raises:
        ModelError: a value is not possible here.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc']))} {each['input']!r}: {each['msg']}" for each in error.errors()
        )
        raise ModelError(f"its config holds what cannot be here: {problems}") from None


@contextmanager
def errors_of(part: str) -> Iterator[None]:
    """Let errors say in which part of a checkpoint they are: a prefix of names, with the dot; empty for all of it."""
    try:
        yield
    except ModelError as error:
        if not part:
            raise
        raise ModelError(f"{part.removesuffix('.')}: {error.message}", hint=error.hint) from None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
