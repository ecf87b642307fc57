"""L2-normalised vector quantization in few dimensions (Yu et al. 2022, ViT-VQGAN; Sun et al. 2024, LlamaGen)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.models.quantizers.euclidean import EuclideanQuantizer

__all__ = ["NormalizedQuantizer"]


class NormalizedQuantizer(EuclideanQuantizer):
    """Nearest codebook row by cosine: vectors and rows are normalised at every lookup, decoding included."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        # Uniform on the sphere, so that every code has a share of the directions from the start.
        nn.init.normal_(self.embedding.weight)
        self.embedding.weight.data = F.normalize(self.embedding.weight.data, dim=1)

    @property
    def codebook(self) -> Tensor:
        """Normalised rows [K, D]."""
        return F.normalize(self.embedding.weight, dim=1)

    def prepared(self, vectors: Tensor) -> Tensor:
        """Normalised vectors [B, D, h, w]."""
        return F.normalize(vectors, dim=1)
