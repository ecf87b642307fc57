"""Reads the recorded models of the original implementation, for tests only.

The files are Lightning checkpoints: pickles that name classes of packages that are not installed. This reader loads
trusted test files; it is no importer.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.config import QuantizerConfig, TokenizerConfig

TINY = TokenizerConfig(
    channels=32,
    channel_multipliers=(1, 2, 2),
    res_blocks=1,
    attention_resolutions=(16,),
    resolution=64,
    z_channels=48,
    codebook_size=96,
    codebook_dim=40,
    quantizer=QuantizerConfig(legacy=True),
)


class _Stand(dict[Any, Any]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("torch", "collections", "_codecs"):
            return super().find_class(module, name)
        return type(name, (_Stand,), {})


class _Pickle:
    __name__ = "golden_pickle"
    Unpickler = _Unpickler
    load = staticmethod(lambda file, **_: _Unpickler(file).load())


def state_dict(path: Path) -> dict[str, Tensor]:
    """The weights of a recorded checkpoint."""
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Pickle)["state_dict"]


def tokenizer_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tokenizer's tensors under our names."""
    kept = {k: v for k, v in weights.items() if not k.startswith(("loss.", "colorize"))}
    return {k.replace("quantize.", "quantizer.", 1): v for k, v in kept.items()}


def discriminator_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The discriminator's tensors under our names."""
    prefix = "loss.discriminator."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
