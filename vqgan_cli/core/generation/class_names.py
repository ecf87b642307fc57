"""Which class a text means: a number, a folder's name with or without its WordNet id, or ImageNet's name for it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence

from vqgan_cli.core.errors import UsageError, did_you_mean

__all__ = ["ClassNames", "class_key", "imagenet_names"]

_IMAGENET_CLASSES = 1000
_WORDNET_ID = re.compile(r"n\d{8}")
_SHOWN = 10  # names in a hint


def imagenet_names() -> Sequence[str]:
    """The 1,000 names of ImageNet's classes in the order of their indices, from torchvision."""
    # torchvision takes a second to import, and only models of 1,000 classes need it.
    import importlib

    from vqgan_cli.core.models.torchvision_compat import import_torchvision

    import_torchvision()
    return list(importlib.import_module("torchvision.models._meta")._IMAGENET_CATEGORIES)


class ClassNames:
    """The classes of a model, found by number or name.

    A model of 1,000 classes whose own names say nothing else (WordNet ids in order, plain numbers, or none) counts
    as one of ImageNet and answers to ImageNet's names too.

    Args:
        names: of the folders that the model was trained on, by class; empty where they are not known.
        count: number of classes.

    Attributes:
        is_imagenet: whether class numbers are ImageNet's.
    """

    def __init__(self, names: Sequence[str], count: int) -> None:
        names = [
            os.fsencode(name).decode("utf-8", "backslashreplace") for name in names
        ]  # JSON holds no other
        self.count = count
        self.is_imagenet = count == _IMAGENET_CLASSES and _only_numbers(names)
        self._shown = [_without_wordnet_id(name).replace("_", " ") for name in names]
        self._classes: dict[str, set[int]] = {}
        for index, name in enumerate(names):
            self._add(name, index)
            self._add(_without_wordnet_id(name), index)
            if found := _WORDNET_ID.match(name):
                self._add(found[0], index)
        if self.is_imagenet:
            self._shown = list(imagenet_names())
            for index, name in enumerate(self._shown):
                self._add(name, index)

    def name(self, index: int) -> str:
        """What people call a class; its number where it has no name."""
        return self._shown[index] if self._shown else str(index)

    def find(self, text: str) -> list[int]:
        """The classes that a text names, each once, in its order.

        Args:
            text: ``all``; a class; or several with commas between them. A class is its name (capitals do not
                count, underscores and hyphens are as spaces) or, if no class is called so, its number from 0 on.

        Raises:
            UsageError: no such class, or several of one name.
        """
        if _normalised(text) == "all":
            return list(range(self.count))
        parts = [text] if _normalised(text) in self._classes else text.split(",")
        return list(dict.fromkeys(self._find_one(part.strip()) for part in parts))

    def _find_one(self, text: str) -> int:
        named = self._classes.get(_normalised(text), set())
        if len(named) == 1:
            return next(iter(named))
        if named:
            numbers = " and ".join(map(str, sorted(named)))
            raise UsageError(f"class {text!r} is the name of the classes {numbers}", hint="give the number")
        if text.isascii() and text.isdigit():
            digits = text.lstrip("0") or "0"
            if len(digits) <= len(str(self.count)) and int(digits) < self.count:
                return int(digits)
            raise UsageError(
                f"class {text}: the model has {self.count} classes, 0 to {self.count - 1}",
                hint=self._hint(),
            )
        raise UsageError(
            f"the model has no class {text!r}{did_you_mean(_normalised(text), self._classes)}",
            hint=self._hint(),
        )

    def _hint(self) -> str:
        shown = ", ".join(self._shown[:_SHOWN]) + (", ..." if len(self._shown) > _SHOWN else "")
        return f"a class is a number from 0 to {self.count - 1}" + (f" or a name: {shown}" if shown else "")

    def _add(self, name: str, index: int) -> None:
        self._classes.setdefault(_normalised(name), set()).add(index)


def class_key(name: str) -> str:
    """The same for all ways to write a class: ``n02099601_golden_retriever`` and ``Golden retriever``."""
    return _normalised(_without_wordnet_id(name))


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _without_wordnet_id(name: str) -> str:
    """``golden_retriever`` for ``n02099601_golden_retriever``."""
    return re.sub(rf"^{_WORDNET_ID.pattern}[\s_-]+(?=.)", "", name)


def _only_numbers(names: Sequence[str]) -> bool:
    """Whether names only number the classes: ascending WordNet ids, or ``7``, ``007``, ``class_7`` for class 7."""
    ids = [found[0] for name in names if (found := _WORDNET_ID.match(name))]
    if len(ids) == len(names):
        return all(a < b for a, b in itertools.pairwise(ids))
    digits = [re.fullmatch(r"(\D*)0*(\d+)", name) for name in names]
    return len({found[1] for found in digits if found}) == 1 and all(
        found is not None and found[2] == str(index) for index, found in enumerate(digits)
    )
