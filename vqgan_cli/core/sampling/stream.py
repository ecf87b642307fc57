"""A batch of sequences that grow code by code, with or without guidance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vqgan_cli.core.models.priors import Prior, Sequences

__all__ = ["Stream"]


class Stream:
    """Logits for B sequences. Guidance (Ho and Salimans 2022) runs each twice, with its condition and without, in one
    batch: ``u + s (c - u)``.

    Args:
        prior: the model.
        condition: int64 [B, C].
        guided: whether scales other than 1 will be asked for.
        steps_to: number of codes that will be known when the last step is made; 0: no steps will follow the prefix.
        rows: the rows that are left when the prefix is read, see `Prior.sequences`; None: all.
    """

    def __init__(
        self,
        prior: Prior,
        condition: Tensor,
        *,
        guided: bool,
        steps_to: int,
        rows: Sequence[int] | None = None,
    ) -> None:
        kept = None
        if rows is not None:
            kept = torch.tensor(rows, dtype=torch.int64, device=condition.device)
        self._rows, self._guided = len(condition) if rows is None else len(rows), guided
        if guided:
            kept = None if kept is None else torch.cat((kept, kept + len(condition)))
            condition = torch.cat((condition, torch.full_like(condition, prior.spec.null_token)))
        self._sequences: Sequences = prior.sequences(condition, steps_to, kept)

    def __len__(self) -> int:
        return self._rows

    @classmethod
    def gathered(cls, parts: Sequence[tuple[Stream, int]], device: torch.device) -> Stream:
        """A stream of rows of others of one kind; one of them itself, where these are all its rows in order."""
        first = parts[0][0]
        if parts == [(first, row) for row in range(len(first))]:
            return first
        stream = cls.__new__(cls)
        stream._rows, stream._guided = len(parts), first._guided
        chosen = [
            (part._sequences, torch.tensor([row + half * len(part)], device=device))
            for half in range(1 + first._guided)
            for part, row in parts
        ]
        stream._sequences = first._sequences.gathered(chosen)
        return stream

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
