"""A batch of sequences that grow code by code, with or without guidance."""

from __future__ import annotations

import torch
from torch import Tensor

from vqgan_cli.core.models.priors import Prior

__all__ = ["Stream"]


class Stream:
    """Logits for B sequences. Guidance (Ho and Salimans 2022) runs each twice, with its condition and without, in one
    batch: ``u + s (c - u)``.

    Args:
        prior: the model.
        condition: int64 [B, C].
        guided: whether scales other than 1 will be asked for.
        steps_to: number of codes that will be known when the last step is made; 0: no steps will follow the prefix.
    """

    def __init__(self, prior: Prior, condition: Tensor, *, guided: bool, steps_to: int) -> None:
        self._guided = guided
        if guided:
            condition = torch.cat((condition, torch.full_like(condition, prior.spec.null_token)))
        self._sequences = prior.sequences(condition, steps_to)

    def prefix(self, codes: Tensor, lengths: Tensor, scale: Tensor) -> Tensor:
        """Logits [B, K] after the first ``lengths`` [B] codes of [B, P], guided by ``scale`` [B]."""
        return self._merged(self._sequences.prefix(self._doubled(codes), self._doubled(lengths)), scale)

    def step(self, codes: Tensor, place: int | Tensor, scale: Tensor) -> Tensor:
        """Logits [B, K] after one code more per row, [B], at sequence index ``place``."""
        if isinstance(place, Tensor):
            place = self._doubled(place)
        return self._merged(self._sequences.step(self._doubled(codes), place), scale)

    def _doubled(self, x: Tensor) -> Tensor:
        return torch.cat((x, x)) if self._guided else x

    def _merged(self, logits: Tensor, scale: Tensor) -> Tensor:
        if not self._guided:
            return logits
        conditional, unconditional = logits.chunk(2)
        return torch.lerp(unconditional, conditional, scale.to(logits)[:, None])
