"""The tokenizer's gradients, when the discriminator's is among them, and training in half precision."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor, nn

from vqgan_cli.core.config import AdversarialConfig, PerceptualConfig, TokenizerConfig, TrainAEConfig
from vqgan_cli.core.losses import generator_loss, reconstruction_loss
from vqgan_cli.core.models.discriminator import Discriminator
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.training.autoencoder import AutoencoderTrainer, Networks

TINY = TokenizerConfig(
    channels=32, channel_multipliers=(1, 1), res_blocks=1, attention_resolutions=(), z_channels=8,
    codebook_size=16, codebook_dim=4,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _state_of_its_own() -> Iterator[None]:
    """accelerate keeps one state per process, precision included."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def trainer(precision: str = "no", *, gan: bool = True, **options: float) -> AutoencoderTrainer:
    torch.manual_seed(0)
    adversarial = AdversarialConfig(channels=8, layers=1, **options)  # type: ignore[arg-type]
    config = TrainAEConfig(steps=100, adversarial=adversarial)
    discriminator = Discriminator(adversarial, 3) if gan else None
    networks = Networks(Tokenizer(TINY), discriminator, None, None)
    AcceleratorState._reset_state(reset_partial_state=True)
    return AutoencoderTrainer(Accelerator(cpu=True, mixed_precision=precision), networks, config)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"start": 10}, {9: 0, 10: 1, 99: 1}),
        ({"start": 0.5}, {49: 0, 50: 1}),  # a fraction of 100 steps
        ({"start": 10, "pretrain_steps": 5}, {10: 0, 14: 0, 15: 1}),
        ({"start": 10, "ramp_steps": 4}, {9: 0, 10: 0.25, 11: 0.5, 12: 0.75, 13: 1, 14: 1}),
        ({"start": 10, "pretrain_steps": 5, "ramp_steps": 2}, {14: 0, 15: 0.5, 16: 1}),
    ],
)
def test_adversarial_weight_over_time(options: dict[str, float], expected: dict[int, float]) -> None:
    """Oracle: counted by hand."""
    found = trainer(**options)
    assert {step: found.adversarial_factor(step) for step in expected} == expected


def test_no_discriminator_no_weight() -> None:
    assert trainer(gan=False, start=0).adversarial_factor(50) == 0


def test_bf16_on_a_cpu() -> None:
    """Invariant: losses are finite float32 numbers, near those in full precision, and weights stay in float32."""
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    results = []
    for precision in ("no", "bf16"):
        rounded = trainer(precision, start=0)
        results.append(rounded.step(images, 0))
    assert not results[1].skipped
    for name, value in results[0].metrics.items():
        found = results[1].metrics[name]
        assert found.isfinite(), name
        if name.startswith("loss/reconstruction"):
            assert found.item() == pytest.approx(value.item(), rel=0.03)
    assert all(p.dtype == torch.float32 for p in rounded.networks.tokenizer.parameters())


class Features(nn.Module):
    """A distance in a few fixed features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 8, 3).requires_grad_(False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        distances: Tensor = (self.features(one) - self.features(other)).square()
        return distances.flatten(1).mean(1)


RAMPING = AdversarialConfig(channels=8, layers=1, start=0, ramp_steps=4)
STEP, FACTOR = 1, 0.5  # of the ramp


def gradient_trainer(
    *, perceptual: bool = True, checkpointing: bool = False, accumulation: int = 1
) -> AutoencoderTrainer:
    """Networks of random weights in full precision; its step number 1 has half the adversarial weight."""
    torch.manual_seed(0)
    config = TrainAEConfig(
        steps=100, adversarial=RAMPING, perceptual=PerceptualConfig(weight=0.7), codebook_weight=0.3
    )
    tokenizer = Tokenizer(TINY.model_copy(update={"gradient_checkpointing": checkpointing}))
    networks = Networks(tokenizer, Discriminator(RAMPING, 3), Features() if perceptual else None)
    AcceleratorState._reset_state(reset_partial_state=True)
    plugin = GradientAccumulationPlugin(num_steps=accumulation, sync_with_dataloader=False)
    return AutoencoderTrainer(Accelerator(cpu=True, gradient_accumulation_plugin=plugin), networks, config)


def gradients(trained: AutoencoderTrainer) -> dict[str, Tensor]:
    """Of the tokenizer's first update: Adam's first mean is (1 - beta) times them."""
    return {
        name: trained.optimizer.state[parameter]["exp_avg"] / (1 - trained.config.betas[0])
        for name, parameter in trained.networks.tokenizer.named_parameters()
    }


def micro_batches(count: int) -> Tensor:
    """[count, 2, 3, 16, 16]"""
    return torch.rand(count, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("perceptual", [False, True])
def test_gradients_are_those_of_the_sum_of_the_losses(
    accumulation: int, checkpointing: bool, perceptual: bool
) -> None:
    """Oracle: one backward pass of all losses from end to end, lambda by two more down to the last layer."""
    trained = gradient_trainer(perceptual=perceptual, checkpointing=checkpointing, accumulation=accumulation)
    networks = copy.deepcopy(trained.networks)
    results = [trained.step(images, STEP) for images in micro_batches(accumulation)]

    tokenizer, last = networks.tokenizer, networks.tokenizer.last_layer
    assert networks.discriminator is not None
    for images, result in zip(micro_batches(accumulation), results, strict=True):
        tokenizer.quantizer.set_progress(STEP, 100)
        output = tokenizer(images)
        distance = reconstruction_loss("l1", output.reconstruction, images)
        if networks.perceptual is not None:
            distance = distance + 0.7 * networks.perceptual(output.reconstruction, images)
        (fake,) = networks.discriminator(output.reconstruction)
        adversarial = generator_loss("hinge", fake)
        norms = [
            torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
            for loss in (distance.mean(), adversarial)
        ]
        weight = (RAMPING.weight * norms[0] / (norms[1] + 1e-4)).detach()
        loss = distance.mean() + FACTOR * weight * adversarial + 0.3 * output.quantized.loss
        (loss / accumulation).backward()
        assert result.metrics["gan/lambda"].item() == pytest.approx(weight.item(), rel=1e-4)
        assert result.metrics["loss/total"].item() == pytest.approx(loss.item(), rel=1e-4)

    found = gradients(trained)
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None
        # Of a bias that a normalisation takes back, only rounding is left.
        assert (found[name] - parameter.grad).norm() <= 1e-4 * parameter.grad.norm() + 1e-7, name


def test_the_scale_of_the_losses_cancels() -> None:
    """Invariant: bit for bit, as a power of two rounds nothing; the optimiser here does not take it back."""
    plain, scaled = gradient_trainer(), gradient_trainer()
    scaled.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    (images,) = micro_batches(1)
    expected, found = plain.step(images, STEP), scaled.step(images, STEP)
    assert all(torch.equal(found.metrics[name], value) for name, value in expected.metrics.items())
    times = gradients(scaled)
    assert all(torch.equal(times[name], 2**16 * value) for name, value in gradients(plain).items())
