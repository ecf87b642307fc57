"""What transformer priors share: one sequence of all tokens, and keys and values that are kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor

from vqgan_cli.core.models.priors.attention import KVCache
from vqgan_cli.core.models.priors.base import Prior, Sequences
from vqgan_cli.core.models.priors.replay import Step, recorded

__all__ = ["TransformerPrior"]

_SOON = 16  # steps that a sequence makes before recording one, which takes as long as some ten, is worth it


class TransformerPrior(Prior):
    """A decoder-only transformer over [condition tokens, image codes in sequence order].

    Sequence position C + k holds the k-th image code; the output at C + k - 1 gives the logits of the k-th code.

    Attributes:
        records_steps: whether long sequences on a GPU replay a CUDA graph, for which weights must stay where they are.
    """

    keeps: ClassVar[bool] = True
    records_steps: bool = False

    @abstractmethod
    def hidden(
        self, codes: Tensor, condition: Tensor | None, start: int | Tensor, cache: KVCache | None
    ) -> Tensor:
        """Vectors before the head, [B, T, D].

        Args:
            codes: int64 [B, P] in sequence order.
            condition: int64 [B, C], which then comes before the codes and ``start`` is 0; None in a step.
            start: sequence position of the first token; a tensor [B] with P = 1 places each row on its own.
            cache: keys and values are written there, and in a step read from there.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Float32 logits [..., K] of vectors [..., D]."""

    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """See `Prior.forward`."""
        return self.logits(self.hidden(codes, condition, 0, None)[:, self.spec.condition_length - 1 :])

    def sequences(self, condition: Tensor, steps_to: int, rows: Tensor | None = None) -> Sequences:
        """See `Prior.sequences`."""
        batch = len(condition) if rows is None else len(rows)
        return _CachedSequences(
            self, condition, self.new_cache(batch, steps_to) if steps_to and batch else None, rows
        )

    def kept_type(self) -> torch.dtype:
        """Number format of keys and values that are kept: on a CPU float32, as torch's attention of one query in
        bfloat16 takes longer there; elsewhere that of the weights.
        """
        weight = next(self.parameters())
        return torch.float32 if weight.device.type == "cpu" else weight.dtype

    def new_cache(self, batch: int, codes: int) -> KVCache:
        """A cache for ``batch`` rows of the condition and up to ``codes`` image codes."""
        like = next(self.parameters()).detach().new_empty((), dtype=self.kept_type())
        heads = self.config.heads
        shape = (batch, heads, self.spec.condition_length + codes, self.config.width // heads)
        return KVCache.empty(self.config.layers, shape, like)


class _CachedSequences(Sequences):
    """Each token passes through the network once; the head sees one position per row."""

    def __init__(
        self,
        prior: TransformerPrior,
        condition: Tensor | None,
        cache: KVCache | None,
        rows: Tensor | None = None,
    ) -> None:
        self._prior, self._condition, self._cache, self._rows = prior, condition, cache, rows
        self._steps = 0
        self._recorded: Step | None = None

    def prefix(self, codes: Tensor, lengths: Tensor) -> Tensor:
        cache = self._cache
        if cache is not None and self._rows is not None:
            cache = cache.for_rows(self._rows)
        hidden = self._prior.hidden(codes, self._condition, 0, cache)
        rows = torch.arange(len(lengths), device=lengths.device)
        return self._prior.logits(hidden[rows, lengths + self._prior.spec.condition_length - 1])

    def step(self, codes: Tensor, place: int | Tensor) -> Tensor:
        start = place + self._prior.spec.condition_length
        self._steps += 1
        if self._steps <= _SOON or codes.device.type != "cuda" or not self._prior.records_steps:
            return self._step(codes, start)
        positions = start if isinstance(start, Tensor) else torch.full_like(codes, start)
        if self._recorded is None:
            self._recorded = recorded(self._step, codes, positions)
        return self._recorded(codes, positions)

    def _step(self, codes: Tensor, start: int | Tensor) -> Tensor:
        assert self._cache is not None
        return self._prior.logits(self._prior.hidden(codes[:, None], None, start, self._cache)[:, 0])

    def gathered(self, parts: Sequence[tuple[Sequences, Tensor]]) -> Sequences:
        caches = [(cast("_CachedSequences", part)._cache, rows) for part, rows in parts]
        return _CachedSequences(
            self._prior,
            None,
            KVCache.gathered([(cache, rows) for cache, rows in caches if cache is not None]),
        )
