"""Linear layers for drawing on a CPU, whose weights stand in memory in the order in which oneDNN reads them.

Without it oneDNN reorders a bfloat16 weight at each call, and MKL's float32 product of a few rows takes longer. A row's
result does not depend on the rows beside it, which with MKL it does in the last bits.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["OnlyDraws", "PackedLinear", "can_pack", "pack"]

# Numbers in a weight; with fewer MKL's product takes less than the 20 microseconds of the call.
_LEAST = 2**18
_FEWEST = 4  # rows of a product; fewer take longer, and one long row alone is summed in another order
_ROWS = 8  # of a typical product, for which oneDNN chooses the order; any number of rows may follow


class OnlyDraws(nn.Module):
    """A layer whose weight only oneDNN can read.

    Raises:
        TypeError: it is moved, cast, copied, saved or loaded.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        try:
            # A cast to the type that it has is none.
            return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise _only_draws("moved or cast") from error

    def _save_to_state_dict(self, *_arguments: Any) -> None:
        raise _only_draws("saved")

    def _load_from_state_dict(self, *_arguments: Any) -> None:
        raise _only_draws("loaded")

    def __getstate__(self) -> dict[str, Any]:
        raise _only_draws("copied or pickled")


class PackedLinear(OnlyDraws):
    """What an ``nn.Linear`` computes, for inference alone."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D']."""
        rows = x.numel() // x.shape[-1]
        if not 0 < rows < _FEWEST:
            return self._product(x)
        padded = F.pad(x.reshape(rows, -1), (0, 0, 0, _FEWEST - rows))
        return self._product(padded)[:rows].view(*x.shape[:-1], -1)

    def _product(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [-1], "")


def _only_draws(done: str) -> TypeError:
    return TypeError(f"packed weights cannot be {done}: a prior that is prepared to draw can only draw")


def can_pack(weight: Tensor) -> bool:
    """Whether this machine's oneDNN takes such a weight."""
    # The two operators are those of torch.compile's own packing, which on other processors has other ways.
    if weight.device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    bf16 = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bf16 or weight.dtype == torch.float32


@torch.no_grad()
def pack(module: nn.Module, least: int = _LEAST) -> None:
    """Replace the linear layers inside, where they can be packed; each weight is let go as it is replaced.

    Args:
        module: what draws.
        least: numbers in a weight that is worth it.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            if child.weight.numel() >= least and can_pack(child.weight):
                setattr(module, name, PackedLinear(child))
        else:
            pack(child, least)
