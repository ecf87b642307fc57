"""One training step of the tokenizer and its discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vqgan_cli.core.config import TrainAEConfig
from vqgan_cli.core.losses import (
    LeCam,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    reconstruction_loss,
)
from vqgan_cli.core.models.tokenizer import Tokenizer, TokenizerOutput

__all__ = ["AutoencoderTrainer", "Networks", "StepResult"]


@dataclass
class Networks:
    """What is trained, and with what; the discriminator is absent when its weight is 0."""

    tokenizer: Tokenizer
    discriminator: nn.Module | None
    perceptual: nn.Module | None
    lecam: LeCam | None = None


@dataclass(frozen=True)
class StepResult:
    """Codes int64 [B, h, w], detached scalars for the log, and whether an update was refused as not finite."""

    codes: Tensor
    metrics: dict[str, Tensor]
    skipped: bool = False


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the parameters, while gradients still flow through to the input."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in module.parameters():
            parameter.requires_grad_(True)


class AutoencoderTrainer:
    """Both updates of one micro-batch, under gradient accumulation, mixed precision and several processes.

    ``networks`` are the plain modules; ``prepare`` wraps them by the accelerator.
    """

    def __init__(self, accelerator: Accelerator, networks: Networks, config: TrainAEConfig) -> None:
        self.accelerator = accelerator
        self.networks = networks
        self.config = config
        adversarial = config.adversarial
        self.start = config.adversarial_start()
        self.optimizer = _adam(networks.tokenizer, config, config.learning_rate)
        self.tokenizer: nn.Module = accelerator.prepare(networks.tokenizer)
        self.optimizer = accelerator.prepare(self.optimizer)
        self.discriminator: nn.Module | None = None
        self.optimizer_d: torch.optim.Optimizer | None = None
        if networks.discriminator is not None:
            rate = adversarial.learning_rate or config.learning_rate
            self.optimizer_d = accelerator.prepare(_adam(networks.discriminator, config, rate))
            self.discriminator = accelerator.prepare(networks.discriminator)

    @property
    def learning_rate(self) -> float:
        """The tokenizer's learning rate in use."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_learning_rate(self, factor: float) -> None:
        """Set both learning rates to a share of their peaks."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        if self.optimizer_d is not None:
            for group in self.optimizer_d.param_groups:
                group["lr"] = (config.adversarial.learning_rate or config.learning_rate) * factor

    def adversarial_factor(self, step: int) -> float:
        """Share of the adversarial weight that reaches the generator in a step (counted from 0)."""
        adversarial = self.config.adversarial
        if self.discriminator is None or step < self.start + adversarial.pretrain_steps:
            return 0.0
        if not adversarial.ramp_steps:
            return 1.0
        done = step - self.start - adversarial.pretrain_steps + 1
        return min(1.0, done / adversarial.ramp_steps)

    def step(self, images: Tensor, step: int) -> StepResult:
        """Train on one micro-batch; the weights move when the accumulated batch is complete.

        Args:
            images: float [B, C, H, W], on the accelerator's device.
            step: optimiser steps done before this one.
        """
        self.networks.tokenizer.quantizer.set_progress(step, self.config.steps)
        modules = [m for m in (self.tokenizer, self.discriminator) if m is not None]
        with self.accelerator.accumulate(*modules):
            output, metrics = self._generator_loss(images, step)
            finite = self._update(self.optimizer, self.tokenizer)
            if self.discriminator is not None and step >= self.start:
                reconstruction = output.reconstruction.detach()
                if self.config.forward_passes == 2:
                    with torch.no_grad(), self.accelerator.autocast():
                        reconstruction = self.networks.tokenizer(images).reconstruction
                metrics |= self._discriminator_loss(images, reconstruction)
                assert self.optimizer_d is not None
                finite = self._update(self.optimizer_d, self.discriminator, refuse=not finite) and finite
        return StepResult(output.quantized.codes, metrics, skipped=not finite)

    def _generator_loss(self, images: Tensor, step: int) -> tuple[TokenizerOutput, dict[str, Tensor]]:
        """Gradients of the tokenizer's losses.

        The losses of the picture are differentiated up to the picture first. So the adaptive weight costs no second
        backward pass through the perceptual network and the discriminator, and what these keep for theirs is gone
        before that of the tokenizer begins.
        """
        config, networks = self.config, self.networks
        with self.accelerator.autocast():
            output: TokenizerOutput = self.tokenizer(images)
        picture = output.reconstruction
        distance = reconstruction_loss(config.reconstruction, picture, images)
        metrics = {"loss/reconstruction": distance.detach().mean()}
        if networks.perceptual is not None and config.perceptual.weight > 0:
            with self.accelerator.autocast():
                perceptual = networks.perceptual(picture, images).float()
            metrics["loss/perceptual"] = perceptual.detach().mean()
            distance = distance + config.perceptual.weight * perceptual
        scale = self._loss_scale()
        loss = distance.detach().mean()
        (of_distance,) = torch.autograd.grad(distance.mean() * scale, picture)
        gradient = of_distance.float()

        factor = self.adversarial_factor(step)
        if factor > 0:
            assert networks.discriminator is not None
            # Unwrapped and frozen: this pass must leave no gradient behind on the discriminator's side.
            with _frozen(networks.discriminator), self.accelerator.autocast():
                (fake,) = networks.discriminator(picture)
            adversarial = generator_loss(config.adversarial.loss, fake)
            (of_adversarial,) = torch.autograd.grad(adversarial * scale, picture)
            weight = self._adversarial_weight(picture, of_distance, of_adversarial, scale)
            gradient = gradient + factor * weight * of_adversarial.float()
            adversarial = adversarial.detach()
            loss = loss + factor * weight * adversarial
            metrics |= {"loss/generator": adversarial, "gan/lambda": weight}

        codebook = config.codebook_weight * output.quantized.loss
        metrics["loss/codebook"] = output.quantized.loss.detach()
        metrics |= {f"quantizer/{name}": value for name, value in output.quantized.terms.items()}
        # Its derivative by the picture is the gradient.
        self.accelerator.backward((picture.float() * (gradient / scale)).sum() + codebook)
        metrics["loss/total"] = loss + codebook.detach()
        return output, metrics

    def _loss_scale(self) -> float:
        """What losses are multiplied by before a backward pass, against underflow in float16."""
        scaler = self.accelerator.scaler
        return float(scaler.get_scale()) if scaler is not None else 1.0

    def _adversarial_weight(
        self, output: Tensor, of_distance: Tensor, of_adversarial: Tensor, scale: float
    ) -> Tensor:
        options = self.config.adversarial
        weight = torch.full((), options.weight, device=output.device)
        if options.weighting == "fixed":
            return weight
        last_layer = self.networks.tokenizer.last_layer
        return weight * adaptive_weight(
            output, of_distance, of_adversarial, last_layer, maximum=options.max_adaptive_weight, scale=scale
        )

    def _discriminator_loss(self, images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
        assert self.discriminator is not None
        with self.accelerator.autocast():
            real, fake = self.discriminator(images, reconstruction)
        loss = discriminator_loss(self.config.adversarial.loss, real, fake)
        metrics = {
            "loss/discriminator": loss.detach(),
            "gan/logits_real": real.detach().float().mean(),
            "gan/logits_fake": fake.detach().float().mean(),
        }
        if self.networks.lecam is not None:
            penalty = self.networks.lecam(real, fake)
            metrics["loss/lecam"] = penalty.detach()
            loss = loss + self.config.adversarial.lecam_weight * penalty
        self.accelerator.backward(loss)
        return metrics

    def _update(self, optimizer: torch.optim.Optimizer, module: nn.Module, *, refuse: bool = False) -> bool:
        """Step and clear the gradients when they are complete; False if they were not finite.

        The gradients are the same on every process by now, so all of them decide alike.
        """
        if not self.accelerator.sync_gradients:
            return True
        limit = self.config.clip_norm or float("inf")
        norm = self.accelerator.clip_grad_norm_(module.parameters(), limit)
        finite = bool(torch.isfinite(norm)) and not refuse
        # The float16 scaler refuses steps by itself, and must see them to lower its scale.
        if finite or self.accelerator.scaler is not None:
            optimizer.step()
        optimizer.zero_grad()
        return finite


def _adam(module: nn.Module, config: TrainAEConfig, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        module.parameters(),
        lr=learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
