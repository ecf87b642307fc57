"""Vector quantization with a codebook of running means and restart of dead codes.

The codebook is the running mean of the vectors assigned to each code (van den Oord et al. 2017, appendix A.1; Razavi
et al. 2019). Codes that nothing is assigned to any more restart at vectors of the batch (Dhariwal et al. 2020).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
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

__all__ = ["EMAQuantizer"]


class EMAQuantizer(Quantizer):
    """Nearest codebook row; the codebook follows the encoder without a gradient of its own.

    All processes see the sums over all processes, so their codebooks stay equal. The codebook moves only in training
    mode with gradients enabled: a second forward pass under ``no_grad`` does not count a batch twice.
    """

    embedding: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    initialized: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.beta = config.quantizer.commitment_weight
        self.decay = config.quantizer.ema_decay
        self.dead_code_threshold = config.quantizer.dead_code_threshold
        codebook = nn.init.normal_(torch.empty(config.codebook_size, config.codebook_dim))
        self.register_buffer("embedding", codebook)  # [K, D]
        self.register_buffer("cluster_size", torch.ones(config.codebook_size))  # [K], vectors per step
        self.register_buffer("embed_avg", codebook.clone())  # [K, D], sum of vectors per step
        self.register_buffer("initialized", torch.zeros((), dtype=torch.bool))

    def forward(self, z: Tensor) -> Quantized:
        """Quantize [B, D, h, w] for training."""
        with without_autocast(z):
            z = z.float()
            rows = to_rows(z.detach())
            learning = self.training and torch.is_grad_enabled()
            if learning and not self.initialized:
                self._start_at(rows)
            indices = nearest_code(rows, self.embedding)
            chosen = to_grid(F.embedding(indices, self.embedding), z)
            commitment = F.mse_loss(z, chosen)
            straight_through = z + (chosen - z).detach()
            if learning:
                self._follow(rows, indices)
        codes = indices.view(z.shape[0], *z.shape[2:])
        return Quantized(straight_through, codes, self.beta * commitment, {"commitment": commitment.detach()})

    def encode(self, z: Tensor) -> Tensor:
        """Codes of [B, D, h, w]."""
        with without_autocast(z):
            indices = nearest_code(to_rows(z.float()), self.embedding)
        return indices.view(z.shape[0], *z.shape[2:])

    def decode(self, codes: Tensor) -> Tensor:
        """Codebook vectors [B, D, h, w]."""
        return F.embedding(codes, self.embedding).permute(0, 3, 1, 2)

    def _start_at(self, rows: Tensor) -> None:
        """Begin with vectors of the first batch: a codebook far from the encoder's output would never be used."""
        start = self._sample_rows(rows, self.codebook_size)
        if not bool(torch.isfinite(start).all()):
            return  # the next batch may do
        self.embedding.copy_(start)
        self.embed_avg.copy_(start)
        self.initialized.fill_(True)

    def _follow(self, rows: Tensor, indices: Tensor) -> None:
        counts = torch.zeros_like(self.cluster_size).index_add_(
            0, indices, torch.ones_like(indices, dtype=rows.dtype)
        )
        sums = torch.zeros_like(self.embed_avg).index_add_(0, indices, rows)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(counts)
            dist.all_reduce(sums)
        if not bool(torch.isfinite(sums).all()):
            return  # a running mean would never be rid of it
        self.cluster_size.lerp_(counts, 1 - self.decay)
        self.embed_avg.lerp_(sums, 1 - self.decay)
        dead = self.cluster_size < self.dead_code_threshold
        # Fixed shapes on every rank: the replacements are drawn for all codes, and few of them are taken.
        if bool(dead.any()):
            fresh = self._sample_rows(rows, self.codebook_size)
            self.embed_avg[dead] = fresh[dead]
            self.cluster_size[dead] = 1.0
        self.embedding.copy_(self.embed_avg / self.cluster_size.clamp(min=1e-5).unsqueeze(1))

    def _sample_rows(self, rows: Tensor, count: int) -> Tensor:
        """``count`` vectors of the batch, the same on every process. [N, D] -> [count, D]."""
        picks = torch.randint(rows.shape[0], (count,), device=rows.device)
        chosen = rows[picks]
        if dist.is_available() and dist.is_initialized():
            dist.broadcast(chosen, src=0)
        return chosen
