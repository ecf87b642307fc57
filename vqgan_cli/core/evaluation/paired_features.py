"""The Frechet distance of reconstructions from their originals: rFID, where the features are Inception's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.errors import UsageError, WeightsError
from vqgan_cli.core.evaluation.comparison import frechet_figure
from vqgan_cli.core.evaluation.features import FID, FeatureNetwork, load_features
from vqgan_cli.core.evaluation.figures import Figure
from vqgan_cli.core.reporting import Reporter

__all__ = ["PairedFeatures", "features_or_none"]

Pictures = npt.NDArray[np.uint8]


def features_or_none(
    name: str | None, weights: Path | None, device: torch.device, reporter: Reporter
) -> FeatureNetwork | None:
    """The network that compares sets of pictures, on the device.

    Args:
        name: see `load_features`; ``none`` for none; None: that of FID, or none, with a warning, if it cannot be had.
        weights: its file; None: the published one.
        device: where to.
        reporter: who listens.

    Raises:
        UsageError: no such network, or ``weights`` without one.
        WeightsError: the network that was asked for cannot be had.
    """
    if name == "none":
        if weights is not None:
            raise UsageError("--weights is the file of a network, and --features none has none")
        return None
    if name is not None or weights is not None:
        return load_features(name or FID, weights).to(device)
    try:
        return load_features(FID).to(device)
    except (UsageError, WeightsError) as error:
        reporter.warning(f"without the Frechet distance: {error.message.splitlines()[0]}")
        return None


class PairedFeatures:
    """Features of pictures and of their reconstructions; two arrays that grow with the pictures.

    Args:
        network: on its device.
        count: at most so many pictures.
    """

    def __init__(self, network: FeatureNetwork, count: int) -> None:
        self.network = network
        self._count = count
        self._done = 0
        self._features = np.empty((2, 0, 0), np.float32)  # [2, count, D] once D is known

    def add(self, originals: Pictures, decoded: Pictures, device: torch.device) -> None:
        """A few more of both, uint8 [B, H, W, 3]."""
        part = slice(self._done, self._done + len(originals))
        for side, pictures in enumerate((originals, decoded)):
            found = self.network(torch.from_numpy(pictures).permute(0, 3, 1, 2).to(device)).features
            if not self._features.size:
                self._features = np.empty((2, self._count, found.shape[1]), np.float32)
            self._features[side, part] = found.cpu().numpy()
        self._done = part.stop

    def figure(self, resamples: int, device: torch.device, reporter: Reporter) -> Figure:
        """The distance of the reconstructions from the originals, NaN of fewer than two.

        The bootstrap draws pairs: an image that is drawn twice is there twice on both sides.

        Args:
            resamples: of the bootstrap; 0: no interval.
            device: where to compute.
            reporter: who listens.
        """
        label = "rFID" if self.network.name == FID else self.network.labels.frechet
        originals, decoded = self._features[:, : self._done]
        with reporter.progress("resampling", resamples, "resamples") as progress:
            return frechet_figure(
                decoded,
                originals,
                label,
                resamples=resamples,
                seed=0,
                device=device,
                paired=True,
                progress=progress,
            )
