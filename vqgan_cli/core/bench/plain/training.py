"""Training steps the straightforward way: the tokenizer runs twice, optimisers are the defaults, all is float32."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from vqgan_cli.core.bench.plain.autoencoder import PlainTokenizer
from vqgan_cli.core.bench.plain.transformers import PlainGPT, PlainLlama
from vqgan_cli.core.config import TrainAEConfig
from vqgan_cli.core.models.discriminator import Discriminator
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["PlainPriorTrainer", "PlainTokenizerTrainer"]


class PlainTokenizerTrainer:
    """Both updates after the adversarial start, without a perceptual network; hinge loss, adaptive weight.

    Args:
        tokenizer: copied.
        discriminator: copied.
        config: rates and weights.
    """

    def __init__(self, tokenizer: Tokenizer, discriminator: Discriminator, config: TrainAEConfig) -> None:
        self.tokenizer = PlainTokenizer(tokenizer).train()
        self.discriminator = copy.deepcopy(discriminator).float()
        for parameter in self.discriminator.parameters():
            parameter.data = parameter.data.contiguous()
        self._config = config
        parts = (self.tokenizer, self.discriminator)
        self._adam, self._adam_d = (
            torch.optim.Adam(part.parameters(), lr=config.learning_rate, betas=config.betas) for part in parts
        )

    def step(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """One step on images [B, C, H, W]; the losses of both updates."""
        config, adversarial = self._config, self._config.adversarial
        output, codebook = self.tokenizer(images)
        reconstruction = (output - images).abs().mean()
        loss = reconstruction + config.codebook_weight * codebook
        self.discriminator.requires_grad_(False)
        (fake,) = self.discriminator(output)
        generator = -fake.mean()
        last = self.tokenizer.tokenizer.last_layer
        ours = torch.autograd.grad(reconstruction, last, retain_graph=True)[0]
        theirs = torch.autograd.grad(generator, last, retain_graph=True)[0]
        weight = (ours.norm() / (theirs.norm() + 1e-4)).clamp(0, adversarial.max_adaptive_weight).detach()
        loss = loss + adversarial.weight * weight * generator
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self.discriminator.requires_grad_(True)

        with torch.no_grad():
            output, _ = self.tokenizer(images)
        (real,), (fake,) = self.discriminator(images), self.discriminator(output)
        loss_d = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        self._adam_d.zero_grad()
        loss_d.backward()
        self._adam_d.step()
        return loss.detach(), loss_d.detach()


class PlainPriorTrainer:
    """Teacher-forced cross-entropy with logits at all positions, those of the condition too, and AdamW.

    Args:
        prior: trained in place.
        learning_rate: constant.
    """

    def __init__(self, prior: PlainGPT | PlainLlama, learning_rate: float) -> None:
        self.prior = prior
        self._adam = torch.optim.AdamW(prior.parameters(), lr=learning_rate)

    def step(self, codes: Tensor, condition: Tensor) -> Tensor:
        """One step on codes [B, N] with conditions [B, C]; the loss."""
        logits = self.prior(codes[:, :-1], condition)[:, condition.shape[1] - 1 :]
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), codes.reshape(-1))
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss.detach()
