"""PatchGAN discriminator (Isola et al. 2017), with the choice of normalisation."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vqgan_cli.core.config import AdversarialConfig

__all__ = ["ActNorm", "Discriminator"]


class ActNorm(nn.Module):
    """Per-channel shift and scale, set from the first batch and learned afterwards (Kingma & Dhariwal 2018)."""

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.register_buffer("initialized", torch.zeros((), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape, about zero mean and unit variance at the first batch."""
        if self.training and not self.initialized:
            self._initialize(x.detach().float())
        return self.scale * (x + self.loc)

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        mean = _mean_of_processes(x.mean((0, 2, 3), keepdim=True))
        variance = _mean_of_processes((x - mean).square().mean((0, 2, 3), keepdim=True))
        self.loc.copy_(-mean)
        self.scale.copy_(1 / (variance.sqrt() + 1e-6))
        self.initialized.fill_(1)


def _mean_of_processes(value: Tensor) -> Tensor:
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def _norm(kind: str, channels: int) -> nn.Module:
    match kind:
        case "group":
            return nn.GroupNorm(math.gcd(32, channels), channels)
        case "actnorm":
            return ActNorm(channels)
        case "sync-batch":
            return nn.SyncBatchNorm(channels)
        case _:
            return nn.BatchNorm2d(channels)


class Discriminator(nn.Module):
    """Batches of images [B, C, H, W], each to a map of logits [B, 1, h, w] per overlapping patch; real is positive.

    SyncBatchNorm falls back to its batch statistics of one process when there is only one.
    """

    def __init__(self, config: AdversarialConfig, in_channels: int = 3) -> None:
        super().__init__()
        # A bias before batch normalisation would be subtracted again.
        bias = config.norm not in ("batch", "sync-batch")
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, config.channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        width = config.channels
        for index in range(1, config.layers + 1):
            previous, width = width, config.channels * min(2**index, 8)
            stride = 2 if index < config.layers else 1
            layers += [
                nn.Conv2d(previous, width, 4, stride=stride, padding=1, bias=bias),
                _norm(config.norm, width),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(width, 1, 4, stride=1, padding=1))
        self.main = nn.Sequential(*layers)
        self.apply(_initialize)

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        """Logits of the patches of each batch.

        Batch normalisation sees one batch at a time. They come in one call because DistributedDataParallel wants
        one forward pass for each backward pass.
        """
        return tuple(self.main(batch) for batch in batches)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
