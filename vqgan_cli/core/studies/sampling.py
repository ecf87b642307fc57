"""How codes are drawn from a trained transformer (Esser et al. 2021, appendix on k, p and rejection)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.studies.base import Arm, Metric, Run, Study, Values

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["SAMPLES", "SamplingStudy"]

SAMPLES = (
    Metric("frechet_distance", "{frechet}", 2),
    Metric("precision", "precision"),
    Metric("recall", "recall"),
)
"""Columns of studies that draw."""

_PLAIN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "guidance": 1.0}


class SamplingStudy(Study):
    """One transformer, drawn from in many ways, each one step away from plain sampling."""

    name = "sampling"
    question = "How should codes be drawn?"
    paper = "FID 15.98 with k 250, 15.78 with p 0.88, 5.20 with k 600 and 5 % of the candidates kept"
    metrics = SAMPLES
    takes = frozenset({"--model", "--features", "--samples", "--scorer"})
    needs_features = True

    def arms(self, config: ExperimentConfig) -> list[Arm]:
        """See `Study.arms`."""
        size = config.tokenizer.codebook_size
        ways: dict[str, dict[str, Any]] = {
            "plain": {},
            **{f"k={k}": {"top_k": k} for k in dict.fromkeys(max(1, size // part) for part in (2, 8, 32))},
            **{f"p={p}": {"top_p": p} for p in (0.95, 0.88, 0.75)},
            **{f"temperature={t}": {"temperature": t} for t in (1.1, 0.9, 0.7)},
        }
        if config.condition.kind == "class" and config.condition.dropout > 0:
            ways |= {f"guidance={scale}": {"guidance": scale} for scale in (1.5, 2.0, 3.0)}
        return [
            Arm("tokenizer", "train-ae", role="shared"),
            Arm("transformer", "train-transformer", start="tokenizer", role="shared"),
            *(
                Arm(name, "generate", {"sampling": {**_PLAIN, **way}}, start="transformer")
                for name, way in ways.items()
            ),
            *(
                Arm(f"keep={keep}", "generate", {"sampling": _PLAIN}, start="transformer", keep=keep)
                for keep in (0.5, 0.1)
            ),
        ]

    def read(self, runs: Sequence[Run], instruments: Instruments) -> list[Values]:
        """See `Study.read`."""
        return [instruments.sampled(run) for run in runs]
