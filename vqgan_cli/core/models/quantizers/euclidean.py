"""Vector quantization with a learned codebook and Euclidean distance (van den Oord et al. 2017)."""

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

__all__ = ["EuclideanQuantizer", "commitment_loss"]


def commitment_loss(
    z: Tensor, chosen: Tensor, *, beta: float, legacy: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Codebook plus commitment loss, means over all elements.

    Args:
        z: encoder vectors.
        chosen: their codebook vectors, same shape.
        beta: weight of the commitment term, which pulls ``z`` to the codebook.
        legacy: weigh the codebook term by beta instead, as all models published with the paper did.

    Returns:
        The loss (scalar) and its two unweighted terms, detached.
    """
    commitment = F.mse_loss(z, chosen.detach())
    codebook = F.mse_loss(chosen, z.detach())
    loss = commitment + beta * codebook if legacy else beta * commitment + codebook
    return loss, {"commitment": commitment.detach(), "codebook": codebook.detach()}


class EuclideanQuantizer(Quantizer):
    """The quantizer of the paper: nearest codebook row, straight-through gradient."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.beta = config.quantizer.commitment_weight
        self.legacy = config.quantizer.legacy
        self.embedding = nn.Embedding(config.codebook_size, config.codebook_dim)
        nn.init.uniform_(self.embedding.weight, -1 / config.codebook_size, 1 / config.codebook_size)

    @property
    def codebook(self) -> Tensor:
        """Rows [K, D] that vectors are compared with."""
        return self.embedding.weight

    def prepared(self, vectors: Tensor) -> Tensor:
        """Vectors [B, D, h, w] as they are compared."""
        return vectors

    def forward(self, z: Tensor) -> Quantized:
        """Quantize [B, D, h, w] for training."""
        with without_autocast(z):
            z = self.prepared(z.float())
            codebook = self.codebook
            indices = nearest_code(to_rows(z.detach()), codebook.detach())
            chosen = to_grid(F.embedding(indices, codebook), z)
            loss, terms = commitment_loss(z, chosen, beta=self.beta, legacy=self.legacy)
            straight_through = z + (chosen - z).detach()
        return Quantized(straight_through, indices.view(z.shape[0], *z.shape[2:]), loss, terms)

    def encode(self, z: Tensor) -> Tensor:
        """Codes of [B, D, h, w]."""
        with without_autocast(z):
            indices = nearest_code(to_rows(self.prepared(z.float())), self.codebook)
        return indices.view(z.shape[0], *z.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Codebook vectors [B, D, h, w]."""
        # The rows used are prepared, not all K.
        return self.prepared(self.embedding(codes).permute(0, 3, 1, 2))
