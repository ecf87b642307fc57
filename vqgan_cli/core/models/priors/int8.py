"""Linear layers in integers of 8 bits, for drawing on a CPU: a quarter of the memory that a code reads in float32.

Weights have a scale for each output, activations one for each row (LLM.int8's vector-wise quantization, Dettmers et al.
2022, without its exceptions for outliers). Sums are of integers, so a row's result depends on no other.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from vqgan_cli.core.models.priors.packed import OnlyDraws

__all__ = ["Int8Linear", "has_int8", "quantize"]

_LEVELS = 127  # of a magnitude
_ZERO = 128  # oneDNN is fast with unsigned activations only
_SMALLEST = 1e-30  # divides rows of zeros


class Int8Linear(OnlyDraws):
    """About what an ``nn.Linear`` in float32 computes, for inference alone."""

    scales: Tensor
    zeros: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(1).clamp_min_(_SMALLEST) / _LEVELS
        packed = torch.ops.onednn.qlinear_prepack((weight / scales[:, None]).round().to(torch.int8), None)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.register_buffer("scales", scales, persistent=False)
        self.register_buffer("zeros", torch.zeros(len(scales), dtype=torch.int64), persistent=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D'], float32."""
        if not x.numel():
            return x.new_empty(*x.shape[:-1], len(self.scales))
        largest = torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True).clamp_min_(_SMALLEST)
        # Rounded by being cut off, which of positive numbers is one operator in place of three.
        levels = torch.addcmul(x.new_full((), _ZERO + 0.5), x, _LEVELS / largest).to(torch.uint8)
        y = torch.ops.onednn.qlinear_pointwise(
            levels, 1 / _LEVELS, _ZERO, self.weight, self.scales, self.zeros, None,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return y * largest if self.bias is None else torch.addcmul(self.bias, y, largest)


@functools.cache
def has_int8() -> bool:
    """Whether this machine's CPU has products of 8 bits whose sums are exact."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return False
    # Without VNNI two products are summed in 16 bits, which the largest ones overflow.
    layer = nn.utils.skip_init(nn.Linear, 64, 16, bias=False)  # random numbers belong to whoever asks
    nn.init.ones_(layer.weight)
    try:
        with torch.inference_mode():
            return bool((Int8Linear(layer)(torch.ones(4, 64)) - 64).abs().max() < 1e-3)
    except RuntimeError:  # an operator that is compiled for other processors
        return False


@torch.no_grad()
def quantize(module: nn.Module) -> None:
    """Replace the linear layers inside; each weight is let go as it is replaced."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            quantize(child)
