"""The yaml or json config of another project's checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.plain_yaml import read_yaml

__all__ = ["config_beside", "read_config"]

_SUFFIXES = (".yaml", ".yml", ".json")
_MAX_BYTES = 16 << 20


def config_beside(weights: Path, folder: bool) -> Path | None:
    """The config that lies beside a file of weights, or None.

    Args:
        weights: the file.
        folder: whether the whole folder is one model, whose config is ``config.json``.
    """
    if folder:
        path = weights.with_name("config.json")
        return path if path.is_file() else None
    candidates = [weights.with_suffix(suffix) for suffix in _SUFFIXES]
    return next((path for path in candidates if path.is_file() and path != weights), None)


def read_config(path: Path) -> dict[str, Any]:
    """What a yaml or json file holds. Only plain types are built.

    Raises:
        ModelError: it is missing, malformed, or holds something else than keys with values.
    """
    where = f"the config {str(path)!r}"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelError(f"{where} is too large for a config")
        text = path.read_text(encoding="utf-8")
        read = json.loads(text) if path.suffix == ".json" else read_yaml(text)
    except OSError as error:
        raise ModelError(f"{where} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{where} is no valid {'JSON' if path.suffix == '.json' else 'YAML'}: {problem}"
        ) from None
    if not isinstance(read, dict):
        raise ModelError(f"{where} holds no keys with values")
    return read
