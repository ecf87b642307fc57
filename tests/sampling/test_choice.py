"""Drawing one code."""

from __future__ import annotations

import math

import pytest
import torch

from vqgan_cli.core.sampling import choice
from vqgan_cli.core.sampling.choice import choose, filtered, guidance_scale, uniforms

LOGITS = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) * 2


def whole(weights: torch.Tensor, codes: torch.Tensor | None, size: int) -> torch.Tensor:
    """Weights of all codes, [B, K]."""
    return weights if codes is None else weights.new_zeros(len(weights), size).scatter_(1, codes, weights)


def probabilities(logits: torch.Tensor, *, temperature: float, top_k: int, top_p: float) -> torch.Tensor:
    """Of all codes, [B, K]."""
    weights = whole(*filtered(logits, temperature=temperature, top_k=top_k, top_p=top_p), logits.shape[1])
    return weights / weights.sum(1, keepdim=True)


def brute_force(logits: list[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    """The definition, in plain Python."""
    ranked = sorted(range(len(logits)), key=lambda code: -logits[code])
    kept = ranked[:top_k] if top_k else ranked
    weights = {code: math.exp(logits[code] / temperature) for code in kept}
    total = sum(weights.values())
    chosen, reached = [], 0.0
    for code in kept:
        if reached >= top_p:
            break
        chosen.append(code)
        reached += weights[code] / total
    total = sum(weights[code] for code in chosen)
    return [weights[code] / total if code in chosen else 0.0 for code in range(len(logits))]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("top_k", [0, 1, 7, 40, 100])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.92, 1.0])
def test_filters_equal_their_definition(temperature: float, top_k: int, top_p: float) -> None:
    """Oracle: top-k and top-p written out in Python."""
    expected = [brute_force(row, temperature, top_k, top_p) for row in LOGITS.double().tolist()]
    found = probabilities(LOGITS, temperature=temperature, top_k=top_k, top_p=top_p)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-9)


def large_logits(kind: str) -> torch.Tensor:
    """Three rows of 8,192: spread, in few distinct values as of bf16, or one sharp row beside a flat and a constant
    one.
    """
    logits = torch.randn(3, 8192, generator=torch.Generator().manual_seed(1)) * 3
    if kind == "tied":
        return logits.bfloat16().float().round(decimals=0)
    if kind == "uneven":
        logits[0] *= 5
        logits[1] *= 0.01
        logits[2] = 1.5
    return logits


@pytest.mark.parametrize("kind", ["spread", "tied", "uneven"])
@pytest.mark.parametrize(("top_k", "top_p"), [(250, 1.0), (250, 0.92), (0, 0.92), (0, 0.3), (1, 1.0)])
def test_lists_of_the_likeliest_change_no_bit(
    kind: str, top_k: int, top_p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the filters over all codes; also where ties or a flat distribution make a short list fail, and whichever
    rows share the batch.
    """
    logits, numbers = large_logits(kind), torch.rand(3, generator=torch.Generator().manual_seed(2)).double()
    how = {"temperature": 0.8, "top_k": top_k, "top_p": top_p}
    single = [whole(*filtered(row[None], **how), 8192) for row in logits]  # type: ignore[arg-type]
    together = whole(*filtered(logits, **how), 8192)  # type: ignore[arg-type]
    drawn = choose(logits, numbers, **how)  # type: ignore[arg-type]
    monkeypatch.setattr(choice, "_shortlists", lambda *_: [])
    plain, codes = filtered(logits, **how)  # type: ignore[arg-type]
    assert codes is None
    assert torch.equal(together, plain)
    assert torch.equal(torch.cat(single), plain)
    assert torch.equal(drawn, choose(logits, numbers, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize(("top_k", "top_p", "most"), [(250, 0.92, 314), (250, 1.0, 314), (0, 0.92, 512)])
def test_few_codes_are_ranked(top_k: int, top_p: float, most: int) -> None:
    """Closed form: the list is top_k and 64 more; without top_k a sixteenth of the codes, which holds a nucleus."""
    weights, codes = filtered(large_logits("spread"), temperature=0.5, top_k=top_k, top_p=top_p)
    assert codes is not None
    assert weights.shape == codes.shape == (3, most)
    assert bool((codes.diff() > 0).all())


def test_codes_tied_with_the_last_of_top_k_stay() -> None:
    """Closed form: of 5, 4, 4, 4, 1 the two likeliest are four."""
    found = probabilities(
        torch.tensor([[4.0, 1.0, 4.0, 5.0, 4.0]]).log(), temperature=1.0, top_k=2, top_p=1.0
    )
    assert found[0].tolist() == pytest.approx([4 / 17, 0, 4 / 17, 5 / 17, 4 / 17])


def test_of_tied_codes_the_first_reach_top_p() -> None:
    """Closed form: of four equal codes the first two reach a half."""
    found = probabilities(torch.zeros(1, 4), temperature=1.0, top_k=0, top_p=0.5)
    assert found[0].tolist() == [0.5, 0.5, 0, 0]


def test_codes_are_drawn_with_their_probabilities() -> None:
    """Oracle: closed form; chi-squared of 20,000 draws, limit at p = 1e-4 for 9 degrees of freedom."""
    logits = LOGITS[:1, :10].expand(20_000, -1)
    drawn = choose(logits, uniforms(0, 0, 20_000), temperature=1.0, top_k=0, top_p=1.0)
    expected = LOGITS[0, :10].double().softmax(0) * 20_000
    chi = ((torch.bincount(drawn, minlength=10) - expected) ** 2 / expected).sum().item()
    assert chi < 33.7


def test_zero_temperature_takes_the_likeliest() -> None:
    drawn = choose(LOGITS, torch.rand(6), temperature=0.0, top_k=5, top_p=0.5)
    assert torch.equal(drawn, LOGITS.argmax(1))


def test_codes_without_probability_are_never_drawn() -> None:
    """Invariant: at both ends of the unit interval as well."""
    logits = torch.tensor([[-math.inf, 1.0, -math.inf, 2.0, -math.inf]]).expand(2, -1)
    drawn = choose(logits, torch.tensor([0.0, 1 - 2**-53]).double(), temperature=1.0, top_k=0, top_p=1.0)
    assert drawn.tolist() == [1, 3]


def test_random_numbers_depend_on_seed_image_and_cell() -> None:
    """Invariant: the same whatever else is drawn, and different for other seeds and images."""
    assert torch.equal(uniforms(3, 5, 8), uniforms(3, 5, 100)[:8])
    assert len({uniforms(seed, image, 1).item() for seed in range(4) for image in range(4)}) == 16


def test_guidance_schedules() -> None:
    """Oracle: closed form at the beginning, the middle and the end."""
    share = torch.tensor([0.0, 0.5, 1.0])
    assert guidance_scale(3.0, "constant", share).tolist() == [3, 3, 3]
    assert guidance_scale(3.0, "linear", share).tolist() == [1, 2, 3]
    assert guidance_scale(3.0, "cosine", share).tolist() == pytest.approx([1, 2, 3])
