"""A small network that finds the parts of synthetic pictures, and the overlap of what it finds with a map."""

from __future__ import annotations

import itertools
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.data.synthetic import SyntheticSet

__all__ = ["Segmenter", "mean_iou"]

Array = npt.NDArray[Any]


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1), nn.GroupNorm(8, channels_out), nn.SiLU()
    )


class Segmenter(nn.Module):
    """A U-Net of four levels: pictures [B, 3, H, W] in [-1, 1] to logits [B, parts, H, W]."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        widths = (32, 64, 96, 128)
        self.down = nn.ModuleList([_conv(3, 32)])
        self.down.extend(nn.Sequential(_conv(a, b, 2), _conv(b, b)) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_conv(a + b, a) for a, b in itertools.pairwise(widths))
        self.head = nn.Conv2d(32, parts, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pictures."""
        levels = []
        for level in self.down:
            x = level(x)
            levels.append(x)
        for level, skipped in zip(reversed(self.up), reversed(levels[:-1]), strict=True):
            x = level(torch.cat((F.interpolate(x, scale_factor=2), skipped), 1))
        return self.head(x)

    @classmethod
    def trained_on(cls, pictures: SyntheticSet, *, steps: int, size: int = 64, seed: int = 123) -> Self:
        """Trained on 2,000 pictures, half of them blurred and noisy, as reconstructions are."""
        torch.manual_seed(0)
        drawings = [pictures.draw(seed, number, size, size) for number in range(2000)]
        images = _tensor(np.stack([drawing.image for drawing in drawings]))
        labels = torch.from_numpy(np.stack([drawing.segmentation for drawing in drawings])).long()
        network = cls(len(pictures.parts))
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps)
            chosen = torch.randint(0, len(images), (16,))
            batch = images[chosen]
            if step % 2:
                batch = F.avg_pool2d(batch, 3, 1, 1) + 0.03 * torch.randn_like(batch)
            loss = F.cross_entropy(network(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return network.eval()

    @torch.inference_mode()
    def labels(self, pictures: Array) -> Array:
        """Parts [N, H, W] of pictures uint8 [N, H, W, 3]."""
        return self(_tensor(pictures)).argmax(1).numpy()


def mean_iou(found: Array, given: Array, parts: int) -> float:
    """Intersection over union of each part over all pictures [N, H, W], averaged over the parts that occur."""
    overlaps = []
    for part in range(parts):
        union = ((found == part) | (given == part)).sum()
        if union:
            overlaps.append(((found == part) & (given == part)).sum() / union)
    return float(np.mean(overlaps))


def _tensor(pictures: Array) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
