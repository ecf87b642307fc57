"""A small network that finds the parts of synthetic pictures, and how well two sets of label maps agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS

__all__ = ["mean_iou", "train_segmenter"]

Array = npt.NDArray[np.uint8]


class _Segmenter(nn.Module):
    """Three resolutions and back, with skips. [B, 3, H, W] in [-1, 1] -> logits [B, classes, H, W]."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.fine = _stage(5, width)
        self.middle = _stage(width, 2 * width)
        self.coarse = _stage(2 * width, 2 * width)
        self.back = _stage(4 * width, width)
        self.out = nn.Sequential(_stage(2 * width, width), nn.Conv2d(width, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        batch, _, height, width = images.shape
        # Where a pixel lies says much about what it is.
        rows = torch.linspace(-1, 1, height).view(1, 1, -1, 1).expand(batch, 1, height, width)
        columns = torch.linspace(-1, 1, width).view(1, 1, 1, -1).expand(batch, 1, height, width)
        fine = self.fine(torch.cat((images, rows, columns), 1))
        middle = self.middle(F.max_pool2d(fine, 2))
        coarse = self.coarse(F.max_pool2d(middle, 2))
        back = self.back(torch.cat((middle, F.interpolate(coarse, scale_factor=2.0)), 1))
        return self.out(torch.cat((fine, F.interpolate(back, scale_factor=2.0)), 1))


def _stage(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU(),
    )  # fmt: skip


def train_segmenter(
    name: str, *, size: int, steps: int, seed: int = 100, drawn: Callable[[Tensor], Tensor] | None = None
) -> nn.Module:
    """Train on pictures of a synthetic set that no model of the tests has seen (their seeds are others).

    Args:
        name: of the set.
        size: pixels of a side.
        steps: of 16 pictures.
        seed: of pictures and weights.
        drawn: makes pictures look as a model draws them, such as a tokenizer there and back; half of them pass through.

    Returns:
        The network in evaluation mode.
    """
    torch.manual_seed(seed)
    drawn_by = SYNTHETIC_SETS[name]
    network = _Segmenter(len(drawn_by.parts))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        drawings = [drawn_by.draw(seed, 16 * step + index, size, size) for index in range(16)]
        images = torch.stack([to_input(drawing.image) for drawing in drawings])
        if drawn is not None:
            images[::2] = drawn(images[::2])
        labels = torch.stack(
            [torch.from_numpy(drawing.segmentation.astype(np.int64)) for drawing in drawings]
        )
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def to_input(image: Array) -> Tensor:
    """uint8 [H, W, 3] to float32 [3, H, W] in [-1, 1]."""
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)) / 127.5 - 1


def mean_iou(given: Array, found: Array) -> float:
    """Mean over the classes of `given` of intersection over union, counted over all maps [N, H, W]."""
    shares = []
    for label in np.unique(given):
        union = ((given == label) | (found == label)).sum()
        shares.append(((given == label) & (found == label)).sum() / union)
    return float(np.mean(shares))
