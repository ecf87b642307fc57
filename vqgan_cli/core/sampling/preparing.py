"""What is done to a prior once, before it draws many codes."""

from __future__ import annotations

import torch

from vqgan_cli.core.device import DTYPES
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.int8 import Int8Linear, has_int8, quantize
from vqgan_cli.core.models.priors.packed import OnlyDraws, PackedLinear, pack
from vqgan_cli.core.models.priors.transformer import TransformerPrior

__all__ = ["DRAWING_PRECISIONS", "prepare_to_draw", "require_precision"]

DRAWING_PRECISIONS = (*DTYPES, "int8")
"""Precisions of a prior that only draws."""


def prepare_to_draw(prior: Prior, precision: str) -> None:
    """Bring the weights into the form in which each code, for which all of them are read, takes the least time; from
    then on the prior only draws.

    Args:
        prior: on its device; changed in place.
        precision: one of `DRAWING_PRECISIONS`; the weights are cast for good, not at each step as autocast would.
            ``int8`` is of linear layers, see `vqgan_cli.core.models.priors.int8`; all else computes in float32.

    Raises:
        TypeError: it was prepared before, in another precision; in the same one nothing changes.
        UsageError: see `require_precision`, or the prior is no transformer and the precision ``int8``.
    """
    layer = Int8Linear if precision == "int8" else PackedLinear
    if any(isinstance(module, OnlyDraws) and not isinstance(module, layer) for module in prior.modules()):
        raise TypeError("a prior that is prepared to draw cannot be prepared in another precision")
    require_precision(next(prior.parameters()).device, precision)
    if precision == "int8":
        if not isinstance(prior, TransformerPrior):
            raise UsageError(
                "precision int8 is of transformers, and this prior is none", hint="take fp32 or bf16"
            )
        quantize(prior.float())
    else:
        pack(prior.to(DTYPES[precision]))
    if isinstance(prior, TransformerPrior):
        prior.records_steps = True


def require_precision(device: torch.device, precision: str) -> None:
    """Find a precision in which nothing can be drawn on a device.

    Raises:
        UsageError: ``int8`` elsewhere than on a CPU that has exact products of 8 bits.
    """
    if precision != "int8":
        return
    if device.type != "cpu":
        raise UsageError(f"precision int8 is of CPUs, not of {device}", hint="take bf16")
    if not has_int8():
        raise UsageError(
            "this CPU, or this build of torch, has no exact products of 8 bits (VNNI)",
            hint="take fp32 or bf16",
        )
