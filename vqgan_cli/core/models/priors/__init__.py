"""Priors by name. A new one is a file beside this one and a line in ``PRIORS``."""

from __future__ import annotations

from vqgan_cli.core.config import TransformerConfig
from vqgan_cli.core.errors import ConfigError, did_you_mean
from vqgan_cli.core.models.priors.base import Prior, PriorSpec, Sequences
from vqgan_cli.core.models.priors.gpt import GPT
from vqgan_cli.core.models.priors.llama import Llama
from vqgan_cli.core.models.priors.orders import sequence_order
from vqgan_cli.core.models.priors.pixelcnn import PixelCNN
from vqgan_cli.core.models.priors.pixelsnail import PixelSNAIL

__all__ = ["PRIORS", "Prior", "PriorSpec", "Sequences", "build_prior", "prior_type", "sequence_order"]

PRIORS: dict[str, type[Prior]] = {
    "gpt": GPT,
    "llama": Llama,
    "pixelcnn": PixelCNN,
    "pixelsnail": PixelSNAIL,
}


def build_prior(config: TransformerConfig, spec: PriorSpec) -> Prior:
    """The prior that a config names; raises as `prior_type`."""
    return prior_type(config)(config, spec)


def prior_type(config: TransformerConfig) -> type[Prior]:
    """The class of it.

    Raises:
        ConfigError: the name is not in the registry.
    """
    if config.kind not in PRIORS:
        known = ", ".join(PRIORS)
        raise ConfigError(
            [f"transformer.kind: {config.kind!r} is not one of {known}{did_you_mean(config.kind, PRIORS)}"]
        )
    return PRIORS[config.kind]
