"""One code from its logits: temperature, top-k, top-p, and the inverse of the cumulative distribution."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

__all__ = ["choose", "filtered", "guidance_scale", "precise_type", "uniforms"]

_TIES = 64  # room in a list of the likeliest codes for those that are tied with the last


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


def precise_type(device: torch.device) -> torch.dtype:
    """Float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def filtered(logits: Tensor, *, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor | None]:
    """What may be drawn: weights, proportional to probabilities, float64 [B, M], and their codes [B, M], ascending;
    None where these are all K in their order. Bit for bit the same weights whatever else is in the batch.

    In this order: logits divided by the temperature, the ``top_k`` likeliest (more where the last is tied; 0: all), of
    these the fewest likeliest that reach ``top_p`` together, of tied ones those of lower number.

    Args:
        logits: [B, K].
        temperature: above 0.
        top_k: number of codes, or 0.
        top_p: probability, above 0 to 1.
    """
    size = logits.shape[-1]
    top_k = top_k if 0 < top_k < size else 0
    whole = None
    if top_p < 1 and not top_k:
        whole = _weights(logits, temperature).sum(-1, keepdim=True)
    for count in _shortlists(size, top_k, top_p) if logits.device.type == "cpu" else ():
        values, codes = logits.topk(count, sorted=False)
        if whole is not None and (_weights(values, temperature).sum(-1, keepdim=True) < top_p * whole).any():
            continue
        codes, order = codes.sort(dim=-1)
        values = values.gather(-1, order)
        weights = _kept(values, temperature, top_k, top_p, whole)
        # Of the codes that are tied with the last of the list, others may be outside.
        if not weights[values == values.amin(-1, keepdim=True)].any():
            return weights, codes
    return _kept(logits, temperature, top_k, top_p, whole), None


def _shortlists(size: int, top_k: int, top_p: float) -> list[int]:
    """How many of the likeliest codes to look at, so that all K need not be ranked; tried one after the other, which
    takes a decision that a GPU would have to wait for.
    """
    if top_k:
        counts = [top_k + _TIES]
    elif top_p < 1:
        counts = [size // 16, size // 4]
    else:
        return []
    return [count for count in counts if _TIES <= count <= size // 4]


def _kept(logits: Tensor, temperature: float, top_k: int, top_p: float, whole: Tensor | None) -> Tensor:
    """Weights of [B, M] logits, among them all that may be kept; 0 for what is not kept.

    Args:
        logits: of all codes, or of the likeliest.
        temperature: see `filtered`.
        top_k: see `filtered`.
        top_p: see `filtered`.
        whole: sum of the weights of all codes, [B, 1], if ``top_p`` is a share of that; None: of what ``top_k`` leaves.
    """
    if top_k:
        logits = logits.masked_fill(logits < logits.topk(top_k, dim=-1).values[:, -1:], -math.inf)
    if top_p == 1:
        return _weights(logits, temperature)
    ranked, places = logits.sort(dim=-1, descending=True, stable=True)
    weights = _weights(ranked, temperature)
    reached = weights.cumsum(-1)
    # The likeliest code always stays: nothing comes before it.
    beyond = reached - weights >= top_p * (reached[:, -1:] if whole is None else whole)
    return torch.zeros_like(weights).scatter_(-1, places, weights.masked_fill_(beyond, 0))


def _weights(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.to(precise_type(logits.device))
    return ((logits - logits.amax(-1, keepdim=True)) / temperature).exp_()


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
    weights, codes = filtered(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1:]
    # Scaled by the total; kept below it, or a code of weight 0 could follow.
    goal = torch.minimum(
        uniform.to(cumulative)[:, None] * total, torch.nextafter(total, torch.zeros_like(total))
    )
    place = torch.searchsorted(cumulative, goal, right=True)
    return (place if codes is None else codes.gather(-1, place))[:, 0]
