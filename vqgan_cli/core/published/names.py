"""Published models by name: where they are kept, and what a name that is none was meant to be."""

from __future__ import annotations

import re
from pathlib import Path

from vqgan_cli.core.cache import cache_root
from vqgan_cli.core.errors import ModelError, did_you_mean
from vqgan_cli.core.published.catalog import entries

__all__ = ["is_published", "missing_model", "model_folder", "pulled_folder"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


def model_folder(name: str) -> Path:
    """Where the model of a name is kept, or will be: ``models/NAME`` in the cache."""
    return cache_root() / "models" / name


def pulled_folder(name: Path | str) -> Path | None:
    """The folder of a model that was pulled; None for any other name, and for a path.

    A folder is put there in one step when all of it is written, so one that exists is whole.
    """
    name = str(name)
    folder = model_folder(name)
    return folder if _NAME.fullmatch(name) and folder.is_dir() else None


def is_published(name: Path | str) -> bool:
    """Whether a name is that of a published model, pulled or not."""
    name = str(name)
    return pulled_folder(name) is not None or any(entry.name == name for entry in entries())


def missing_model(path: Path) -> ModelError:
    """What to say of a model that is neither a path nor the name of one that was pulled."""
    siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    text = str(path)
    if not _NAME.fullmatch(text):
        return ModelError(f"model {text!r} does not exist{did_you_mean(path.name, siblings)}")
    names = [entry.name for entry in entries()]
    if text in names:
        return ModelError(
            f"the published model {text!r} is not on this machine", hint=f"vqgan models pull {text}"
        )
    return ModelError(
        f"model {text!r} does not exist{did_you_mean(text, [*siblings, *names])}",
        hint="name a weights file, a run folder, or one of `vqgan models list`",
    )
