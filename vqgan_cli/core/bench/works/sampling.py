"""Drawing the codes of images of the training size."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from vqgan_cli.core.bench.passes import Counted, counting
from vqgan_cli.core.bench.plain.transformers import plain_sample, plain_transformer
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.transformer import TransformerPrior
from vqgan_cli.core.sampling.preparing import prepare_to_draw
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw

__all__ = ["fast_prior", "new_condition", "sample_works"]


def sample_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """A row for each number of sequences, and one with guidance if the model knows it."""
    prior = subject.require_prior()
    for sequences in settings.sequences:
        yield _work(subject, sequences, guided=False)
    if prior.spec.null_condition:
        yield _work(subject, settings.sequences[0], guided=True)


def _work(subject: Subject, sequences: int, *, guided: bool) -> Work:
    prior, fast = subject.require_prior(), fast_prior(subject)
    spec, chosen = prior.spec, subject.config.sampling
    condition = new_condition(prior, sequences).to(subject.device)
    scale = 2.0 if guided else 1.0
    how = SamplingSettings(top_k=chosen.top_k, guidance=scale, max_batch=sequences * (2 if guided else 1))
    plain = plain_transformer(prior)
    counted: list[Counted] = []

    def ours() -> Tensor:
        if not isinstance(fast, TransformerPrior):
            return draw(fast, condition, spec.grid, how)
        with counting(fast) as count:
            drawn = draw(fast, condition, spec.grid, how)
        counted[:] = [count]
        return drawn

    def theirs() -> Tensor:
        assert plain is not None
        null = spec.null_token if guided else None
        return plain_sample(plain, condition, spec.cells, null=null, scale=scale, top_k=chosen.top_k)

    units = sequences * spec.cells
    return Work(
        f"sample {spec.cells}, batch {sequences}{', guided' if guided else ''}",
        "codes",
        Way(ours, units),
        Way(theirs, units) if plain else None,
        lambda: counted[0].needs() if counted else [],
        counts=lambda: {"passes": len(counted[0].passes), "tokens": counted[0].tokens} if counted else {},
    )


def fast_prior(subject: Subject) -> Prior:
    """A prior as `generate` has it."""
    prior = copy.deepcopy(subject.require_prior())
    prepare_to_draw(prior, subject.precision)
    return prior


def new_condition(prior: Prior, count: int) -> Tensor:
    """A random class for each image, [count, 1], or random codes of a map."""
    spec, generator = prior.spec, torch.Generator().manual_seed(0)
    most = max(1, spec.condition_size)
    shape = (count, *spec.grid) if spec.condition == "codes" else (count, 1)
    return torch.randint(most, shape, generator=generator)
