"""The fast paths against the straightforward ones of the benchmark, on random weights and input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from tests.models.test_priors import TRANSFORMERS, inputs, tiny
from vqgan_cli.core.bench.plain.autoencoder import PlainTokenizer
from vqgan_cli.core.bench.plain.training import PlainPriorTrainer, PlainTokenizerTrainer
from vqgan_cli.core.bench.plain.transformers import (
    draw_code,
    plain_sample,
    plain_transformer,
    plain_window_logits,
)
from vqgan_cli.core.bench.subject import subject_of_preset
from vqgan_cli.core.bench.works.training import new_networks, tokenizer_training
from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.models.discriminator import Discriminator
from vqgan_cli.core.models.layers import use_channels_last
from vqgan_cli.core.models.priors import PriorSpec
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.presets import resolve
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw
from vqgan_cli.core.training.autoencoder import AutoencoderTrainer


def tokenizer(**options: Any) -> Tokenizer:
    torch.manual_seed(0)
    config = TokenizerConfig(
        channels=32,
        channel_multipliers=[1, 2],
        attention_resolutions=[8],
        resolution=16,
        z_channels=16,
        codebook_size=50,
        codebook_dim=8,
        **options,
    )
    module = Tokenizer(config).eval()
    # As far apart as the vectors are, so that no two distances are nearly the same.
    torch.nn.init.normal_(module.quantizer.embedding.weight, std=0.5)
    return module


@pytest.mark.parametrize("kind", ["vq", "l2"])
def test_tokenizer(kind: str) -> None:
    """Oracle: the straightforward network, with all distances at once; same codes, images within 5e-5."""
    ours = tokenizer(quantizer={"kind": kind}, pixel_range="unit" if kind == "l2" else "signed")
    plain = PlainTokenizer(ours)
    use_channels_last(ours.encoder)
    images = torch.rand(2, 3, 24, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(
            ours.encode(images.contiguous(memory_format=torch.channels_last)), plain.encode(images)
        )
        codes = torch.randint(50, (2, 6, 8))
        torch.testing.assert_close(ours.decode(codes), plain.decode(codes), rtol=0, atol=5e-5)
        output, (reconstruction, loss) = ours(images), plain(images)
    torch.testing.assert_close(output.reconstruction, reconstruction, rtol=0, atol=5e-5)
    torch.testing.assert_close(output.quantized.loss, loss, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", TRANSFORMERS)
@pytest.mark.parametrize(("condition", "prefix"), [("class", 0), ("codes", 0), ("codes", 12)])
def test_transformer(kind: str, condition: str, prefix: int) -> None:
    """Oracle: three projections, attention written out, all logits; within 1e-5. Its own cache gives the same."""
    prior = tiny(kind, condition, bidirectional_prefix=prefix)
    plain = plain_transformer(prior)
    assert plain is not None
    codes, given = inputs(prior)
    with torch.no_grad():
        ours, theirs = prior(codes[:, :-1], given), plain(codes[:, :-1], given)
        torch.testing.assert_close(ours, theirs[:, given.shape[1] - 1 :], rtol=0, atol=1e-5)
        stepped = [plain.begin(given, codes.shape[1] - 1)]
        stepped += [plain.advance(codes[:, place], place) for place in range(codes.shape[1] - 1)]
    torch.testing.assert_close(torch.stack(stepped, 1), ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_sampling_and_window(kind: str) -> None:
    """Oracle: at the likeliest codes there is no chance, so both ways draw the same, also beyond the window."""
    prior = tiny(kind, PriorSpec(20, (3, 4), "class", 5, null_condition=True))
    plain = plain_transformer(prior)
    assert plain is not None
    condition = torch.tensor([[1], [3]])
    greedy = SamplingSettings(temperature=0, guidance=2.5)
    ours = draw(prior, condition, (3, 4), greedy).flatten(1)
    assert torch.equal(plain_sample(plain, condition, 12, null=5, scale=2.5, top_k=1), ours)
    large = draw(prior, condition, (5, 7), SamplingSettings(temperature=0))
    for row in range(5):
        for column in range(7):
            logits = plain_window_logits(plain, large, condition, row, column, (3, 4))
            assert torch.equal(logits.argmax(-1), large[:, row, column]), (row, column)


def test_top_k_draws_among_k() -> None:
    """Closed form: with k = 2 the two likeliest codes come in the ratio of their probabilities, within 4 sigma."""
    torch.manual_seed(0)
    logits = torch.tensor([3.0, 0.0, 2.0, 1.0]).log().expand(4000, 4)
    drawn = draw_code(logits, 2).bincount(minlength=4)
    assert drawn[1] == drawn[3] == 0
    assert abs(int(drawn[0]) / 4000 - 0.6) < 4 * (0.6 * 0.4 / 4000) ** 0.5


@pytest.mark.parametrize("kind", ["vq", "l2", "ema"])
def test_training_step_of_the_tokenizer(kind: str) -> None:
    """Oracle: the losses of our trainer with two forward passes; two steps, so that updates count; within 5e-4."""
    config = resolve("demo", overrides=[f"tokenizer.quantizer.kind={kind}", "train_ae.batch_size=2"])
    subject = subject_of_preset(config, torch.device("cpu"), "fp32")
    # Adam's first steps have the size of its rate whatever the gradient: a small one, as noise decides where that is 0.
    changes = {"forward_passes": 2, "clip_norm": 0.0, "learning_rate": 1e-5}
    training = tokenizer_training(subject).model_copy(update=changes)
    networks = new_networks(subject, training)
    assert isinstance(networks.discriminator, Discriminator)
    plain = PlainTokenizerTrainer(networks.tokenizer, networks.discriminator, training)
    trainer = AutoencoderTrainer(Accelerator(cpu=True), networks, training)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for _ in range(2):
        torch.manual_seed(2)  # some quantizers draw
        metrics = trainer.step(images, training.steps).metrics
        torch.manual_seed(2)
        loss, loss_d = plain.step(images)
        torch.testing.assert_close(loss, metrics["loss/total"], rtol=5e-4, atol=0)
        torch.testing.assert_close(loss_d, metrics["loss/discriminator"], rtol=5e-4, atol=0)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_training_step_of_the_prior(kind: str) -> None:
    """Oracle: cross-entropy of the logits of ours; and steps on one batch halve it."""
    prior = tiny(kind, "class")
    codes, condition = inputs(prior)
    plain = plain_transformer(prior)
    assert plain is not None
    trainer = PlainPriorTrainer(plain, 1e-2)
    with torch.no_grad():
        expected = F.cross_entropy(prior(codes[:, :-1], condition).flatten(0, 1), codes.flatten())
    losses = [trainer.step(codes, condition) for _ in range(40)]
    torch.testing.assert_close(losses[0], expected, rtol=1e-5, atol=0)
    assert losses[-1] < expected / 2
