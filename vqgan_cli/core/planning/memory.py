"""How much memory the training of a transformer takes on each GPU, on paper: for models that fit on none at hand.

With P parameters, width d, and B sequences of T tokens, N of which are predicted, of K codes, in bytes:

- weights 4 P; gradients 4 P, and as much for the buckets in which processes add them up; AdamW's moments 8 P; an
  average of the weights 4 P. Divided among n processes, each of these is 1 / n, and the buckets are gone, but the
  largest block is there whole three times (its weights, those of the next, its gradients), and what is in no block
  twice.
- autocast's copies of the weights for a step, 2 P.
- activations, of each block B T d times the number in ``_KEPT``: what autograd keeps of it, as tests count it, with a
  fused attention and without dropout. Recomputed, a block keeps its input, 4 B T d, and one at a time the rest.
- logits, the logarithms of probabilities and the gradients of both, 12 B N K, with autocast 2 B N K more.

What cuDNN, the allocator and the communication take is not in it; tens of percent are usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.models.priors import PriorSpec, build_prior

__all__ = ["MemoryNeed", "memory_needs", "memory_rows"]

_SEVERAL = 8
_KEPT = {"gpt": (64, 36), "llama": (95, 58)}
"""Bytes that a block keeps for each token and unit of width, in float32 and with autocast."""


@dataclass(frozen=True)
class MemoryNeed:
    """Of one GPU, in bytes.

    Attributes:
        gpus: how many train together.
        shared: whether they divide weights, gradients and moments, ``sharding: full``.
        recomputed: whether activations are recomputed, ``gradient_checkpointing: true``.
        weights: of the model and its average, and autocast's copies.
        gradients: and the buckets for their sums.
        optimizer: the moments.
        activations: with the logits.
    """

    gpus: int
    shared: bool
    recomputed: bool
    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All together."""
        return self.weights + self.gradients + self.optimizer + self.activations


def memory_needs(config: ExperimentConfig, spec: PriorSpec) -> list[MemoryNeed]:
    """For one GPU and for eight, with whole and with shared weights, with kept and with recomputed activations.

    Args:
        config: its ``transformer`` and ``train_transformer`` count.
        spec: what the prior models.

    Returns:
        Empty for a prior that is no stack of attention blocks, of which these formulas say nothing.
    """
    with torch.device("meta"):
        prior = build_prior(config.transformer, spec)
    if config.transformer.kind not in _KEPT:
        return []
    whole = sum(p.numel() for p in prior.parameters())
    blocks = [sum(p.numel() for p in block.parameters()) for block in prior.blocks]
    settings = config.train_transformer
    autocast = settings.precision != "fp32"
    stream = settings.batch_size * (spec.condition_length + spec.cells - 1) * config.transformer.width
    of_block = _KEPT[config.transformer.kind][autocast] * stream
    logits = (14 if autocast else 12) * settings.batch_size * spec.cells * spec.codebook_size
    copies = 2 * whole if autocast else 0
    averages = 2 if settings.ema_decay > 0 else 1
    needs = []
    for gpus, shared in ((1, False), (_SEVERAL, False), (_SEVERAL, True)):
        part = whole / gpus if shared else whole
        gathered = 4 * (whole - sum(blocks)) if shared else 0
        weights = 4 * part * averages + copies + gathered + (8 * max(blocks) if shared else 0)
        gradients = 4 * part + gathered + (4 * max(blocks) if shared else 0)
        if gpus > 1 and not shared:
            gradients += 4 * whole
        for recomputed in (False, True):
            kept = len(blocks) * 4 * stream + of_block if recomputed else len(blocks) * of_block
            needs.append(MemoryNeed(gpus, shared, recomputed, weights, gradients, 8 * part, kept + logits))
    return needs


def memory_rows(needs: list[MemoryNeed]) -> list[tuple[str, str]]:
    """Names and values, in 10^9 bytes."""
    rows = []
    for need in needs:
        name = "1 GPU" if need.gpus == 1 else f"{need.gpus} GPUs"
        name += (", shared" if need.shared else "") + (", recomputed" if need.recomputed else "")
        parts = ("weights", "gradients", "optimizer", "activations")
        listed = ", ".join(f"{part} {getattr(need, part) / 1e9:.3g}" for part in parts)
        rows.append((name, f"{need.total / 1e9:.3g} GB each: {listed}"))
    return rows
