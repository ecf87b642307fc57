"""From pictures to features: what is in memory, and that a real network sees what an eye does."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqgan_cli.core.data.sources import SyntheticSource
from vqgan_cli.core.evaluation.collecting import collect_features
from vqgan_cli.core.evaluation.comparison import compare_features
from vqgan_cli.core.evaluation.features import FeatureNetwork, load_features
from vqgan_cli.core.evaluation.image_sets import ImageSet, open_image_set
from vqgan_cli.core.reporting import Reporter


class MeanColour(nn.Module):
    """A network of three features, slower than pictures are read: what is read too early piles up."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        time.sleep(0.005)
        features = images.float().mean((2, 3))
        return features, features


class Watched(SyntheticSource):
    """Counts the pictures that are in memory."""

    def __init__(self, length: int) -> None:
        super().__init__("faces", 16, 16, length)
        self.alive = self.most = 0
        self._lock = threading.Lock()

    def read(self, index: int, min_side: int | None = None) -> np.ndarray[Any, Any]:
        picture = np.full((16, 16, 3), index % 256, np.uint8)  # whoever has a view of it keeps it
        self._count(1)
        weakref.finalize(picture, self._count, -1)
        return picture

    def _count(self, change: int) -> None:
        with self._lock:
            self.alive += change
            self.most = max(self.most, self.alive)


def collect(source: SyntheticSource, seen: list[Tensor]) -> np.ndarray[Any, Any]:
    count = len(source)
    images = ImageSet(source, np.arange(count), np.full(count, -1), {})
    network = FeatureNetwork("torchvision:mean", MeanColour(), "", "")
    found = collect_features(
        network, images, (16, 16), as_it_is=True, batch_size=4, device=torch.device("cpu"), reporter=Reporter(),
        what="pictures", each=seen.append,
    )  # fmt: skip
    assert len(found) == count
    return found.features


def test_memory_does_not_grow_with_the_images() -> None:
    """Invariant: however many there are, no more pictures are in memory than a few batches; logits come in batches."""
    most = []
    for length in (60, 300):
        source, seen = Watched(length), list[Tensor]()
        features = collect(source, seen)
        gc.collect()
        assert source.alive == 0
        assert features.dtype == np.float32
        assert features.nbytes == length * 3 * 4
        assert max(map(len, seen)) == 4
        assert sum(map(len, seen)) == length
        most.append(source.most)
    assert max(most) <= 4 * 4 + 3 * 4  # read ahead, in a batch, and on the way there


def test_features_are_in_the_order_of_the_images() -> None:
    """Oracle: the mean colour of each picture, for a number that fills no last batch."""
    source = SyntheticSource("faces", 16, 16, 10)
    expected = [source.read(index).mean((0, 1)) for index in range(10)]
    np.testing.assert_allclose(collect(source, []), expected, rtol=1e-5)


def test_a_real_network_sees_what_an_eye_does(squeezenet: Path, shared: Path) -> None:
    """Ordering, in the features of a real SqueezeNet: other photos of faces are nearer to faces than the same photos
    made coarse, and than street scenes.
    """
    network = load_features("torchvision:squeezenet1_0", squeezenet)

    def features(spec: Path, limit: int, coarse: int = 1) -> np.ndarray[Any, Any]:
        images = open_image_set(str(spec), None, limit=limit)
        pixels = np.stack([images.read(number, (64, 64)) for number in range(limit)])
        small = pixels.reshape(limit, 64 // coarse, coarse, 64 // coarse, coarse, 3).mean(
            (2, 4), keepdims=True
        )
        pixels = np.broadcast_to(small, (limit, 64 // coarse, coarse, 64 // coarse, coarse, 3)).reshape(
            limit, 64, 64, 3
        )
        return network(torch.from_numpy(pixels.astype(np.uint8)).permute(0, 3, 1, 2)).features.numpy()

    reference = features(shared / "data/faces/train", 30)
    sets = (
        features(shared / "data/faces/val", 20),
        features(shared / "data/faces/val", 20, coarse=4),
        features(shared / "data/camvid/val", 20),
    )
    found = [
        {
            figure.key: figure.value
            for figure in compare_features(
                each, reference, network.labels, resamples=0, seed=0, device=torch.device("cpu")
            )
        }
        for each in sets
    ]
    faces, *others = found
    for other in others:
        for key in ("frechet_distance", "kernel_distance"):
            assert 2 * faces[key] < other[key]
        for key in ("precision", "recall", "density", "coverage"):
            assert faces[key] > 2 * other[key]
