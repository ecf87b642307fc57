"""Quantizers against brute force and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqgan_cli.core.config import QuantizerConfig, TokenizerConfig
from vqgan_cli.core.errors import ConfigError
from vqgan_cli.core.models.quantizers import QUANTIZERS, Quantizer, build_quantizer
from vqgan_cli.core.models.quantizers.base import nearest_code, to_grid, to_rows
from vqgan_cli.core.models.quantizers.ema import EMAQuantizer
from vqgan_cli.core.models.quantizers.gumbel import GumbelQuantizer
from vqgan_cli.core.models.quantizers.normalized import NormalizedQuantizer
from vqgan_cli.core.presets import resolve

CODES, DIM = 16, 8


def build(kind: str, *, codes: int = CODES, dim: int = DIM, **options: object) -> Quantizer:
    torch.manual_seed(0)
    config = TokenizerConfig(
        codebook_size=codes,
        codebook_dim=dim,
        quantizer=QuantizerConfig.model_validate({"kind": kind, **options}),
    )
    return build_quantizer(config)


def vectors(*, batch: int = 2, dim: int = DIM, height: int = 4, width: int = 6, seed: int = 1) -> Tensor:
    return torch.randn(batch, dim, height, width, generator=torch.Generator().manual_seed(seed))


def ema(codebook: Tensor, **options: object) -> EMAQuantizer:
    """A quantizer of running means that has already started, at a given codebook."""
    quantizer = build("ema", codes=codebook.shape[0], dim=codebook.shape[1], **options)
    assert isinstance(quantizer, EMAQuantizer)
    quantizer.embedding.copy_(codebook)
    quantizer.embed_avg.copy_(codebook)
    quantizer.initialized.fill_(True)
    return quantizer


@pytest.mark.parametrize("max_elements", [2**22, 1000, 37, 1])
def test_nearest_code_is_the_nearest(max_elements: int) -> None:
    """Oracle: brute force in float64, whatever the number of distances held at once."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(101, DIM, generator=generator)
    codebook = torch.randn(37, DIM, generator=generator)
    expected = torch.cdist(rows.double(), codebook.double()).argmin(1)
    found = nearest_code(rows, codebook, max_elements=max_elements)
    assert found.dtype == torch.int64
    assert torch.equal(found, expected)


def test_nearest_code_takes_the_lowest_index_of_equals() -> None:
    """Oracle: the documented rule."""
    codebook = torch.tensor([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert nearest_code(torch.tensor([[1.0, 0.0]]), codebook).item() == 1


def test_nearest_code_holds_few_distances_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the documented bound, on the sizes that the matrix product really returns."""
    product, sizes = torch.addmm, []

    def measured(*args: Tensor, alpha: int) -> Tensor:
        result = product(*args, alpha=alpha)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(torch, "addmm", measured)
    nearest_code(torch.randn(100, DIM), torch.randn(10, DIM), max_elements=64)
    assert max(sizes) <= 64
    assert sum(sizes) == 1000


def test_rows_and_grids_are_inverse() -> None:
    """Oracle: the identity, and row-major order of cells."""
    z = vectors()
    assert torch.equal(to_grid(to_rows(z), z), z)
    assert torch.equal(to_rows(z)[7], z[0, :, 1, 1])  # 6 cells in a row


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_decoding_the_codes_gives_the_quantized_vectors(kind: str) -> None:
    """Oracle: the invariant decode(encode(z)) = forward(z), in evaluation mode."""
    quantizer, z = build(kind).eval(), vectors()
    quantized = quantizer(z)
    codes = quantizer.encode(z)
    assert (codes.dtype, codes.shape) == (torch.int64, (2, 4, 6))
    assert torch.equal(codes, quantized.codes)
    decoded = quantizer.decode(codes)
    assert decoded.shape == z.shape
    torch.testing.assert_close(decoded, quantized.vectors, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("training", [True, False])
def test_computes_in_float32_under_autocast(kind: str, training: bool) -> None:
    """Oracle: the same computation without autocast, bit by bit."""
    quantizer, z = build(kind).train(training), vectors().bfloat16()
    state = {name: value.clone() for name, value in quantizer.state_dict().items()}
    torch.manual_seed(3)
    plain = quantizer(z)
    quantizer.load_state_dict(state)
    torch.manual_seed(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = quantizer(z)
        codes, decoded = quantizer.encode(z), quantizer.decode(plain.codes)
    assert cast.vectors.dtype == cast.loss.dtype == decoded.dtype == torch.float32
    assert torch.equal(cast.vectors, plain.vectors)
    assert torch.equal(cast.loss, plain.loss)
    assert torch.equal(codes, quantizer.encode(z))


@pytest.mark.parametrize("kind", ["vq", "ema"])
def test_gradients_pass_straight_through(kind: str) -> None:
    """Oracle: closed form, the gradient of the input is that of the output, whatever it is."""
    quantizer, z, upstream = build(kind), vectors().requires_grad_(), vectors(seed=2)
    output = quantizer(z).vectors
    (gradient,) = torch.autograd.grad(output, z, upstream)
    assert torch.equal(gradient, upstream)
    assert not torch.equal(output, z)


def test_gradients_pass_straight_through_the_normalisation() -> None:
    """Oracle: the gradient of plain normalisation."""
    quantizer, z, upstream = build("l2"), vectors().requires_grad_(), vectors(seed=2)
    (gradient,) = torch.autograd.grad(quantizer(z).vectors, z, upstream)
    (expected,) = torch.autograd.grad(F.normalize(z, dim=1), z, upstream)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


def test_codebook_gets_no_gradient_through_the_vectors() -> None:
    """Oracle: the codebook learns by its own loss only."""
    quantizer = build("vq")
    quantizer(vectors().requires_grad_()).vectors.sum().backward()
    assert quantizer.get_parameter("embedding.weight").grad is None


def test_normalised_lookup_compares_directions() -> None:
    """Oracle: brute-force cosine similarity, and invariance to the lengths of vectors and of codebook rows."""
    quantizer, z = build("l2").eval(), vectors()
    assert isinstance(quantizer, NormalizedQuantizer)
    codes = quantizer.encode(z)
    cosine = F.cosine_similarity(to_rows(z).unsqueeze(1), quantizer.embedding.weight.detach(), dim=2)
    assert torch.equal(codes.flatten(), cosine.argmax(1))

    vectors_before = quantizer.decode(codes)
    torch.testing.assert_close(vectors_before.norm(dim=1), torch.ones(2, 4, 6))
    lengths = torch.logspace(-2, 2, CODES).unsqueeze(1)
    quantizer.embedding.weight.data.mul_(lengths)
    assert torch.equal(quantizer.encode(100 * z), codes)
    torch.testing.assert_close(quantizer.decode(codes), vectors_before)
    torch.testing.assert_close(quantizer(z).vectors, vectors_before)


def test_running_means_after_one_update() -> None:
    """Oracle: closed form by hand. Cells 0.0, 0.2 go to code 0, cell 1.4 to code 1, none to code 2."""
    quantizer = ema(torch.tensor([[0.0], [1.0], [9.0]]), ema_decay=0.9, dead_code_threshold=0)
    z = torch.tensor([0.0, 0.2, 1.4]).view(1, 1, 1, 3)
    assert quantizer(z).codes.flatten().tolist() == [0, 0, 1]
    size = torch.tensor([0.9 + 0.1 * 2, 0.9 + 0.1 * 1, 0.9])
    total = torch.tensor([0.1 * 0.2, 0.9 * 1.0 + 0.1 * 1.4, 0.9 * 9.0])
    torch.testing.assert_close(quantizer.cluster_size, size)
    torch.testing.assert_close(quantizer.embed_avg, total.unsqueeze(1))
    torch.testing.assert_close(quantizer.embedding, (total / size).unsqueeze(1))


def test_running_means_converge_to_the_means_of_their_vectors() -> None:
    """Oracle: the fixed point of the update is the mean of what is assigned to a code."""
    quantizer = ema(torch.tensor([[-1.0], [1.0]]), ema_decay=0.5, dead_code_threshold=0)
    z = torch.tensor([-3.0, -2.0, 4.0, 6.0]).view(1, 1, 2, 2)
    for _ in range(60):
        quantizer(z)
    torch.testing.assert_close(quantizer.embedding, torch.tensor([[-2.5], [5.0]]))


def test_running_means_start_at_vectors_of_the_first_batch() -> None:
    """Oracle: with decay 1 nothing follows, so every row is a vector of the batch, bit by bit."""
    quantizer, z = build("ema", ema_decay=1.0), vectors() + 100
    quantizer(z)
    codebook = quantizer.get_buffer("embedding")
    assert all(bool((to_rows(z) == row).all(1).any()) for row in codebook)
    before = codebook.clone()
    quantizer(vectors(seed=2))
    assert torch.equal(codebook, before)  # only the first


def test_dead_codes_restart_at_vectors_of_the_batch() -> None:
    """Oracle: the rule. Code 1 is never used; its count 0.9^n falls below 0.5 in the seventh step."""
    quantizer = ema(torch.tensor([[0.0], [1000.0]]), ema_decay=0.9, dead_code_threshold=0.5)
    z = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2)
    for _ in range(6):
        quantizer(z)
    assert quantizer.cluster_size[1].item() == pytest.approx(0.9**6)
    assert quantizer.embedding[1].item() == pytest.approx(1000, rel=1e-5)
    quantizer(z)
    assert quantizer.embedding[1].item() in (-1.0, 1.0)
    assert quantizer.cluster_size[1].item() == 1


def test_running_means_rest_in_evaluation_and_without_gradients() -> None:
    """Oracle: no buffer changes, bit by bit, and the same input in training does change them."""
    quantizer = build("ema")
    quantizer(vectors())
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}

    def moved() -> bool:
        return any(not torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())

    quantizer.eval()(vectors(seed=2))
    assert not moved()
    with torch.no_grad():
        quantizer.train()(vectors(seed=2))
    assert not moved()
    quantizer(vectors(seed=2))
    assert moved()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_running_means_are_not_poisoned(first: bool, bad: float) -> None:
    """Oracle: a batch with values that are not finite leaves all buffers as they are."""
    quantizer = build("ema")
    if not first:
        quantizer(vectors())
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    z = vectors(seed=2)
    z[0] = bad
    quantizer(z)
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_running_means_commit_by_beta() -> None:
    """Oracle: closed form, beta times the mean squared distance to the chosen rows, and its gradient."""
    quantizer = ema(torch.tensor([[0.0], [10.0]]), commitment_weight=0.5)
    z = torch.tensor([1.0, 12.0]).view(1, 1, 1, 2).requires_grad_()
    loss = quantizer(z).loss
    assert loss.item() == pytest.approx(0.5 * (1 + 4) / 2)
    (gradient,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(gradient.flatten(), torch.tensor([0.5, 1.0]))


def gumbel_with_logits(row: Tensor, **options: object) -> GumbelQuantizer:
    """A Gumbel quantizer whose logits are ``row`` in every cell."""
    quantizer = build("gumbel", codes=len(row), **options)
    assert isinstance(quantizer, GumbelQuantizer)
    quantizer.proj.weight.data.zero_()
    quantizer.proj.bias.data.copy_(row)  # type: ignore[union-attr]
    return quantizer


def test_gumbel_loss_is_the_divergence_from_uniform() -> None:
    """Oracle: closed form. Equal logits: 0; one certain code of K: log K; (3/4, 1/4): log 2 - H."""
    certain = torch.full((CODES,), -1e4)
    certain[3] = 1e4
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    cases = [
        (torch.ones(CODES), 0.0),
        (certain, math.log(CODES)),
        (torch.tensor([0.75, 0.25]).log(), math.log(2) - entropy),
    ]
    for logits, expected in cases:
        quantized = gumbel_with_logits(logits, kl_weight=0.1)(vectors())
        assert quantized.terms["kl"].item() == pytest.approx(expected, abs=1e-6)
        assert quantized.loss.item() == pytest.approx(0.1 * expected, abs=1e-6)


def test_gumbel_takes_the_argmax_in_evaluation_and_samples_in_training() -> None:
    """Oracle: evaluation is deterministic; hard samples are rows of the codebook, not always the likeliest."""
    quantizer, z = build("gumbel"), vectors()
    assert isinstance(quantizer, GumbelQuantizer)
    quantizer.eval()
    likeliest = quantizer.logits(z).argmax(1)
    assert torch.equal(quantizer(z).codes, likeliest)
    assert torch.equal(quantizer(z).vectors, quantizer.decode(likeliest))
    quantizer.train()
    sampled = quantizer(z).vectors
    distance = torch.cdist(to_rows(sampled), quantizer.embed.weight).detach()
    assert distance.min(1).values.max().item() < 1e-3
    assert not torch.equal(distance.argmin(1), likeliest.flatten())


def test_gumbel_samples_follow_the_probabilities() -> None:
    """Oracle: the Gumbel-max theorem; the frequency of a code of probability 0.8, within five sigma."""
    quantizer = gumbel_with_logits(torch.tensor([0.8, 0.2]).log())
    sampled = to_rows(quantizer(vectors(batch=8, height=32, width=32)).vectors.detach())
    share = (torch.cdist(sampled, quantizer.embed.weight).argmin(1) == 0).float().mean().item()
    assert share == pytest.approx(0.8, abs=5 * math.sqrt(0.8 * 0.2 / len(sampled)))


def test_gumbel_temperature_falls_along_half_a_cosine() -> None:
    """Oracle: closed form at the start, the middle, the end and beyond."""
    options = {"temperature": 1.0, "temperature_end": 0.2}
    quantizer = build("gumbel", **options)
    assert isinstance(quantizer, GumbelQuantizer)
    for step, expected in ((0, 1.0), (50, 0.6), (100, 0.2), (150, 0.2)):
        quantizer.set_progress(step, 100)
        assert quantizer.temperature == pytest.approx(expected)
        assert quantizer(vectors()).terms["temperature"].item() == pytest.approx(expected)
    shorter = build("gumbel", **options, temperature_steps=10)
    assert isinstance(shorter, GumbelQuantizer)
    shorter.set_progress(10, 100)
    assert shorter.temperature == pytest.approx(0.2)


def test_low_temperature_makes_relaxed_samples_hard() -> None:
    """Oracle: the limit. Relaxed samples approach rows of the codebook as the temperature goes to 0."""
    quantizer = build("gumbel", straight_through=False)
    assert isinstance(quantizer, GumbelQuantizer)
    gaps = []
    for temperature in (1.0, 0.01):
        quantizer.temperature = temperature
        torch.manual_seed(5)
        sampled = to_rows(quantizer(vectors()).vectors)
        gaps.append(torch.cdist(sampled, quantizer.embed.weight).min(1).values.mean().item())
    assert gaps[1] < gaps[0] / 10


def test_unknown_kind_is_a_config_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"'gumble' is not one of .*did you mean 'gumbel'"):
        resolve("demo", ["tokenizer.quantizer.kind=gumble"])
