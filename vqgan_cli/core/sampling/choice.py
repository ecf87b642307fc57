"""One code from its logits: temperature, top-k, top-p, and the inverse of the cumulative distribution."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["choose", "filtered", "guidance_scale", "uniforms"]


def uniforms(seed: int, image: int, cells: int) -> Tensor:
    """One number in [0, 1) per cell of an image, float64 [cells]; a function of (seed, image, cell) alone.

    Philox is counter-based (Salmon et al. 2011): seed and image are its key, the cell is its counter.
    """
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=[seed, image])).random(cells))


def guidance_scale(scale: float, schedule: str, share: Tensor) -> Tensor:
    """Classifier-free guidance where ``share`` (0 to 1) of an image is drawn.

    Args:
        scale: at the end; with ``constant`` everywhere.
        schedule: ``constant``, or rising from 1 as ``linear`` or as half a ``cosine`` wave.
        share: any shape.
    """
    if schedule == "constant":
        return torch.full_like(share, scale)
    rise = share if schedule == "linear" else (1 - torch.cos(math.pi * share)) / 2
    return 1 + (scale - 1) * rise


def filtered(logits: Tensor, *, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Probabilities of the codes that may be drawn, float64 [B, K].

    In this order: logits divided by the temperature, the ``top_k`` likeliest (more where the last is tied; 0: all), of
    these the fewest likeliest that reach ``top_p`` together; normalised again.

    Args:
        logits: [B, K].
        temperature: above 0.
        top_k: number of codes, or 0.
        top_p: probability, above 0 to 1.
    """
    logits = logits.double() / temperature
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    probabilities = logits.softmax(-1)
    if top_p < 1:
        ranked, codes = probabilities.sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(-1) - ranked
        # The likeliest code always stays: nothing comes before it.
        ranked = ranked.masked_fill(before >= top_p, 0)
        probabilities = torch.zeros_like(probabilities).scatter_(-1, codes, ranked)
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    return probabilities


def choose(logits: Tensor, uniform: Tensor, *, temperature: float, top_k: int, top_p: float) -> Tensor:
    """A code per row, int64 [B].

    Args:
        logits: [B, K].
        uniform: [B] in [0, 1), which decide.
        temperature: 0 takes the likeliest code.
        top_k: see `filtered`.
        top_p: see `filtered`.
    """
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = filtered(logits, temperature=temperature, top_k=top_k, top_p=top_p).cumsum(-1)
    total = cumulative[:, -1:]
    # Scaled by the total, which rounding keeps from being 1; kept below it, or a code of probability 0 could follow.
    goal = torch.minimum(
        uniform.to(cumulative)[:, None] * total, torch.nextafter(total, torch.zeros_like(total))
    )
    return torch.searchsorted(cumulative, goal, right=True)[:, 0]
