"""Which parameters decay."""

from __future__ import annotations

import pytest
import torch

from vqgan_cli.core.config import OptimisationConfig, TransformerConfig
from vqgan_cli.core.models.priors import PriorSpec, build_prior
from vqgan_cli.core.training.optimizer import adamw, decay_groups


@pytest.mark.parametrize("kind", ["gpt", "pixelcnn"])
def test_only_weights_of_linear_layers_and_convolutions_decay(kind: str) -> None:
    """Oracle: with no gradient, a step of AdamW leaves a parameter as it is, or scales it by 1 - lr * decay."""
    torch.manual_seed(0)
    prior = build_prior(TransformerConfig(kind=kind, layers=1, heads=2, width=8), PriorSpec(5, (2, 2)))
    optimizer = adamw(prior, OptimisationConfig(learning_rate=0.1, weight_decay=0.5))
    before = {name: value.clone() for name, value in prior.named_parameters()}
    for parameter in prior.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in prior.named_parameters():
        decays = name == "head.weight" or (name.startswith(("blocks", "last")) and value.ndim > 1)
        assert torch.allclose(value, before[name] * (0.95 if decays else 1)), name
    decayed, spared = decay_groups(prior)
    assert len(decayed) + len(spared) == len(before)
