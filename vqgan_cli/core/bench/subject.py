"""What is measured: a model with its settings, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vqgan_cli.core.artifacts import (
    TRANSFORMER_FORMAT,
    load_tokenizer,
    load_transformer,
    read_model_info,
)
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import Prior, PriorSpec, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer, laid_out

__all__ = ["Subject", "subject_of_model", "subject_of_preset"]

_CLASSES = 1000  # of random weights; how many there are hardly changes the speed


@dataclass(frozen=True)
class Subject:
    """What all works of a benchmark have in common.

    Attributes:
        name: model or preset, in words.
        config: its experiment.
        tokenizer: on the device, in evaluation mode, float32.
        prior: on the device, in evaluation mode, float32; None for the model of a tokenizer alone.
        device: where to compute.
        precision: of our side: ``fp32``, ``bf16``, ``fp16`` or ``int8``; the plain side is always float32.
        trained: whether the weights are those of a model, not random ones.
    """

    name: str
    config: ExperimentConfig
    tokenizer: Tokenizer
    prior: Prior | None
    device: torch.device
    precision: str
    trained: bool

    def require_prior(self) -> Prior:
        """The prior.

        Raises:
            UsageError: there is none.
        """
        if self.prior is None:
            raise UsageError(
                f"{self.name} has no transformer", hint="name the model of a transformer, or a preset"
            )
        return self.prior


def subject_of_preset(config: ExperimentConfig, device: torch.device, precision: str) -> Subject:
    """Random weights of the architecture of an experiment, the same each time.

    A condition that is an image is left out: its codes would be as many as those of the image.
    """
    torch.manual_seed(0)
    tokenizer = laid_out(Tokenizer(config.tokenizer)).eval().requires_grad_(False).to(device)
    # Vectors that lie about as far apart as those they are compared with.
    for name, tensor in [*tokenizer.quantizer.named_parameters(), *tokenizer.quantizer.named_buffers()]:
        if name.startswith("embed"):
            torch.nn.init.normal_(tensor, std=0.1)
    side = config.data.size // config.tokenizer.downsampling
    by_class = config.condition.kind == "class"
    spec = PriorSpec(
        codebook_size=config.tokenizer.codebook_size,
        grid=(side, side),
        condition="class" if by_class else "none",
        condition_size=_CLASSES if by_class else 0,
        null_condition=by_class and config.condition.dropout > 0,
    )
    prior = build_prior(config.transformer, spec).eval().requires_grad_(False).to(device)
    return Subject(
        f"preset {config.name}, random weights", config, tokenizer, prior, device, precision, False
    )


def subject_of_model(path: Path, device: torch.device, precision: str) -> Subject:
    """A tokenizer or a transformer from its file; raises as `load_tokenizer` does."""
    info = read_model_info(path)
    name = f"model {path}"
    if info.format == TRANSFORMER_FORMAT:
        model = load_transformer(path, device)
        return Subject(name, info.config, model.tokenizer, model.prior, device, precision, True)
    return Subject(name, info.config, load_tokenizer(path, device), None, device, precision, True)
