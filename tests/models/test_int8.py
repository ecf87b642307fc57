"""Linear layers of 8 bits against sums of the same integers, and against the layers they stand for."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.models.test_priors import KINDS, SPECS, inputs, tiny
from vqgan_cli.core.models.priors.int8 import Int8Linear, has_int8, quantize
from vqgan_cli.core.models.priors.transformer import TransformerPrior

pytestmark = pytest.mark.skipif(not has_int8(), reason="this CPU has no exact products of 8 bits")


def by_integers(layer: nn.Linear, x: Tensor) -> Tensor:
    """The definition, in integers of 64 bits: the largest magnitude of a row of weights, or of inputs, is 127."""
    weight = layer.weight.double()
    of_weight = weight.abs().amax(1) / 127
    of_input = x.double().abs().amax(-1, keepdim=True) / 127
    levels = torch.floor(x.double() / of_input + 0.5).long()
    sums = levels @ (weight / of_weight[:, None]).round().long().T
    y = sums.double() * of_input * of_weight
    return (y if layer.bias is None else y + layer.bias).float()


def test_asking_takes_no_random_number() -> None:
    """Determinism: a training asks what its machine can do, and goes on with the same random numbers."""
    before = torch.get_rng_state()
    has_int8.__wrapped__()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(1, 96), (8, 96), (3, 1, 96), (2, 37, 96)])
@pytest.mark.parametrize("bias", [False, True])
def test_is_the_sum_of_integers(shape: tuple[int, ...], bias: bool) -> None:
    """Oracle: the definition; what is rounded at a half may fall to the other side in one of a thousand places."""
    torch.manual_seed(0)
    layer, x = nn.Linear(96, 70, bias=bias), torch.randn(shape) * torch.rand(*shape[:-1], 1) * 10
    with torch.inference_mode():
        found, expected = Int8Linear(layer)(x), by_integers(layer, x)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert torch.isclose(found, expected, rtol=1e-5, atol=1e-5).float().mean() > 0.999


@pytest.mark.parametrize("width", [768, 3072])
def test_is_close_to_the_plain_layer(width: int) -> None:
    """Closed form: both factors are rounded to 127 levels of magnitude, so that the error of a sum of normal numbers is
    about 1.2 % of it: each factor's rounding error is uniform within half a level, of 3.4 standard deviations / 127.
    """
    torch.manual_seed(0)
    layer, x = nn.Linear(width, 500), torch.randn(64, width)
    nn.init.normal_(layer.weight)
    with torch.inference_mode():
        found, expected = Int8Linear(layer)(x), layer(x)
    assert (found - expected).norm() / expected.norm() < 0.015


def test_rows_of_zeros_and_without_rows() -> None:
    """Closed form: the bias, whatever scale a row of zeros might have; and nothing of no rows."""
    layer = nn.Linear(96, 70)
    with torch.inference_mode():
        assert torch.equal(Int8Linear(layer)(torch.zeros(2, 96)), layer.bias.expand(2, -1))
        assert Int8Linear(layer)(torch.zeros(2, 0, 96)).shape == (2, 0, 70)
        nn.init.zeros_(layer.weight)
        assert torch.equal(Int8Linear(layer)(torch.randn(2, 96)), layer.bias.expand(2, -1))


@pytest.mark.parametrize("width", [768, 3072])
def test_a_row_does_not_depend_on_the_others(width: int) -> None:
    """Invariant: bit for bit, so that codes do not depend on the batch, beside rows a thousand times as large too."""
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(width, 300))
    x = torch.randn(128, width) * torch.logspace(-1, 3, 128)[:, None]
    with torch.inference_mode():
        together = layer(x)
        for rows in (1, 2, 3, 4, 7, 64):
            assert torch.equal(layer(x[:rows]), together[:rows])


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if issubclass(type(tiny(kind, "class")), TransformerPrior)]
)
@pytest.mark.parametrize("condition", SPECS)
def test_priors_compute_about_the_same(kind: str, condition: str) -> None:
    """Oracle: the prior before; no linear layer is left, and as many parameters."""
    prior = tiny(kind, condition)
    quantized = copy.deepcopy(prior)
    quantize(quantized)
    codes, given = inputs(prior)
    with torch.inference_mode():
        found, expected = quantized(codes[:, :-1], given), prior(codes[:, :-1], given)
    assert 0 < (found - expected).norm() / expected.norm() < 0.05
    assert not any(isinstance(module, nn.Linear) for module in quantized.modules())
    assert sum(p.numel() for p in quantized.parameters()) == sum(p.numel() for p in prior.parameters())


@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_one_code_at_a_time_equals_the_whole_sequence(kind: str) -> None:
    """Invariant: teacher-forced logits, but for values at a half that last bits round to the other side."""
    prior = tiny(kind, "class")
    quantize(prior)
    codes, given = inputs(prior)
    with torch.inference_mode():
        whole = prior(codes[:, :-1], given)
        sequences = prior.sequences(given, codes.shape[1])
        logits = [sequences.prefix(codes[:, :0], torch.zeros(len(codes), dtype=torch.int64))]
        logits += [sequences.step(codes[:, place], place) for place in range(codes.shape[1] - 1)]
    difference = torch.stack(logits, 1) - whole
    assert difference.norm() / whole.norm() < 0.01
    assert (difference.abs() < 1e-5).float().mean() > 0.5


@pytest.mark.parametrize(
    ("done", "word"),
    [
        (lambda layers: layers.to("meta"), "moved or cast"),
        (lambda layers: layers.state_dict(), "saved"),
        (lambda layers: layers.load_state_dict({"0.weight": torch.zeros(4, 4)}), "loaded"),
        (copy.deepcopy, "copied"),
        (pickle.dumps, "pickled"),
    ],
)
def test_what_is_quantized_only_draws(done: Callable[[nn.Sequential], object], word: str) -> None:
    """The message of packed layers."""
    with pytest.raises(TypeError, match=f"packed weights cannot be .*{word}.*: a prior that is prepared"):
        done(nn.Sequential(Int8Linear(nn.Linear(64, 64))))
