"""Batches of codes with the condition of each, for training and validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.data.sampler import SeededBatchSampler
from vqgan_cli.core.training.code_sets import CodeSet

__all__ = ["CodeBatch", "batch_of", "code_batches"]


@dataclass(frozen=True)
class CodeBatch:
    """Codes int64 [B, h, w] and the condition of each: labels int64 [B, 1], or codes of maps [B, h * w]."""

    codes: Tensor
    condition: Tensor


def batch_of(codes: CodeSet, images: npt.ArrayLike, views: npt.ArrayLike) -> CodeBatch:
    """One view of each of some images."""
    images, views = np.asarray(images), np.asarray(views)
    grids, of_maps = codes.read(images, views)
    if of_maps is None:
        return CodeBatch(torch.from_numpy(grids), torch.from_numpy(codes.labels[images])[:, None])
    return CodeBatch(torch.from_numpy(grids), torch.from_numpy(of_maps).flatten(1))


def code_batches(codes: CodeSet, sampler: SeededBatchSampler, seed: int) -> Iterator[CodeBatch]:
    """Endless batches; which view of an image is shown depends on (seed, epoch, image) only."""
    for batch in sampler:
        positions = [position for _, position in batch]
        chosen = [
            int(np.random.default_rng((seed, epoch, position)).integers(codes.views))
            if codes.views > 1
            else 0
            for epoch, position in batch
        ]
        yield batch_of(codes, positions, chosen)
