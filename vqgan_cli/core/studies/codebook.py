"""Size of the codebook and how a vector becomes one of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.models.quantizers import QUANTIZERS
from vqgan_cli.core.studies.base import Arm, Metric, Run, Study, Values
from vqgan_cli.core.studies.reconstruction import RECONSTRUCTION, read_reconstruction

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["CodebookStudy"]


class CodebookStudy(Study):
    """Every quantizer with a quarter of the config's codes, with as many, and with four times as many."""

    name = "codebook"
    question = "How large should the codebook be, and which quantizer uses it?"
    paper = "more codes reconstruct better; but of 16,384 the published VQ used 973 (later work, L2-normalised: 97 %)"
    metrics = (
        *RECONSTRUCTION,
        Metric("codebook_usage", "codes used (share)"),
        Metric("perplexity", "perplexity", 1),
        Metric("codes_never_used", "codes never used", 0),
    )
    takes = frozenset({"--features", "--weights"})

    def arms(self, config: ExperimentConfig) -> list[Arm]:
        """See `Study.arms`."""
        size = config.tokenizer.codebook_size
        return [
            Arm(
                f"{kind}-{codes}",
                "train-ae",
                {"tokenizer": {"codebook_size": codes, "quantizer": {"kind": kind}}},
            )
            for kind in QUANTIZERS
            for codes in (max(2, size // 4), size, size * 4)
        ]

    def read(self, runs: Sequence[Run], instruments: Instruments) -> list[Values]:
        """See `Study.read`."""
        return [read_reconstruction(run, instruments) for run in runs]
