"""Quantizers by name. A new one is a file beside this one and a line in ``QUANTIZERS``."""

from __future__ import annotations

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.errors import ConfigError, did_you_mean
from vqgan_cli.core.models.quantizers.base import Quantized, Quantizer
from vqgan_cli.core.models.quantizers.ema import EMAQuantizer
from vqgan_cli.core.models.quantizers.euclidean import EuclideanQuantizer
from vqgan_cli.core.models.quantizers.gumbel import GumbelQuantizer
from vqgan_cli.core.models.quantizers.normalized import NormalizedQuantizer

__all__ = ["QUANTIZERS", "Quantized", "Quantizer", "build_quantizer"]

QUANTIZERS: dict[str, type[Quantizer]] = {
    "vq": EuclideanQuantizer,
    "l2": NormalizedQuantizer,
    "ema": EMAQuantizer,
    "gumbel": GumbelQuantizer,
}


def build_quantizer(config: TokenizerConfig) -> Quantizer:
    """The quantizer that a config names.

    Raises:
        ConfigError: the name is not in the registry.
    """
    kind = config.quantizer.kind
    if kind not in QUANTIZERS:
        known = ", ".join(QUANTIZERS)
        raise ConfigError(
            [f"tokenizer.quantizer.kind: {kind!r} is not one of {known}{did_you_mean(kind, QUANTIZERS)}"]
        )
    return QUANTIZERS[kind](config)
