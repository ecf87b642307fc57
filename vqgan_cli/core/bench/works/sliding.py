"""Drawing images far larger than those of training by the sliding window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vqgan_cli.core.bench.plain.transformers import draw_code, plain_window_logits
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.bench.works.sampling import Priors
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.sampling.sampler import SamplingSettings, require_drawable
from vqgan_cli.core.sampling.windows import plan_waves
from vqgan_cli.core.sizes import require_multiples

__all__ = ["check_window", "window_works"]

_PLAIN_CELLS = 8
"""The plain way runs the same full pass for each cell, so a few of them tell the time of all."""


def check_window(subject: Subject, settings: BenchSettings) -> None:
    """Find what cannot be drawn before anything is measured.

    Raises:
        UsageError: a size that is no multiple of f or within the training size, or a stride or order that does not fit.
    """
    prior, f = subject.require_prior(), subject.tokenizer.downsampling
    for height, width in _sizes(subject, settings):
        require_multiples(height, width, f, "tokenizer")
        grid = height // f, width // f
        if grid[0] <= prior.spec.grid[0] and grid[1] <= prior.spec.grid[1]:
            raise UsageError(
                f"--size {height}x{width} is not beyond the training size: no window slides there"
            )
        for stride in settings.strides:
            require_drawable(prior, grid, SamplingSettings(stride=stride))


def window_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """One image, drawn whole, a row for each size and stride."""
    f, priors = subject.tokenizer.downsampling, Priors(subject)
    for pixels in _sizes(subject, settings):
        for stride in settings.strides:
            yield _work(subject, priors, (pixels[0] // f, pixels[1] // f), stride)


def _sizes(subject: Subject, settings: BenchSettings) -> Sequence[tuple[int, int]]:
    f = subject.tokenizer.downsampling
    height, width = subject.require_prior().spec.grid
    return settings.sizes or ((2 * height * f, 4 * width * f),)


def _work(subject: Subject, priors: Priors, grid: tuple[int, int], stride: int) -> Work:
    plain, spec, chosen = priors.plain, subject.require_prior().spec, subject.config.sampling
    f = subject.tokenizer.downsampling
    generator = torch.Generator().manual_seed(0)
    shape = (1, *grid) if spec.condition == "codes" else (1, 1)
    condition = torch.randint(max(1, spec.condition_size), shape, generator=generator).to(subject.device)
    how = SamplingSettings(top_k=chosen.top_k, stride=stride)
    canvas = torch.randint(spec.codebook_size, (1, *grid), generator=generator).to(subject.device)

    def ours() -> Tensor:
        return priors.draw(condition, grid, how)

    def theirs() -> None:
        assert plain is not None
        row = grid[0] // 2
        for column in range(_PLAIN_CELLS):
            logits = plain_window_logits(plain, canvas, condition, row, column, spec.grid)
            canvas[:, row, column] = draw_code(logits, chosen.top_k)

    def counts() -> dict[str, float]:
        waves = len(plan_waves(grid, spec.grid, stride, steps=priors.fast.keeps))
        return {"codes": grid[0] * grid[1], "waves": waves, **priors.counts()}

    name = f"window {grid[0] * f}x{grid[1] * f}" + (f", stride {stride}" if stride > 1 else ", exact")
    return Work(
        name,
        "codes",
        Way(ours, grid[0] * grid[1]),
        Way(theirs, _PLAIN_CELLS) if plain else None,
        priors.needs,
        counts=counts,
        once=True,
    )
