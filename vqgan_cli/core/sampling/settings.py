"""How codes are drawn."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SamplingSettings"]


@dataclass(frozen=True)
class SamplingSettings:
    """How codes are drawn.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest code.
        top_k: draw among so many codes; 0: all.
        top_p: draw among the likeliest codes that reach this probability together.
        guidance: scale of classifier-free guidance; 1: none.
        guidance_schedule: ``constant``, ``linear`` or ``cosine``.
        stride: cells per placement of the sliding window; 1 is exact, as published.
        max_batch: sequences in one pass of the network, those for guidance included.
        seed: of all random numbers.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance: float = 1.0
    guidance_schedule: str = "constant"
    stride: int = 1
    max_batch: int = 16
    seed: int = 0

    @property
    def guided(self) -> bool:
        """Whether each sequence needs one without condition beside it."""
        return self.guidance != 1

    @property
    def rows(self) -> int:
        """Sequences drawn at a time."""
        return max(1, self.max_batch // 2 if self.guided else self.max_batch)
