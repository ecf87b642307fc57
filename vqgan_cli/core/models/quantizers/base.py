"""What every quantizer offers, whatever its codebook looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = ["Quantized", "Quantizer", "nearest_code", "to_grid", "to_rows", "without_autocast"]


@dataclass(frozen=True)
class Quantized:
    """Result of a quantizer.

    Attributes:
        vectors: float32 [B, D, h, w], what the decoder sees; gradients flow back to the input.
        codes: int64 [B, h, w].
        loss: float32 scalar to be added to the autoencoder's loss.
        terms: named parts of the loss for the log, detached scalars.
    """

    vectors: Tensor
    codes: Tensor
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Quantizer(nn.Module, ABC):
    """Maps vectors [B, D, h, w] to codes [B, h, w] in ``0 .. codebook_size - 1`` and back.

    Computes in float32 whatever the autocast: differences between near codes vanish in bfloat16.
    """

    codebook_size: int

    @abstractmethod
    def forward(self, z: Tensor) -> Quantized:
        """Quantize for training: vectors with gradients, codes and loss."""

    @abstractmethod
    def encode(self, z: Tensor) -> Tensor:
        """Codes int64 [B, h, w] of vectors [B, D, h, w], deterministic."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Vectors float32 [B, D, h, w] of codes [B, h, w]."""

    def set_progress(self, step: int, total_steps: int) -> None:
        """Advance internal schedules to a training step; most quantizers have none."""


def without_autocast(z: Tensor) -> torch.autocast:
    """The context in which quantizers compute: float32, on the device of ``z``."""
    return torch.autocast(device_type=z.device.type, enabled=False)


def nearest_code(vectors: Tensor, codebook: Tensor, *, max_elements: int = 2**22) -> Tensor:
    """Index of the Euclidean nearest codebook row for each vector.

    The distances are computed for a few vectors at a time, so that memory does not grow with vectors x codes.

    Args:
        vectors: float32 [N, D].
        codebook: float32 [K, D].
        max_elements: largest number of distances held at once.

    Returns:
        int64 [N]; the lowest index where distances are equal.
    """
    # |z - e|^2 = |z|^2 - 2 z.e + |e|^2, and |z|^2 does not change the order.
    norms = codebook.square().sum(1)
    rows = max(1, max_elements // codebook.shape[0])
    if vectors.shape[0] <= rows:
        return torch.addmm(norms, vectors, codebook.T, alpha=-2).argmin(1)
    parts = [torch.addmm(norms, part, codebook.T, alpha=-2).argmin(1) for part in vectors.split(rows)]
    return torch.cat(parts)


def to_rows(z: Tensor) -> Tensor:
    """[B, D, h, w] -> [B*h*w, D], row-major cells."""
    return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])


def to_grid(rows: Tensor, like: Tensor) -> Tensor:
    """[B*h*w, D] -> [B, D, h, w] with the batch and grid of ``like``."""
    batch, _, height, width = like.shape
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)
