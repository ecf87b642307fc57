"""The one folder for what can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_root"]


def cache_root() -> Path:
    """``$VQGAN_CACHE``, else ``~/.cache/vqgan``; in it ``codes/``, ``downloads/`` and ``models/``. It may not exist."""
    return Path(os.environ.get("VQGAN_CACHE") or Path.home() / ".cache/vqgan")
