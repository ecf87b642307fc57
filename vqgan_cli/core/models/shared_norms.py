"""GroupNorm for a picture in parts: statistics that all parts share, estimated from patches of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["PATCHES", "Statistics", "group_norms", "patches_of", "statistics_of", "with_statistics"]

PATCHES = 4
"""Patches along each side of a picture."""

Statistics = dict[nn.Module, tuple[Tensor, Tensor]]
"""Mean and variance [groups] at each norm."""


def group_norms(modules: Iterable[nn.Module]) -> list[nn.GroupNorm]:
    """All norms in modules."""
    return [norm for module in modules for norm in module.modules() if isinstance(norm, nn.GroupNorm)]


def patches_of(field: Tensor, side: int) -> Tensor:
    """Squares spread evenly over a field [1, ..., H, W], as one batch [16, ..., side, side]."""
    tops, lefts = (
        [round((length - side) * (index + 0.5) / PATCHES) for index in range(PATCHES)]
        for length in field.shape[-2:]
    )
    return torch.cat(
        [field[..., top : top + side, left : left + side] for top, left in itertools.product(tops, lefts)]
    )


def statistics_of(
    norms: list[nn.GroupNorm], run: Callable[[Tensor], Tensor], patches: Tensor, margin: int
) -> tuple[Statistics, Tensor]:
    """Statistics over patches that run as one batch and share them on their way; and what ``run`` gave.

    Args:
        norms: that ``run`` comes through.
        run: a part of a network.
        patches: its input [B, ..., side, side].
        margin: the outermost places of a patch, which suffer from what it does not see, do not count.
    """
    side = patches.shape[-1]
    found: Statistics = {}

    def measure(norm: nn.GroupNorm, x: Tensor) -> Tensor:
        cut = margin * x.shape[-1] // side
        inner = x[:, :, cut : x.shape[2] - cut, cut : x.shape[3] - cut].float()
        variance, mean = torch.var_mean(inner.unflatten(1, (norm.num_groups, -1)), (0, 2, 3, 4), correction=0)
        found[norm] = mean, variance
        return _normalised(norm, x, mean, variance)

    with _replaced(norms, measure):
        output = run(patches)
    return found, output


@contextmanager
def with_statistics(statistics: Statistics) -> Iterator[None]:
    """Let norms use these in place of those of their input."""
    with _replaced(statistics, lambda norm, x: _normalised(norm, x, *statistics[norm])):
        yield


def _normalised(norm: nn.GroupNorm, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """GroupNorm of [B, C, H, W] by given statistics [groups]."""
    per_group = norm.num_channels // norm.num_groups
    scale = norm.weight * (variance + norm.eps).rsqrt().repeat_interleave(per_group)
    shift = norm.bias - mean.repeat_interleave(per_group) * scale
    return torch.addcmul(shift[:, None, None], x.float(), scale[:, None, None])


@contextmanager
def _replaced(
    norms: Iterable[nn.Module], function: Callable[[nn.GroupNorm, Tensor], Tensor]
) -> Iterator[None]:
    """Let a function of the norm and its input replace what norms give."""
    handles = [norm.register_forward_hook(lambda norm, args, _: function(norm, args[0])) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
