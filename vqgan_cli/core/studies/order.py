"""The sequence in which cells are drawn (Esser et al. 2021, appendix on orderings)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.models.priors.orders import ORDERS
from vqgan_cli.core.studies.base import Arm, Metric, Run, Study, Values

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["OrderStudy"]


class OrderStudy(Study):
    """The same transformer, the same codes, in each order."""

    name = "order"
    question = "In which order should the codes of an image be drawn?"
    paper = (
        "row by row, on ImageNet: row 4.767, z-curve 4.810, alternate 4.812, spiral out 4.889, spiral in 4.901, "
        "subsample 5.015 nats per code"
    )
    metrics = (
        Metric("nats_per_code", "NLL (nats per code)"),
        Metric("accuracy", "likeliest code right (share)"),
    )
    takes = frozenset({"--ae"})

    def arms(self, config: ExperimentConfig) -> list[Arm]:
        """See `Study.arms`."""
        return [
            Arm("tokenizer", "train-ae", role="shared"),
            *(
                Arm(order, "train-transformer", {"transformer": {"order": order}}, start="tokenizer")
                for order in ORDERS
            ),
        ]

    def read(self, runs: Sequence[Run], instruments: Instruments) -> list[Values]:
        """See `Study.read`."""
        return [{"nats_per_code": last["loss"], "accuracy": last["accuracy"]} for last in map(Run.last, runs)]
