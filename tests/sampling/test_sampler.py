"""Whole grids against the original implementations, and against themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.golden import gpt_prior, llama_prior, state_dict
from tests.models.test_priors import KINDS, SPECS, TRANSFORMERS, tiny
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import Prior, PriorSpec
from vqgan_cli.core.sampling.sampler import SamplingSettings, Stopped, draw

GREEDY = SamplingSettings(temperature=0)


@pytest.mark.parametrize("name", ["class", "unconditional", "segcond"])
def test_greedy_codes_equal_the_original(name: str, shared: Path) -> None:
    """Oracle: greedy codes recorded from the original implementation."""
    folder = shared / "golden/taming"
    recorded = load_file(folder / f"{name}_io.safetensors")
    weights = state_dict(folder / f"{name}.ckpt")
    weights = {k.removeprefix("transformer."): v for k, v in weights.items() if k.startswith("transformer.")}
    spec, condition = {
        "class": (PriorSpec(96, (16, 16), "class", 10), recorded.get("classes")),
        "unconditional": (PriorSpec(96, (16, 16)), torch.zeros(2, 1, dtype=torch.int64)),
        "segcond": (PriorSpec(96, (16, 16), "codes", 96), recorded.get("cond_codes")),
    }[name]
    assert condition is not None
    if name == "segcond":
        condition = condition.view(2, 16, 16)
    assert torch.equal(draw(gpt_prior(weights, spec), condition, (16, 16), GREEDY), recorded["greedy"])


@pytest.mark.parametrize(("name", "guidance"), [("greedy", 1.0), ("greedy_cfg2p5", 2.5)])
def test_greedy_codes_equal_llamagen(name: str, guidance: float, shared: Path) -> None:
    """Oracle: greedy codes recorded from LlamaGen, without guidance and with a scale of 2.5."""
    recorded = load_file(shared / "golden/llamagen/gpt_io.safetensors")
    prior = llama_prior(shared / "golden/llamagen/gpt.pt")
    settings = replace(GREEDY, guidance=guidance)
    assert torch.equal(draw(prior, recorded["classes"][:, None], (8, 8), settings), recorded[name])


@pytest.mark.parametrize("max_batch", [1, 16])
@pytest.mark.parametrize("condition", ["class", "spatial"])
def test_sliding_window_equals_the_original(condition: str, max_batch: int, shared: Path) -> None:
    """Oracle: greedy codes of a 20x28 grid recorded from the original, one full pass per cell."""
    folder = shared / "golden/taming"
    recorded = load_file(folder / "sliding_io.safetensors")
    weights = load_file(folder / "sliding_gpt.safetensors")
    weights = {k.removeprefix(f"{condition}."): v for k, v in weights.items() if k.startswith(condition)}
    if condition == "class":
        spec, given = PriorSpec(96, (16, 16), "class", 10), recorded["class_label"]
    else:
        spec, given = PriorSpec(96, (16, 16), "codes", 96), recorded["cond_codes"]
    drawn = draw(gpt_prior(weights, spec), given, (20, 28), replace(GREEDY, max_batch=max_batch))
    assert torch.equal(drawn, recorded[f"{condition}_greedy"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("grid", "stride"), [((3, 4), 1), ((5, 9), 1), ((5, 9), 2), ((2, 3), 1)])
def test_batches_do_not_matter(kind: str, grid: tuple[int, int], stride: int) -> None:
    """Invariant: the same codes whatever the batch, and whichever images are drawn beside it."""
    prior = tiny(kind, "class")
    condition = torch.tensor([[0], [3], [1]])
    settings = SamplingSettings(top_p=0.9, guidance=1.5, guidance_schedule="cosine", stride=stride, seed=7)
    expected = draw(prior, condition, grid, settings)
    assert expected.shape == (3, *grid)
    assert torch.equal(draw(prior, condition, grid, replace(settings, max_batch=1)), expected)
    assert torch.equal(draw(prior, condition[2:], grid, settings, first_image=2), expected[2:])
    assert not torch.equal(draw(prior, condition, grid, replace(settings, seed=8)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_window_without_movement_equals_cached_sampling(kind: str) -> None:
    """Invariant: in the grid's first rows and columns the window stands still, so a wider grid begins as a training
    grid does. The random numbers differ, so the likeliest codes are compared.
    """
    prior = tiny(kind, "class")
    condition = torch.tensor([[2]])
    small = draw(prior, condition, (3, 4), GREEDY)
    large = draw(prior, condition, (3, 10), GREEDY)
    strided = draw(prior, condition, (3, 10), replace(GREEDY, stride=2))
    # The first row sees nothing that differs until the window moves, which is after the middle.
    assert torch.equal(small[:, 0, :3], large[:, 0, :3])
    assert torch.equal(small[:, 0, :4], strided[:, 0, :4])


@pytest.mark.parametrize("kind", TRANSFORMERS)
@pytest.mark.parametrize("grid", [(5, 9), (8, 4), (3, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_steps_draw_what_passes_over_the_prefix_draw(
    kind: str, grid: tuple[int, int], stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the same codes with every placement drawn anew from all that precedes it; with guidance, for classes and
    for maps, in one batch or several, and with fewer tokens.
    """
    for condition in ("class", "codes"):
        prior = tiny(kind, replace(SPECS[condition], null_condition=True))
        shape = (2, *grid) if condition == "codes" else (2, 1)
        given = torch.randint(5, shape, generator=torch.Generator().manual_seed(3))
        for guidance, max_batch in ((1.0, 16), (2.0, 6)):
            settings = SamplingSettings(
                top_k=12, guidance=guidance, stride=stride, seed=4, max_batch=max_batch
            )
            with fed(prior) as kept:
                drawn = draw(prior, given, grid, settings)
            with monkeypatch.context() as patched, fed(prior) as anew:
                patched.setattr(type(prior), "keeps", False)
                assert torch.equal(draw(prior, given, grid, settings), drawn)
            assert sum(kept) < sum(anew)


@contextmanager
def fed(prior: Prior) -> Iterator[list[int]]:
    """Tokens of every pass through the network."""
    tokens: list[int] = []
    block = prior.blocks[0]
    handle = block.register_forward_hook(lambda *arguments: tokens.append(arguments[2].shape[:2].numel()))
    yield tokens
    handle.remove()


def test_tokens_of_a_large_grid() -> None:
    """Closed form: 6x4 cells of a window 3x4. The first is drawn from the class; where the window stands still, in the
    first two rows and in the last two, a code is a token; as the window moves down, a row begins with a pass over the
    class and the four codes above.
    """
    prior = tiny("gpt", "class")
    with fed(prior) as tokens:
        draw(prior, torch.tensor([[1]]), (6, 4), GREEDY)
    moves = 3  # top is 0 for rows 0 and 1, then 1, 2 and 3, which is the last
    assert sorted(tokens) == [1] * (24 - moves) + [1 + 4] * moves


def test_joint_distribution() -> None:
    """Oracle: closed form; all sequences of a 1x2 grid with 3 codes, chi-squared of 6,000 draws, limit at p = 1e-4."""
    from vqgan_cli.core.config import TransformerConfig
    from vqgan_cli.core.models.priors import build_prior

    torch.manual_seed(0)
    prior = build_prior(TransformerConfig(layers=1, heads=1, width=8), PriorSpec(3, (1, 2))).eval()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter)
    condition = torch.zeros(6000, 1, dtype=torch.int64)
    drawn = draw(prior, condition, (1, 2), SamplingSettings(max_batch=6000))
    with torch.inference_mode():
        logits = prior(torch.arange(3)[:, None], condition[:3]).double().softmax(-1)
    expected = (logits[:, 0].diagonal()[:, None] * logits[:, 1]).flatten() * 6000
    counts = torch.bincount(drawn[:, 0, 0] * 3 + drawn[:, 0, 1], minlength=9)
    assert ((counts - expected) ** 2 / expected).sum().item() < 31.8


def test_stops_when_asked() -> None:
    prior = tiny("gpt", "class")
    seen = []

    def progress(drawn: int, codes: torch.Tensor) -> bool:
        seen.append((drawn, int((codes >= 0).sum())))
        return drawn < 5

    with pytest.raises(Stopped):
        draw(prior, torch.tensor([[0]]), (3, 4), GREEDY, progress=progress)
    assert seen == [(n, n) for n in range(1, 6)]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"condition\.dropout|trained without"):
        draw(tiny("gpt", "none"), torch.zeros(1, 1, dtype=torch.int64), (3, 4), replace(GREEDY, guidance=2))
    with pytest.raises(UsageError, match="row order"):
        draw(tiny("gpt", "class", order="z-curve"), torch.tensor([[0]]), (3, 5), GREEDY)
    with pytest.raises(UsageError, match="between 1 and 2"):
        draw(tiny("gpt", "class"), torch.tensor([[0]]), (3, 8), replace(GREEDY, stride=3))
