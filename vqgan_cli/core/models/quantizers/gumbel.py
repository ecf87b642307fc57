"""Quantization by the Gumbel-softmax relaxation (Jang et al. 2017; Ramesh et al. 2021)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.models.quantizers.base import Quantized, Quantizer, without_autocast

__all__ = ["GumbelQuantizer"]


class GumbelQuantizer(Quantizer):
    """Logits over the codebook by a 1x1 convolution; a relaxed sample in training, the argmax otherwise.

    The loss is ``kl_weight`` times the KL divergence of the code distribution from the uniform one, per cell, in nats.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        options = config.quantizer
        self.codebook_size = config.codebook_size
        self.kl_weight = options.kl_weight
        self.straight_through = options.straight_through
        self.start, self.end = options.temperature, options.temperature_end
        self.schedule_steps = options.temperature_steps
        self.temperature = options.temperature
        self.proj = nn.Conv2d(config.codebook_dim, config.codebook_size, 1)
        self.embed = nn.Embedding(config.codebook_size, config.codebook_dim)

    def logits(self, z: Tensor) -> Tensor:
        """[B, D, h, w] -> float32 [B, K, h, w]."""
        with without_autocast(z):
            return self.proj(z.float())

    def forward(self, z: Tensor) -> Quantized:
        """Quantize [B, D, h, w] for training."""
        logits = self.logits(z)
        with without_autocast(z):
            codes = logits.argmax(1)
            if self.training:
                soft = F.gumbel_softmax(logits, tau=self.temperature, hard=self.straight_through, dim=1)
                vectors = torch.einsum("bkhw,kd->bdhw", soft, self.embed.weight)
            else:
                vectors = self.decode(codes)
            log_probability = logits.log_softmax(1)
            kl = (log_probability.exp() * (log_probability + math.log(self.codebook_size))).sum(1).mean()
        terms = {"kl": kl.detach(), "temperature": torch.tensor(self.temperature)}
        return Quantized(vectors, codes, self.kl_weight * kl, terms)

    def encode(self, z: Tensor) -> Tensor:
        """The most probable code of each cell."""
        return self.logits(z).argmax(1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codebook vectors [B, D, h, w]."""
        return self.embed(codes).permute(0, 3, 1, 2)

    def set_progress(self, step: int, total_steps: int) -> None:
        """Anneal the temperature along half a cosine."""
        share = min(1.0, step / max(1, self.schedule_steps or total_steps))
        self.temperature = self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * share))
