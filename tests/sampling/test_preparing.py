"""Priors that are prepared draw what they drew before."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.models.test_priors import KINDS, tiny
from vqgan_cli.core.models.priors.packed import pack
from vqgan_cli.core.sampling.preparing import prepare_to_draw
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grid", [(3, 4), (4, 7)])
def test_the_same_codes_in_float32(kind: str, grid: tuple[int, int]) -> None:
    """Oracle: the prior as it was, on random weights."""
    prior = tiny(kind, "class")
    settings = SamplingSettings(top_k=15, top_p=0.95, guidance=1.5, seed=2)
    labels = torch.tensor([[0], [4], [2]])
    expected = draw(prior, labels, grid, settings)
    prepare_to_draw(prior, "fp32")
    pack(prior, least=0)  # these layers are small
    assert torch.equal(draw(prior, labels, grid, settings), expected)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_that_of_the_weights(precision: str) -> None:
    """Oracle: the plain cast prior; of the first code of each image, as a product may end in another last bit."""
    prior = tiny("gpt", "class")
    plain = copy.deepcopy(prior).to({"bf16": torch.bfloat16, "fp16": torch.float16}[precision])
    prepare_to_draw(prior, precision)
    pack(prior, least=0)
    labels = torch.arange(5)[:, None]
    settings = SamplingSettings(seed=3)
    first = draw(prior, labels, (3, 4), settings)[:, 0, 0]
    assert torch.equal(first, draw(plain, labels, (3, 4), settings)[:, 0, 0])
    assert all(p.dtype == next(plain.parameters()).dtype for p in prior.parameters())
