"""When the discriminator's gradient reaches the generator, and training in half precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vqgan_cli.core.config import AdversarialConfig, TokenizerConfig, TrainAEConfig
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
