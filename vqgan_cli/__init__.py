"""VQGAN tokenizers and transformers for discrete image models.

Importing this package loads no torch; the names below are resolved on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqgan_cli.core.artifacts import load_tokenizer

__all__ = ["__version__", "load_tokenizer"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "load_tokenizer":
        from vqgan_cli.core.artifacts import load_tokenizer

        return load_tokenizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
