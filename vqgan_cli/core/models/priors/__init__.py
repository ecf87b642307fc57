"""Priors by name. A new one is a file beside this one and a line in ``core/config/kinds.py``."""

from __future__ import annotations

from vqgan_cli.core.config import PRIORS, TransformerConfig
from vqgan_cli.core.models.priors.base import Prior, PriorSpec, Sequences
from vqgan_cli.core.models.priors.orders import sequence_order

__all__ = ["PRIORS", "Prior", "PriorSpec", "Sequences", "build_prior", "sequence_order"]


def build_prior(config: TransformerConfig, spec: PriorSpec) -> Prior:
    """The prior that a config names.

    Raises:
        ConfigError: the other settings do not fit it.
    """
    prior: type[Prior] = PRIORS.load(config.kind)
    return prior(config, spec)
