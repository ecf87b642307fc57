"""Drawing around codes that are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.test_priors import tiny
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import Prior, PriorSpec, sequence_order
from vqgan_cli.core.sampling.choice import choose, uniforms
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw

SETTINGS = SamplingSettings(temperature=0.9, top_k=8, seed=5)
SPEC = PriorSpec(11, (4, 6), "class", 3)
LABELS = torch.tensor([[0], [2], [1]])


def given(grid: tuple[int, int], share: float, seed: int = 0) -> Tensor:
    """Codes of three images with about ``share`` of them known, elsewhere -1."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 11, (3, *grid), generator=generator)
    return codes.masked_fill(torch.rand(3, *grid, generator=generator) >= share, -1)


@contextmanager
def counted(prior: Prior) -> Iterator[list[int]]:
    """Rows of every pass through the network."""
    calls: list[int] = []
    handle = prior.ln_f.register_forward_hook(lambda *arguments: calls.append(len(arguments[2])))  # type: ignore[operator, union-attr]
    yield calls
    handle.remove()


@pytest.mark.parametrize("order", ["row", "alternate", "spiral-in", "subsample"])
def test_equals_one_full_pass_per_code(order: str) -> None:
    """Oracle: without a cache, each unknown code from all that come before it in the order."""
    prior = tiny("gpt", SPEC, order=order)
    known = given((4, 6), 0.4)
    drawn = draw(prior, LABELS, (4, 6), SETTINGS, known=known)
    sequence = torch.from_numpy(sequence_order(order, 4, 6))
    for image in range(3):
        numbers = uniforms(5, image, 24)
        codes = known[image].flatten()[sequence]
        for place in range(24):
            if codes[place] < 0:
                logits = prior(codes[None, :place], LABELS[image : image + 1])[:, -1]
                number = numbers[sequence[place]][None]
                codes[place] = choose(logits, number, temperature=0.9, top_k=8, top_p=1.0)[0]
        assert torch.equal(drawn[image].flatten()[sequence], codes)


def test_sliding_window_equals_one_full_pass_per_code() -> None:
    """Oracle: each unknown code from what precedes it in its window, placed as published."""
    prior = tiny("gpt", SPEC)
    height, width = 7, 9
    known = given((height, width), 0.5)
    drawn = draw(prior, LABELS, (height, width), SETTINGS, known=known)
    for image in range(3):
        numbers = uniforms(5, image, height * width)
        codes = known[image].clone()
        for row in range(height):
            for column in range(width):
                if codes[row, column] >= 0:
                    continue
                top, left = max(0, min(row - 2, height - 4)), max(0, min(column - 3, width - 6))
                place = (row - top) * 6 + column - left
                window = codes[top : top + 4, left : left + 6].flatten()[:place]
                logits = prior(window[None], LABELS[image : image + 1])[:, -1]
                number = numbers[row * width + column][None]
                codes[row, column] = choose(logits, number, temperature=0.9, top_k=8, top_p=1.0)[0]
        assert torch.equal(drawn[image], codes)


@pytest.mark.parametrize("grid", [(4, 6), (3, 4), (6, 9)])
@pytest.mark.parametrize("stride", [1, 2])
def test_known_codes_stay_and_the_batch_does_not_matter(grid: tuple[int, int], stride: int) -> None:
    """Invariant: given codes are kept; the same codes are drawn one by one and together."""
    prior = tiny("gpt", SPEC)
    known = given(grid, 0.6)
    settings = replace(SETTINGS, stride=stride)
    drawn = draw(prior, LABELS, grid, settings, known=known)
    assert torch.equal(torch.where(known >= 0, drawn, -1), known)
    assert int(drawn.min()) >= 0
    assert torch.equal(draw(prior, LABELS, grid, replace(settings, max_batch=1), known=known), drawn)


@pytest.mark.parametrize("grid", [(4, 6), (6, 9)])
def test_nothing_known_is_plain_drawing(grid: tuple[int, int]) -> None:
    """Invariant: a grid of -1 changes nothing."""
    prior = tiny("gpt", SPEC)
    nothing = torch.full((3, *grid), -1)
    assert torch.equal(
        draw(prior, LABELS, grid, SETTINGS, known=nothing), draw(prior, LABELS, grid, SETTINGS)
    )


@pytest.mark.parametrize("grid", [(4, 6), (6, 9)])
def test_everything_known_runs_no_network(grid: tuple[int, int]) -> None:
    prior = tiny("gpt", SPEC)
    known = given(grid, 2.0)
    with counted(prior) as calls:
        assert torch.equal(draw(prior, LABELS, grid, SETTINGS, known=known), known)
    assert not calls


def test_a_known_upper_part_is_read_at_once() -> None:
    """Closed form: one pass for the first half, then one for each code but the last."""
    prior = tiny("gpt", SPEC)
    known = given((4, 6), 2.0)
    known[:, 2:] = -1
    with counted(prior) as calls:
        draw(prior, LABELS, (4, 6), SETTINGS, known=known)
    assert len(calls) == 12


def test_guided_and_by_maps() -> None:
    """Invariant: with guidance and with the codes of maps, known codes stay and the batch does not matter."""
    spec = PriorSpec(11, (4, 6), "codes", 7, null_condition=True)
    prior = tiny("gpt", spec)
    settings = replace(SETTINGS, guidance=2.0)
    for grid in ((4, 6), (5, 8)):
        known = given(grid, 0.5)
        maps = torch.randint(0, 7, (3, *grid), generator=torch.Generator().manual_seed(1))
        drawn = draw(prior, maps, grid, settings, known=known)
        assert torch.equal(torch.where(known >= 0, drawn, -1), known)
        assert torch.equal(draw(prior, maps, grid, replace(settings, max_batch=2), known=known), drawn)


def test_codes_that_cannot_be() -> None:
    prior = tiny("gpt", SPEC)
    with pytest.raises(
        UsageError, match=r"known codes are torch.int64 \[3, 4, 5\], not integers \[3, 4, 6\]"
    ):
        draw(prior, LABELS, (4, 6), SETTINGS, known=torch.zeros(3, 4, 5, dtype=torch.int64))
    with pytest.raises(UsageError, match="known codes range from 11 to 11; the model has 0 to 10"):
        draw(prior, LABELS, (4, 6), SETTINGS, known=torch.full((3, 4, 6), 11))


def test_known_places_of_the_window_are_passed_over() -> None:
    """Closed form: of a 6x9 grid three rows are known; each of the 27 other cells takes a row of a pass per image."""
    prior = tiny("gpt", SPEC)
    known = given((6, 9), 2.0)
    known[:, 3:] = -1
    told: list[int] = []
    with counted(prior) as calls:
        draw(prior, LABELS, (6, 9), SETTINGS, known=known, progress=lambda done, _: told.append(done))
    assert sum(calls) == 3 * 27
    assert told[-1] == 3 * 54
