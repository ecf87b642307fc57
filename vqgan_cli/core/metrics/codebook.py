"""How much of the codebook a set of codes uses."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["CodebookUsage"]


class CodebookUsage:
    """Counts of every code over any number of batches and processes.

    Args:
        codebook_size: K; codes are 0 to K - 1.
        device: where the counts live.

    Attributes:
        counts: [K], int64; add those of several processes to merge them.
    """

    def __init__(self, codebook_size: int, device: torch.device | str = "cpu") -> None:
        self.counts = torch.zeros(codebook_size, dtype=torch.int64, device=device)

    def update(self, codes: Tensor) -> None:
        """Count codes of any shape; a code outside the codebook is a ValueError."""
        counts = torch.bincount(codes.detach().flatten().to(self.counts), minlength=len(self.counts))
        if len(counts) > len(self.counts):
            raise ValueError(f"code {len(counts) - 1} is outside a codebook of {len(self.counts)}")
        self.counts += counts

    @property
    def usage(self) -> float:
        """Share of the codebook that was seen at all, 0 to 1."""
        return 1 - self.never_used / len(self.counts)

    @property
    def never_used(self) -> int:
        """Number of codes that were never seen."""
        return int((self.counts == 0).sum())

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the code distribution, in nats: 1 for a single code, K if all are as frequent;
        0 before the first update.
        """
        seen = self.counts[self.counts > 0].double()
        if not len(seen):
            return 0.0
        shares = seen / seen.sum()
        return float(torch.exp(-(shares * shares.log()).sum()))
