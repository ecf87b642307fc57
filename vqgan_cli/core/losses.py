"""The objectives of the tokenizer, as functions of tensors (Esser et al. 2021, section 3.1)."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "LeCam",
    "adaptive_weight",
    "discriminator_loss",
    "generator_loss",
    "reconstruction_loss",
]


def reconstruction_loss(kind: str, output: Tensor, target: Tensor) -> Tensor:
    """Distance per image between the decoder's output and its target.

    Args:
        kind: ``l1`` or ``l2`` for pictures; ``cross-entropy`` or ``bce`` for label maps, where ``output`` holds logits.
        output: [B, C, H, W].
        target: [B, C, H, W] of the same shape, one-hot for label maps.

    Returns:
        float32 [B]: the mean over the pixels and channels of each image; for cross-entropy the mean over its pixels,
        in nats.
    """
    output, target = output.float(), target.float()
    match kind:
        case "l1":
            distance = (output - target).abs()
        case "l2":
            distance = (output - target).square()
        case "cross-entropy":
            distance = F.cross_entropy(output, target.argmax(1), reduction="none")
        case "bce":
            distance = F.binary_cross_entropy_with_logits(output, target, reduction="none")
        case _:
            raise ValueError(f"unknown reconstruction loss {kind!r}")
    return distance.flatten(1).mean(1)


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """The adversarial loss of the decoder: low where the discriminator takes reconstructions for real.

    Args:
        kind: ``hinge`` and ``vanilla`` (both the negative mean logit, as published) or ``non-saturating``.
        fake: logits of reconstructions, any shape.
    """
    fake = fake.float()
    return F.softplus(-fake).mean() if kind == "non-saturating" else -fake.mean()


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """The loss of the discriminator, half the sum of both sides.

    Args:
        kind: ``hinge`` (Lim & Ye 2017), ``vanilla`` or ``non-saturating`` (both binary cross-entropy on logits).
        real: logits of images.
        fake: logits of reconstructions.
    """
    real, fake = real.float(), fake.float()
    if kind == "hinge":
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def adaptive_weight(
    output: Tensor,
    reconstruction: Tensor,
    adversarial: Tensor,
    last_layer: Tensor,
    *,
    maximum: float,
    scale: float = 1.0,
) -> Tensor:
    """lambda of equation 7: the ratio of both losses' gradient norms at the decoder's last layer, clamped.

    With several processes the gradients are averaged first, so that all share the weight one process would have.

    Args:
        output: of the decoder; its graph is kept.
        reconstruction: gradient of the reconstruction loss with respect to ``output``, times ``scale``.
        adversarial: that of the adversarial loss.
        last_layer: weight of the decoder's last convolution.
        maximum: upper clamp.
        scale: against underflow in float16.

    Returns:
        Detached float32 scalar. The added 1e-4 is the published code's; the paper prints 1e-6.
    """
    gradients = [
        torch.autograd.grad(output, last_layer, gradient, retain_graph=True)[0].float() / scale
        for gradient in (reconstruction, adversarial)
    ]
    if dist.is_available() and dist.is_initialized():
        for gradient in gradients:
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
    return (gradients[0].norm() / (gradients[1].norm() + 1e-4)).clamp(0, maximum).detach()


class LeCam(nn.Module):
    """Regularisation of the discriminator with little data (Tseng et al. 2021, equation 2).

    Keeps running means of its logits, and pulls the logits of each side towards the other side's mean.
    """

    mean_real: Tensor
    mean_fake: Tensor

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean_real", torch.zeros(()))
        self.register_buffer("mean_fake", torch.zeros(()))

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Update the means with these logits and return the penalty, a scalar."""
        real, fake = real.float(), fake.float()
        means = torch.stack([real.detach().mean(), fake.detach().mean()])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(means)
            means /= dist.get_world_size()
        # Without waiting for the host: where a logit was not finite, the means stay as they are.
        before = torch.stack([self.mean_real, self.mean_fake])
        means = torch.where(torch.isfinite(means).all(), torch.lerp(before, means, 1 - self.decay), before)
        self.mean_real.copy_(means[0])
        self.mean_fake.copy_(means[1])
        return F.relu(real - self.mean_fake).square().mean() + F.relu(self.mean_real - fake).square().mean()
