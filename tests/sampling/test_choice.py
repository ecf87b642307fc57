"""Drawing one code."""

from __future__ import annotations

import math

import pytest
import torch

from vqgan_cli.core.sampling.choice import choose, filtered, guidance_scale, uniforms

LOGITS = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) * 2


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
    found = filtered(LOGITS, temperature=temperature, top_k=top_k, top_p=top_p)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-9)


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
