"""Exponential moving average of a module's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from vqgan_cli.core.training.sharding import local

__all__ = ["WeightAverage"]


class WeightAverage:
    """A float32 copy of a module that follows its weights; buffers are copied as they are.

    The decay rises with the steps, min(decay, (1 + n) / (10 + n)), so that the random start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.module = copy.deepcopy(module).float().eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the weights of ``module`` after an optimiser step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        average = [local(p) for p in self.module.parameters()]
        current = [local(p.detach()).float() for p in module.parameters()]
        torch._foreach_lerp_(average, current, 1 - decay)
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
