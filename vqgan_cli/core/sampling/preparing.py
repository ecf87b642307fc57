"""What is done to a prior once, before it draws many codes."""

from __future__ import annotations

import torch

from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.packed import pack

__all__ = ["prepare_to_draw"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def prepare_to_draw(prior: Prior, precision: str) -> None:
    """Bring the weights into the form in which each code, for which all of them are read, takes the least time; from
    then on the prior only draws.

    Args:
        prior: on its device; changed in place.
        precision: ``fp32``, ``bf16`` or ``fp16``; the weights are cast for good, not at each step as autocast would.
    """
    prior.to(_TYPES[precision])
    pack(prior)
