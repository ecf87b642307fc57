"""What the loss makes of a tokenizer: from blurred to sharp (Esser et al. 2021, sections 3.1 and 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.studies.base import Arm, Run, Study, Values
from vqgan_cli.core.studies.reconstruction import RECONSTRUCTION, read_reconstruction

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["LossStudy"]


class LossStudy(Study):
    """The same tokenizer with one term of the loss more each time. The network of the perceptual term, if the config
    has one, measures the distance of all.
    """

    name = "loss"
    question = "What do the perceptual and the adversarial term add to a VQ-VAE?"
    paper = "PSNR falls, while perceptual and Frechet distance improve: from blurred to sharp"
    metrics = RECONSTRUCTION
    takes = frozenset({"--features", "--weights"})

    def arms(self, config: ExperimentConfig) -> list[Arm]:
        """See `Study.arms`."""
        if config.train_ae.adversarial.weight == 0:
            raise UsageError(
                "study loss: the config has no adversarial term to add",
                hint="--set train_ae.adversarial.weight=0.8",
            )
        off: dict[str, Any] = {"weight": 0.0}
        losses: dict[str, dict[str, Any]] = {"vq-vae": {"adversarial": off, "perceptual": off}}
        if config.train_ae.perceptual.kind == "none" or config.train_ae.perceptual.weight == 0:
            losses["vq-vae+gan"] = {}
        else:
            losses["vq-vae+perceptual"] = {"adversarial": off}
            losses["vq-vae+perceptual+gan"] = {}
        return [Arm(name, "train-ae", {"train_ae": changes}) for name, changes in losses.items()]

    def read(self, runs: Sequence[Run], instruments: Instruments) -> list[Values]:
        """See `Study.read`."""
        return [read_reconstruction(run, instruments) for run in runs]
