"""Registries: what a config chooses by name, known before any of its code is loaded.

Presets and messages must have the names within milliseconds, and most of what they name needs torch; so an entry says
where its class is, and the package that the class belongs to loads it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = ["Entry", "MapEntry", "MapForm", "OneOf", "Registry"]

MapForm = Literal["picture", "labels", "value", "codes"]
"""What a map holds: a picture, a class per pixel, a value per pixel, or codes that no tokenizer reads."""

E = TypeVar("E", bound="Entry")


@dataclass(frozen=True)
class Entry:
    """One thing of a registry.

    Attributes:
        target: module and class below the registry's package: ``gumbel.GumbelQuantizer``.
        about: a few words for the list of all; may be empty.
    """

    target: str
    about: str = ""


@dataclass(frozen=True)
class MapEntry(Entry):
    """A kind of maps.

    Attributes:
        form: decides channels and loss of its tokenizer, and how it is resampled, measured and kept.
    """

    form: MapForm = "picture"


class Registry(Mapping[str, E]):
    """Entries by name, in the order in which they are listed.

    Args:
        package: the one that the targets are below.
        entries: by name.
    """

    def __init__(self, package: str, entries: Mapping[str, E]) -> None:
        self.package = package
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> E:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, name: str) -> Any:
        """The class of an entry; what it needs is imported now."""
        module, _, attribute = self._entries[name].target.rpartition(".")
        return getattr(importlib.import_module(f"{self.package}.{module}"), attribute)

    def in_words(self) -> str:
        """All names with what is said about them: ``vq (Euclidean), l2 (normalised), ema``."""
        return ", ".join(name + (f" ({entry.about})" if entry.about else "") for name, entry in self.items())


@dataclass(frozen=True)
class OneOf:
    """Says of a text field, in ``Annotated``, which values it takes; `vqgan_cli.core.schema` puts it into words."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> OneOf:
        """Of the names of a registry, and perhaps others."""
        return cls(tuple(names))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        check: Callable[[str], str] = self._checked
        return core_schema.no_info_after_validator_function(check, handler(source))

    def _checked(self, value: str) -> str:
        if value not in self.names:
            raise ValueError(f"{value!r} is not one of {', '.join(self.names)}")
        return value
