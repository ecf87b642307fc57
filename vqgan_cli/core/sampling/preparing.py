"""What is done to a prior once, before it draws many codes."""

from __future__ import annotations

from vqgan_cli.core.device import DTYPES
from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.packed import pack
from vqgan_cli.core.models.priors.transformer import TransformerPrior

__all__ = ["prepare_to_draw"]


def prepare_to_draw(prior: Prior, precision: str) -> None:
    """Bring the weights into the form in which each code, for which all of them are read, takes the least time; from
    then on the prior only draws.

    Args:
        prior: on its device; changed in place.
        precision: ``fp32``, ``bf16`` or ``fp16``; the weights are cast for good, not at each step as autocast would.

    Raises:
        TypeError: it was prepared before, in another precision; in the same one nothing changes.
    """
    prior.to(DTYPES[precision])
    pack(prior)
    if isinstance(prior, TransformerPrior):
        prior.records_steps = True
