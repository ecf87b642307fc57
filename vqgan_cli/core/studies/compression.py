"""How many pixels a code stands for, at a fixed transformer (Esser et al. 2021, section 4.4 and table on CIFAR-10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.studies.base import Arm, Metric, Run, Study, Values
from vqgan_cli.core.studies.reconstruction import RECONSTRUCTION, read_reconstruction
from vqgan_cli.core.studies.sampling import SAMPLES

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["CompressionStudy"]

_MULTIPLIERS = {1: [1], 2: [1, 2], 4: [1, 2, 4], 8: [1, 1, 2, 4], 16: [1, 1, 2, 2, 4]}
"""Channels of the levels of a tokenizer, by f."""


class CompressionStudy(Study):
    """A tokenizer, a transformer and samples for each f; f = 1 draws pixel by pixel."""

    name = "compression"
    question = "How far should images be compressed before a transformer models them?"
    paper = "on CIFAR-10 drawing codes of f = 2 is 14.08 times faster than drawing pixels, with an FID 18.6 % better"
    metrics = (
        *RECONSTRUCTION[:2],
        RECONSTRUCTION[-1],
        Metric("bits_per_pixel", "NLL (bits per pixel)"),
        *SAMPLES,
        Metric("seconds_per_image", "drawing (s per image)", 3),
        Metric("speedup", "times faster than f = 1", 1),
    )
    takes = frozenset({"--features", "--samples"})

    def arms(self, config: ExperimentConfig) -> list[Arm]:
        """See `Study.arms`."""
        size = config.data.size
        if size % max(_MULTIPLIERS):
            raise UsageError(
                f"study compression: data.size {size} is not a multiple of {max(_MULTIPLIERS)}",
                hint="--set data.size=32",
            )
        arms = []
        for f, multipliers in _MULTIPLIERS.items():
            # Attention over the pixels of f = 1 would be the most expensive part of all, so no tokenizer has it.
            architecture = {
                "channel_multipliers": multipliers,
                "attention_resolutions": [],
                "mid_attention": False,
            }
            changes = {"tokenizer": architecture, "transformer": {"order": "row"}}
            arms += [
                Arm(f"f={f}-tokenizer", "train-ae", changes, role="part"),
                Arm(f"f={f}-transformer", "train-transformer", changes, f"f={f}-tokenizer", "part"),
                Arm(f"f={f}", "generate", {}, start=f"f={f}-transformer"),
            ]
        return arms

    def read(self, runs: Sequence[Run], instruments: Instruments) -> list[Values]:
        """See `Study.read`."""
        values = []
        for run in runs:
            transformer = run.before
            assert transformer is not None
            tokenizer = transformer.before
            assert tokenizer is not None
            last = transformer.last()
            values.append(
                read_reconstruction(tokenizer, instruments)
                | {"bits_per_pixel": last["bits_per_pixel"]}
                | instruments.sampled(run)
                | instruments.timed(run)
            )
        of_pixels = [
            each["seconds_per_image"] for run, each in zip(runs, values, strict=True) if run.arm.name == "f=1"
        ]
        if of_pixels:
            mean = sum(of_pixels) / len(of_pixels)
            for each in values:
                each["speedup"] = mean / each["seconds_per_image"]
        return values
