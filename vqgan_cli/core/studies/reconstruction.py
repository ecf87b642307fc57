"""How well the tokenizer of a run reconstructs, as columns that several studies have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vqgan_cli.core.studies.base import Metric, Run, Values

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["RECONSTRUCTION", "read_reconstruction"]

RECONSTRUCTION = (
    Metric("psnr", "PSNR (dB)", 2),
    Metric("ssim", "SSIM"),
    Metric("perceptual_distance", "perceptual distance"),
    Metric("reconstruction_frechet_distance", "{frechet} of reconstructions", 2),
)


def read_reconstruction(run: Run, instruments: Instruments) -> Values:
    """The last validation of a tokenizer's run, and its Frechet distance where there are features for it."""
    values = run.last()
    if "perceptual" in values:
        values["perceptual_distance"] = values.pop("perceptual")
    return values | instruments.reconstructed(run)
