"""Drawing the codes of images of the training size."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from vqgan_cli.core.bench.limits import Pass
from vqgan_cli.core.bench.passes import Counted, counting
from vqgan_cli.core.bench.plain.transformers import plain_sample, plain_transformer
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.transformer import TransformerPrior
from vqgan_cli.core.sampling.preparing import prepare_to_draw
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw

__all__ = ["Priors", "sample_works"]


def sample_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """A row for each number of sequences, and one with guidance if the model knows it."""
    priors = Priors(subject)
    for sequences in settings.sequences:
        yield _work(subject, priors, sequences, guided=False)
    if subject.require_prior().spec.null_condition:
        yield _work(subject, priors, settings.sequences[0], guided=True)


class Priors:
    """Both forms of the prior.

    Attributes:
        fast: as `generate` has it.
        plain: the straightforward one; None if there is none.
    """

    def __init__(self, subject: Subject) -> None:
        self.fast = copy.deepcopy(subject.require_prior())
        prepare_to_draw(self.fast, subject.precision)
        self.plain = plain_transformer(subject.require_prior())
        self.counted: Counted | None = None

    def draw(self, condition: Tensor, grid: tuple[int, int], how: SamplingSettings) -> Tensor:
        """Codes by the fast one, whose passes are counted if it is a transformer."""
        if not isinstance(self.fast, TransformerPrior):
            return draw(self.fast, condition, grid, how)
        with counting(self.fast) as counted:
            drawn = draw(self.fast, condition, grid, how)
        self.counted = counted
        return drawn

    def needs(self) -> list[Pass]:
        """Of the last call of `draw`."""
        return self.counted.needs() if self.counted else []

    def counts(self) -> dict[str, float]:
        """Of the last call of `draw`."""
        if self.counted is None:
            return {}
        return {"passes": len(self.counted.passes), "tokens": self.counted.tokens}


def _work(subject: Subject, priors: Priors, sequences: int, *, guided: bool) -> Work:
    prior, plain = subject.require_prior(), priors.plain
    spec, chosen = prior.spec, subject.config.sampling
    condition = _new_condition(prior, sequences).to(subject.device)
    scale = 2.0 if guided else 1.0
    how = SamplingSettings(top_k=chosen.top_k, guidance=scale, max_batch=sequences * (2 if guided else 1))

    def ours() -> Tensor:
        return priors.draw(condition, spec.grid, how)

    def theirs() -> Tensor:
        assert plain is not None
        null = spec.null_token if guided else None
        return plain_sample(
            plain, condition.flatten(1), spec.cells, null=null, scale=scale, top_k=chosen.top_k
        )

    units = sequences * spec.cells
    return Work(
        f"sample {spec.cells}, batch {sequences}{', guided' if guided else ''}",
        "codes",
        Way(ours, units),
        Way(theirs, units) if plain else None,
        priors.needs,
        counts=priors.counts,
    )


def _new_condition(prior: Prior, count: int) -> Tensor:
    """A random class for each image, [count, 1], or random codes of a map."""
    spec, generator = prior.spec, torch.Generator().manual_seed(0)
    most = max(1, spec.condition_size)
    shape = (count, *spec.grid) if spec.condition == "codes" else (count, 1)
    return torch.randint(most, shape, generator=generator)
