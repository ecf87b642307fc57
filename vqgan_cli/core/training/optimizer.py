"""AdamW whose decay spares what decay would harm."""

from __future__ import annotations

import torch
from torch import nn

from vqgan_cli.core.config import OptimisationConfig

__all__ = ["adamw", "decay_groups"]


def decay_groups(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters that decay and those that do not: the weights of linear layers and convolutions, and all others
    (embeddings, positions, norms, biases), as minGPT divides them.
    """
    decayed = {id(m.weight) for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [p for p in parameters if id(p) in decayed], [p for p in parameters if id(p) not in decayed]


def adamw(module: nn.Module, config: OptimisationConfig) -> torch.optim.AdamW:
    """AdamW with two groups; fused where all parameters are floating point numbers of one device."""
    decayed, spared = decay_groups(module)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
