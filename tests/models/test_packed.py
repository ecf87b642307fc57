"""Packed linear layers against plain ones."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from tests.models.test_priors import KINDS, SPECS, inputs, tiny
from vqgan_cli.core.models.priors.packed import PackedLinear, can_pack, pack

needs_packing = pytest.mark.skipif(
    not can_pack(torch.zeros(1)), reason="this processor has other matrix products"
)


def can(dtype: torch.dtype) -> None:
    if not can_pack(torch.zeros(1, dtype=dtype)):
        pytest.skip(f"no packed {dtype} here")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2**-7)])
@pytest.mark.parametrize("shape", [(1, 96), (8, 96), (3, 1, 96), (2, 37, 96), (2, 0, 96)])
@pytest.mark.parametrize("bias", [False, True])
def test_equals_the_plain_layer(
    dtype: torch.dtype, tolerance: float, shape: tuple[int, ...], bias: bool
) -> None:
    """Oracle: nn.Linear; float32 within 2e-6, bfloat16 within its one last bit, of results of order 1."""
    can(dtype)
    torch.manual_seed(0)
    plain = nn.Linear(96, 70, bias=bias).to(dtype)
    x = torch.randn(shape).to(dtype)
    with torch.inference_mode():
        found, expected = PackedLinear(plain)(x), plain(x)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert torch.allclose(found, expected, atol=tolerance, rtol=tolerance)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """So many inside a product."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("width", [768, 3072])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_does_not_depend_on_the_others(dtype: torch.dtype, width: int) -> None:
    """Invariant: bit for bit, so that codes do not depend on the batch."""
    can(dtype)
    torch.manual_seed(0)
    packed, x = PackedLinear(nn.Linear(width, 300).to(dtype)), torch.randn(128, width).to(dtype)
    with torch.inference_mode():
        together = packed(x)
        for rows in (1, 2, 3, 4, 7, 64):
            assert torch.equal(packed(x[:rows]), together[:rows])


@needs_packing
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("condition", SPECS)
def test_priors_compute_the_same(kind: str, condition: str) -> None:
    """Oracle: the prior before; no linear layer is left."""
    prior = tiny(kind, condition)
    packed = copy.deepcopy(prior)
    pack(packed, least=0)
    codes, given = inputs(prior)
    with torch.inference_mode():
        assert torch.allclose(packed(codes[:, :-1], given), prior(codes[:, :-1], given), atol=1e-4, rtol=1e-5)
    assert not any(isinstance(module, nn.Linear) for module in packed.modules())


@needs_packing
def test_weights_are_counted_as_before() -> None:
    """Invariant: as many parameters."""
    prior = tiny("gpt", "class")
    before = sum(parameter.numel() for parameter in prior.parameters())
    pack(prior, least=0)
    assert sum(parameter.numel() for parameter in prior.parameters()) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_types_stay_as_they_are(dtype: torch.dtype) -> None:
    layers = nn.Sequential(nn.Linear(4, 4)).to(dtype)
    pack(layers, least=0)
    assert isinstance(layers[0], nn.Linear)


@needs_packing
def test_small_layers_stay_as_they_are() -> None:
    """Closed form: from 2^18 numbers on a weight is packed."""
    layers = nn.Sequential(nn.Linear(512, 511), nn.Sequential(nn.Linear(512, 512)))
    pack(layers)
    assert isinstance(layers[0], nn.Linear)
    assert isinstance(layers.get_submodule("1.0"), PackedLinear)


@needs_packing
@pytest.mark.parametrize(
    ("done", "word"),
    [
        (lambda layers: layers.to(torch.bfloat16), "moved or cast"),
        (lambda layers: layers.to("meta"), "moved or cast"),
        (lambda layers: layers.state_dict(), "saved"),
        (lambda layers: layers.load_state_dict({"0.weight": torch.zeros(4, 4)}), "loaded"),
        (lambda layers: copy.copy(layers[0]), "copied"),
        (copy.deepcopy, "copied"),
        (pickle.dumps, "pickled"),
    ],
)
def test_what_is_packed_only_draws(done: Callable[[nn.Sequential], object], word: str) -> None:
    """One message, of the module around the layer too."""
    with pytest.raises(TypeError, match=f"packed weights cannot be .*{word}.*: a prior that is prepared"):
        done(nn.Sequential(PackedLinear(nn.Linear(4, 4))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_preparing_twice_changes_nothing(dtype: torch.dtype) -> None:
    """Oracle: the layer prepared once."""
    can(dtype)
    layers, x = nn.Sequential(nn.Linear(512, 512)), torch.randn(8, 512).to(dtype)
    results = []
    for _ in range(2):
        layers.to(dtype)
        pack(layers)
        results.append(layers(x))
    assert isinstance(layers[0], PackedLinear)
    assert torch.equal(*results)
