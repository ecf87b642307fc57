"""Steps that can be recorded once and replayed for every place."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from tests.models.test_priors import TRANSFORMERS, inputs, tiny
from vqgan_cli.core.models.priors.replay import RecordedStep, recorded
from vqgan_cli.core.models.priors.transformer import TransformerPrior
from vqgan_cli.core.sampling.preparing import prepare_to_draw
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw


@pytest.mark.parametrize("condition", ["class", "codes"])
@pytest.mark.parametrize("kind", TRANSFORMERS)
@torch.no_grad()
def test_what_one_step_does_is_what_each_does(kind: str, condition: str) -> None:
    """A step, traced once without values to the operators that it calls, is replayed for all others, as a CUDA graph
    does: nothing depends on a value that the host would have to wait for. Oracle: the whole sequence at once.
    """
    prior = tiny(kind, condition)
    assert isinstance(prior, TransformerPrior)
    codes, given = inputs(prior)
    cache = prior.new_cache(len(codes), prior.spec.cells)
    first = prior.spec.condition_length

    def step(codes: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return prior.logits(prior.hidden(codes[:, None], None, positions, cache)[:, 0])

    prior.hidden(codes[:, :2], given, 0, cache)
    at = torch.full_like(codes[:, 2], first + 2)
    traced = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(codes[:, 2], at)
    expected = prior(codes[:, :-1], given)
    for place in range(2, prior.spec.cells - 1):
        logits = traced(codes[:, place], torch.full_like(at, first + place))
        assert torch.allclose(logits, expected[:, place + 1], atol=1e-5, rtol=1e-5)


def test_without_a_graph_the_step_itself_draws() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine can record")
    codes = torch.tensor([3, 4])
    with pytest.warns(RuntimeWarning, match="goes on without a CUDA graph"):
        step = recorded(torch.add, codes, codes)
    assert step(codes, codes).tolist() == [6, 8]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_replayed_prior_draws_the_same(kind: str, guidance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: steps that are not recorded, on the same GPU."""
    prior = tiny(kind, "class").cuda()
    labels = torch.tensor([[0], [4], [2]], device="cuda")
    settings = SamplingSettings(top_k=15, guidance=guidance, seed=2)
    expected = draw(prior, labels, (3, 4), settings)
    prepare_to_draw(prior, "fp32")
    monkeypatch.setattr("vqgan_cli.core.models.priors.transformer._SOON", 1)
    replayed: list[RecordedStep] = []
    call = RecordedStep.__call__

    def counted(self: RecordedStep, *arguments: torch.Tensor) -> torch.Tensor:
        replayed.append(self)
        return call(self, *arguments)

    monkeypatch.setattr(RecordedStep, "__call__", counted)
    assert torch.equal(draw(prior, labels, (3, 4), settings), expected)
    assert len(replayed) == 10  # 12 codes: one from the prefix, one from a step that is not recorded
