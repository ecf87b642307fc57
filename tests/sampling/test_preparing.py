"""Priors that are prepared draw what they drew before."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.models.test_priors import KINDS, tiny
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors.int8 import has_int8, quantize
from vqgan_cli.core.models.priors.packed import pack
from vqgan_cli.core.sampling.preparing import prepare_to_draw, require_precision
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


needs_int8 = pytest.mark.skipif(not has_int8(), reason="this CPU has no exact products of 8 bits")


@needs_int8
@pytest.mark.parametrize("kind", ["gpt", "llama"])
@pytest.mark.parametrize("grid", [(3, 4), (4, 7)])
def test_int8_draws_what_its_weights_say(kind: str, grid: tuple[int, int]) -> None:
    """Oracle: the prior, quantized by hand; invariant: an image is the same, drawn among others and alone."""
    prior = tiny(kind, "class")
    plain = copy.deepcopy(prior)
    quantize(plain)
    prepare_to_draw(prior, "int8")
    labels = torch.tensor([[0], [4], [2]])
    settings = SamplingSettings(top_k=15, guidance=1.5, seed=2)
    drawn = draw(prior, labels, grid, settings)
    assert torch.equal(drawn, draw(plain, labels, grid, settings))
    alone = [draw(prior, labels[[image]], grid, settings, first_image=image) for image in range(3)]
    assert torch.equal(drawn, torch.cat(alone))


@needs_int8
def test_int8_is_of_transformers() -> None:
    with pytest.raises(UsageError, match="int8 is of transformers, and this prior is none"):
        prepare_to_draw(tiny("pixelcnn", "class"), "int8")


def test_int8_is_of_cpus() -> None:
    """A device of shapes alone stands for one that is no CPU."""
    with pytest.raises(UsageError, match="int8 is of CPUs, not of meta"):
        require_precision(torch.device("meta"), "int8")


@needs_int8
@pytest.mark.parametrize(("first", "then"), [("fp32", "int8"), ("int8", "fp32"), ("int8", "bf16")])
def test_what_is_prepared_stays_so(first: str, then: str) -> None:
    """In the same precision nothing changes; in another it is refused."""
    prior = tiny("gpt", "class")
    prepare_to_draw(prior, first)
    pack(prior, least=0)  # these layers are small
    prepare_to_draw(prior, first)
    with pytest.raises(TypeError, match="in another precision"):
        prepare_to_draw(prior, then)
