"""The score of Salimans et al. 2016, "Improved Techniques for Training GANs", section 4: Inception score, where the
classes are Inception's.

``exp(E KL(p(y|x) || p(y)))``: high where a classifier is sure of each image and names many classes. It sees no
reference. Published figures are the mean over ten parts of 50,000 images.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["ClassifierScore"]


class ClassifierScore:
    """The score of any number of images, batch after batch; what is kept does not grow with them.

    Image i is in part ``i % parts``, so that samples in the order of their classes are mixed. Spread is found by the
    Poisson bootstrap: in each resample an image counts a number of times that is drawn with mean 1, which in a stream
    takes the place of drawing with replacement.

    Args:
        parts: the score is the mean over so many.
        resamples: how many.
        seed: of the resamples.
    """

    def __init__(self, parts: int, *, resamples: int = 0, seed: int = 0) -> None:
        self.parts = parts
        self.images = 0
        self._resamples = resamples
        self._generator = np.random.default_rng(seed)
        self._counts = torch.zeros(parts, 1 + resamples, dtype=torch.float64)
        self._sharpness = torch.zeros_like(self._counts)  # sums of sum_y p log p
        self._classes: Tensor | None = None  # sums of p: [parts, 1 + resamples, C]

    def update(self, logits: Tensor) -> None:
        """Add images by their logits [B, C]."""
        log_p = logits.detach().cpu().double().log_softmax(1)
        p = log_p.exp()
        drawn = torch.from_numpy(self._generator.poisson(1, (len(p), self._resamples)))
        counts = torch.cat([torch.ones(len(p), 1), drawn], dim=1).double()  # [B, 1 + resamples]
        if self._classes is None:
            self._classes = torch.zeros(*self._counts.shape, p.shape[1], dtype=torch.float64)
        sharpness = counts * (p * log_p).sum(1, keepdim=True)
        part_of = (self.images + torch.arange(len(p))) % self.parts
        for part in part_of.unique():
            chosen = part_of == part
            self._counts[part] += counts[chosen].sum(0)
            self._sharpness[part] += sharpness[chosen].sum(0)
            self._classes[part] += counts[chosen].mT @ p[chosen]
        self.images += len(p)

    def compute(self) -> list[float]:
        """The score, and those of the resamples; NaN before each part has an image."""
        if self._classes is None:
            return [float("nan")] * (1 + self._resamples)
        mean = self._classes / self._counts[..., None]
        information = self._sharpness / self._counts - torch.xlogy(mean, mean).sum(-1)
        scores: list[float] = information.exp().mean(0).tolist()
        return scores
