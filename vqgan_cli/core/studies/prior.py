"""Transformers against convolutional priors on the same codes (Esser et al. 2021, section 4.1, table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vqgan_cli.core.config import PRIORS, ExperimentConfig
from vqgan_cli.core.plots import Lines
from vqgan_cli.core.studies.base import Arm, Metric, Run, Study, Values
from vqgan_cli.core.studies.curves import at

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["PriorStudy"]


class PriorStudy(Study):
    """Each prior learns the same codes; one set of runs answers for equal steps and for equal time."""

    name = "prior"
    question = "Which prior models the codes best, at equal steps and at equal time?"
    paper = "the transformer beats PixelSNAIL at equal time on every set, by 0.07 to 0.20 nats per code"
    # At a constant rate a validation on the way is what a run of that length would give.
    settings = ("train_transformer.schedule=constant",)
    metrics = (
        Metric("nats_per_code_at_equal_steps", "NLL at equal steps (nats per code)"),
        Metric("nats_per_code_at_equal_time", "NLL at equal time (nats per code)"),
        Metric("training_seconds", "training (s)", 0),
        Metric("steps", "steps", 0),
        Metric("parameters", "parameters", 0),
    )
    takes = frozenset({"--ae"})

    def arms(self, config: ExperimentConfig) -> list[Arm]:
        """About as many parameters each: convolutions of half the width have those of attention and MLP."""
        transformer = config.transformer
        half = max(1, transformer.width // 2 // transformer.heads) * transformer.heads
        changes: dict[str, dict[str, Any]] = {
            "pixelcnn": {"width": half, "kernel_size": 5},
            "pixelsnail": {"width": half, "kernel_size": 3, "block_convolutions": 2},
        }
        return [
            Arm("tokenizer", "train-ae", role="shared"),
            *(
                Arm(
                    kind,
                    "train-transformer",
                    {"transformer": {"kind": kind, "order": "row", **changes.get(kind, {})}},
                    start="tokenizer",
                )
                for kind in PRIORS
            ),
        ]

    def read(self, runs: Sequence[Run], instruments: Instruments) -> list[Values]:
        """See `Study.read`."""
        curves = [run.curve() for run in runs]
        steps = min(curve[-1].step for curve in curves)
        seconds = min(curve[-1].seconds for curve in curves)
        return [
            {
                "nats_per_code_at_equal_steps": at(curve, "step", steps, "loss"),
                "nats_per_code_at_equal_time": at(curve, "seconds", seconds, "loss"),
                "training_seconds": curve[-1].seconds,
                "steps": curve[-1].step,
                "parameters": instruments.prior_parameters(run),
            }
            for run, curve in zip(runs, curves, strict=True)
        ]

    def lines(self, runs: Sequence[Run]) -> list[Lines]:
        """NLL against the time of training."""
        curves = [
            (run.arm.name, [(point.seconds, point.values["loss"]) for point in run.curve()]) for run in runs
        ]
        return [Lines("NLL (nats per code)", "seconds of training", curves)]
