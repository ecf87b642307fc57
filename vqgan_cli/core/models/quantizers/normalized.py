"""L2-normalised vector quantization in few dimensions (Yu et al. 2022, ViT-VQGAN; Sun et al. 2024, LlamaGen)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.models.quantizers.base import (
    Quantized,
    Quantizer,
    nearest_code,
    to_grid,
    to_rows,
    without_autocast,
)
from vqgan_cli.core.models.quantizers.euclidean import commitment_loss

__all__ = ["NormalizedQuantizer"]


class NormalizedQuantizer(Quantizer):
    """Nearest codebook row by cosine: vectors and rows are normalised at every lookup, decoding included."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.beta = config.quantizer.commitment_weight
        self.legacy = config.quantizer.legacy
        self.embedding = nn.Embedding(config.codebook_size, config.codebook_dim)
        # Uniform on the sphere, so that every code has a share of the directions from the start.
        self.embedding.weight.data = F.normalize(self.embedding.weight.data, dim=1)

    def _codebook(self) -> Tensor:
        return F.normalize(self.embedding.weight, dim=1)

    def forward(self, z: Tensor) -> Quantized:
        """Quantize [B, D, h, w] for training."""
        with without_autocast(z):
            z = F.normalize(z.float(), dim=1)
            codebook = self._codebook()
            indices = nearest_code(to_rows(z.detach()), codebook.detach())
            chosen = to_grid(F.embedding(indices, codebook), z)
            loss, terms = commitment_loss(z, chosen, beta=self.beta, legacy=self.legacy)
            straight_through = z + (chosen - z).detach()
        return Quantized(straight_through, indices.view(z.shape[0], *z.shape[2:]), loss, terms)

    def encode(self, z: Tensor) -> Tensor:
        """Codes of [B, D, h, w]."""
        with without_autocast(z):
            indices = nearest_code(to_rows(F.normalize(z.float(), dim=1)), self._codebook())
        return indices.view(z.shape[0], *z.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Normalised codebook vectors [B, D, h, w]."""
        chosen = F.normalize(self.embedding(codes), dim=-1)  # the rows used, not all K
        return chosen.permute(0, 3, 1, 2)
