"""Drawing images far larger than those of training by the sliding window."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vqgan_cli.core.bench.passes import Counted, counting
from vqgan_cli.core.bench.plain.transformers import draw_code, plain_transformer, plain_window_logits
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.bench.works.sampling import fast_prior
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors.transformer import TransformerPrior
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw
from vqgan_cli.core.sampling.windows import plan_waves

__all__ = ["window_works"]

_PLAIN_CELLS = 4
"""The plain way runs the same full pass for each cell, so a few of them tell the time of all."""
_ROUNDS = 1  # a large image takes minutes on a CPU


def window_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """One image, drawn whole, a row for each size and stride."""
    f = subject.tokenizer.downsampling
    height, width = subject.require_prior().spec.grid
    for pixels in settings.sizes or ((2 * height * f, 4 * width * f),):
        if pixels[0] % f or pixels[1] % f:
            raise UsageError(f"--size {pixels[0]}x{pixels[1]} is not a multiple of this tokenizer's f = {f}")
        for stride in settings.strides:
            yield _work(subject, (pixels[0] // f, pixels[1] // f), stride)


def _work(subject: Subject, grid: tuple[int, int], stride: int) -> Work:
    prior, fast = subject.require_prior(), fast_prior(subject)
    spec, chosen = prior.spec, subject.config.sampling
    f = subject.tokenizer.downsampling
    generator = torch.Generator().manual_seed(0)
    shape = (1, *grid) if spec.condition == "codes" else (1, 1)
    condition = torch.randint(max(1, spec.condition_size), shape, generator=generator).to(subject.device)
    plain = plain_transformer(prior)
    how = SamplingSettings(top_k=chosen.top_k, stride=stride)
    counted: list[Counted] = []

    def ours() -> Tensor:
        if not isinstance(fast, TransformerPrior):
            return draw(fast, condition, grid, how)
        with counting(fast) as count:
            drawn = draw(fast, condition, grid, how)
        counted[:] = [count]
        return drawn

    canvas = torch.randint(spec.codebook_size, (1, *grid), generator=generator).to(subject.device)

    def theirs() -> None:
        assert plain is not None
        for column in range(_PLAIN_CELLS):
            logits = plain_window_logits(plain, canvas, condition, grid[0] // 2, column, spec.grid)
            canvas[:, grid[0] // 2, column] = draw_code(logits, chosen.top_k)

    def counts() -> dict[str, float]:
        waves = (
            len(plan_waves(grid, spec.grid, stride, steps=fast.keeps)) if _is_beyond(grid, spec.grid) else 0
        )
        found: dict[str, float] = {"codes": grid[0] * grid[1], "waves": waves}
        if counted:
            found |= {"passes": len(counted[0].passes), "tokens": counted[0].tokens}
        return found

    name = f"window {grid[0] * f}x{grid[1] * f}" + (f", stride {stride}" if stride > 1 else ", exact")
    return Work(
        name,
        "codes",
        Way(ours, grid[0] * grid[1]),
        Way(theirs, _PLAIN_CELLS) if plain else None,
        lambda: counted[0].needs() if counted else [],
        counts=counts,
        rounds=_ROUNDS,
    )


def _is_beyond(grid: tuple[int, int], window: tuple[int, int]) -> bool:
    return grid[0] > window[0] or grid[1] > window[1]
