"""VQGAN tokenizers and transformers for discrete image models.

What ``__all__`` lists is stable: it changes only where the changelog says so, after a release that warns of it.
Importing this package loads no torch; a name is resolved when it is first used. `docs/python.md` shows how to use them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqgan_cli.core.artifacts import Transformer, load_tokenizer, load_transformer
    from vqgan_cli.core.data.codes import Codes, open_codes
    from vqgan_cli.core.data.notebook import Images, read_images, to_images
    from vqgan_cli.core.errors import VqganError
    from vqgan_cli.core.generation.sampler import Drawn, Sampler, load_sampler
    from vqgan_cli.core.metrics.likelihood import code_nats
    from vqgan_cli.core.models.priors import Prior, PriorSpec, sequence_order
    from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = [
    "Codes",
    "Drawn",
    "Images",
    "Prior",
    "PriorSpec",
    "Sampler",
    "Tokenizer",
    "Transformer",
    "VqganError",
    "__version__",
    "code_nats",
    "load_sampler",
    "load_tokenizer",
    "load_transformer",
    "open_codes",
    "read_images",
    "sequence_order",
    "to_images",
]

__version__ = "0.1.0"

_MODULES = {
    "Codes": "data.codes",
    "Drawn": "generation.sampler",
    "Images": "data.notebook",
    "Prior": "models.priors",
    "PriorSpec": "models.priors",
    "Sampler": "generation.sampler",
    "Tokenizer": "models.tokenizer",
    "Transformer": "artifacts",
    "VqganError": "errors",
    "code_nats": "metrics.likelihood",
    "load_sampler": "generation.sampler",
    "load_tokenizer": "artifacts",
    "load_transformer": "artifacts",
    "open_codes": "data.codes",
    "read_images": "data.notebook",
    "sequence_order": "models.priors",
    "to_images": "data.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.core.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
