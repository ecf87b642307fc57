"""Six training steps of both updates against the recorded losses of the original implementation."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from tests import golden
from vqgan_cli.core.config import AdversarialConfig, PerceptualConfig, TrainAEConfig
from vqgan_cli.core.models.discriminator import Discriminator
from vqgan_cli.core.models.layers import AttentionBlock
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.training import autoencoder
from vqgan_cli.core.training.autoencoder import AutoencoderTrainer, Networks


def _trainer(taming: Path, forward_passes: int) -> AutoencoderTrainer:
    weights = load_file(taming / "train_init.safetensors")
    config = TrainAEConfig(
        steps=100,
        learning_rate=1e-3,
        betas=(0.5, 0.9),
        forward_passes=forward_passes,
        perceptual=PerceptualConfig(kind="none"),
        adversarial=AdversarialConfig(start=2, channels=16, layers=2),
    )
    tokenizer = Tokenizer(golden.TINY)
    tokenizer.load_state_dict(golden.tokenizer_state(weights))
    discriminator = Discriminator(config.adversarial)
    discriminator.load_state_dict(golden.discriminator_state(weights))
    return AutoencoderTrainer(Accelerator(cpu=True), Networks(tokenizer, discriminator, None), config)


def _published_attention(self: AttentionBlock, x: Tensor) -> Tensor:
    h = self.norm(x)
    q, k, v = (layer(h).flatten(2) for layer in (self.q, self.k, self.v))  # [B, C, HW]
    weights = torch.bmm(q.permute(0, 2, 1), k) * q.shape[1] ** -0.5
    h = torch.bmm(v, weights.softmax(2).permute(0, 2, 1))
    return x + self.proj_out(h.reshape(x.shape))


@pytest.fixture
def published_arithmetic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same formulas in the original's order of operations.

    Six Adam steps at this learning rate multiply a rounding difference of 1e-7 to 1e-2, so that only the same
    rounding can show that the step is the same: attention by two products, swish by hand, unfused Adam, two threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(AttentionBlock, "forward", _published_attention)
    monkeypatch.setattr(F, "silu", lambda x: x * torch.sigmoid(x))
    adam = functools.partial(torch.optim.Adam, foreach=False)
    monkeypatch.setattr(autoencoder, "_adam", lambda m, c, lr: adam(m.parameters(), lr=lr, betas=c.betas))
    yield
    torch.set_num_threads(threads)


NAMES = {
    "loss/total": "total_loss",
    "loss/reconstruction": "rec_loss",
    "loss/codebook": "quant_loss",
    "loss/generator": "g_loss",
    "loss/discriminator": "disc_loss",
    "gan/lambda": "d_weight",
    "gan/logits_real": "logits_real",
    "gan/logits_fake": "logits_fake",
}


def _relative_errors(taming: Path, forward_passes: int) -> list[dict[str, float]]:
    """Per step, the relative difference of every quantity that our step computes from the recorded one."""
    trainer = _trainer(taming, forward_passes)
    assert trainer.discriminator is not None
    assert trainer.optimizer_d is not None
    batches = load_file(taming / "train_batches.safetensors")["x"]
    recorded = json.loads((taming / "train_log.json").read_text())["steps"]
    errors = []
    for step, (images, expected) in enumerate(zip(batches, recorded, strict=True)):
        metrics = trainer.step(images, step).metrics
        if not expected["train/disc_factor"]:
            # The original also stepped Adam with zero gradients, which moves nothing but its bias correction.
            for parameter in trainer.discriminator.parameters():
                parameter.grad = torch.zeros_like(parameter)
            trainer.optimizer_d.step()
            trainer.optimizer_d.zero_grad()
        present = {ours: theirs for ours, theirs in NAMES.items() if ours in metrics}
        assert len(present) == (8 if expected["train/disc_factor"] else 3)
        errors.append(
            {name: abs(float(metrics[name]) / expected[f"train/{key}"] - 1) for name, key in present.items()}
        )
    return errors


@pytest.mark.usefixtures("published_arithmetic")
def test_two_forward_step_as_recorded(shared: Path) -> None:
    """Oracle: recorded losses, logits and adaptive weight of six steps, relative; rounding grows tenfold in each.

    Our step sums the gradients of its losses at the picture, the original sums the losses, which rounds otherwise.
    """
    errors = _relative_errors(shared / "golden" / "taming", forward_passes=2)
    bounds = (1e-6, 1e-6, 1e-6, 5e-6, 5e-5, 2e-4)
    for step, bound in zip(errors, bounds, strict=True):
        assert max(step.values()) < bound, errors


@pytest.mark.usefixtures("published_arithmetic")
def test_one_forward_step_differs_only_in_what_the_discriminator_judges(shared: Path) -> None:
    """Oracle: the recorded two-forward step.

    Ours must agree until the first discriminator update, and differ there: it judges the reconstruction from before
    the generator's update.
    """
    errors = _relative_errors(shared / "golden" / "taming", forward_passes=1)
    assert max(max(step.values()) for step in errors[:2]) < 1e-4, errors
    first = errors[2]
    generator_side = ("loss/total", "loss/reconstruction", "loss/codebook", "loss/generator", "gan/lambda")
    assert max(first[name] for name in generator_side) < 1e-4, first
    assert first["loss/discriminator"] > 1e-3, first


def test_our_arithmetic_as_recorded_until_rounding_grows(shared: Path) -> None:
    """Oracle: recorded losses of the first steps, with fused attention, swish and Adam as shipped."""
    errors = _relative_errors(shared / "golden" / "taming", forward_passes=2)
    assert max(max(step.values()) for step in errors[:2]) < 1e-6, errors
    assert errors[2]["loss/total"] < 1e-4, errors
    assert errors[2]["loss/reconstruction"] < 1e-4, errors
