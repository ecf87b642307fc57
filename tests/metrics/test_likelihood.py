"""The likelihood of codes under priors of every kind and order."""

from __future__ import annotations

import itertools

import pytest
import torch

from vqgan_cli.core.config import TransformerConfig
from vqgan_cli.core.metrics.likelihood import code_nats
from vqgan_cli.core.models.priors import Prior, PriorSpec, build_prior, sequence_order


def random_prior(kind: str, order: str, spec: PriorSpec) -> Prior:
    config = TransformerConfig.model_validate(
        {"kind": kind, "order": order, "layers": 1, "heads": 2, "width": 32}
    )
    torch.manual_seed(0)
    prior = build_prior(config, spec).eval().requires_grad_(False)
    for parameter in prior.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))  # so that condition and codes matter
    return prior


@pytest.mark.parametrize("kind", ["gpt", "llama", "pixelcnn"])
def test_all_images_together_have_probability_one(kind: str) -> None:
    """Closed form: the likelihoods of all 2^4 grids of two codes sum to 1, for either class."""
    prior = random_prior(kind, "row", PriorSpec(2, (2, 2), "class", 2))
    codes = torch.tensor(list(itertools.product((0, 1), repeat=4))).view(16, 2, 2)
    for label in (0, 1):
        nats, _ = code_nats(prior, codes, torch.full((16, 1), label))
        assert float(torch.exp(-nats.double().sum((1, 2))).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("order", ["row", "spiral-out"])
def test_each_cell_by_the_codes_before_it(order: str) -> None:
    """Oracle: the prior asked for one code at a time, with no more than those before it; and its likeliest code."""
    prior = random_prior("gpt", order, PriorSpec(7, (3, 3)))
    codes = torch.randint(0, 7, (4, 3, 3), generator=torch.Generator().manual_seed(1))
    condition = torch.zeros(4, 1, dtype=torch.int64)
    nats, likeliest = code_nats(prior, codes, condition)
    cells = sequence_order(order, 3, 3)
    sequence = codes.flatten(1)[:, cells]
    for place, cell in enumerate(cells):
        logits = prior(sequence[:, :place], condition)[:, -1]
        expected = -logits.log_softmax(-1)[torch.arange(4), sequence[:, place]]
        row, column = divmod(int(cell), 3)
        torch.testing.assert_close(nats[:, row, column], expected, atol=1e-5, rtol=1e-5)
        assert likeliest[:, row, column].tolist() == (logits.argmax(-1) == sequence[:, place]).tolist()
