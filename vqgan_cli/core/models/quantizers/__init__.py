"""Quantizers by name. A new one is a file beside this one and a line in ``core/config/kinds.py``."""

from __future__ import annotations

from vqgan_cli.core.config import QUANTIZERS, TokenizerConfig
from vqgan_cli.core.models.quantizers.base import Quantized, Quantizer

__all__ = ["QUANTIZERS", "Quantized", "Quantizer", "build_quantizer"]


def build_quantizer(config: TokenizerConfig) -> Quantizer:
    """The quantizer that a config names.

    Raises:
        ConfigError: the other settings do not fit it.
    """
    quantizer: type[Quantizer] = QUANTIZERS.load(config.quantizer.kind)
    return quantizer(config)
