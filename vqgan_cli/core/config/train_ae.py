"""Training of the first stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from vqgan_cli.core.config.fields import (
    Count,
    Fraction,
    OptimisationConfig,
    Positive,
    Section,
    Weight,
    no_bool,
)

__all__ = ["AdversarialConfig", "PerceptualConfig", "TrainAEConfig"]


class PerceptualConfig(Section):
    """The distance between images in the features of a pretrained network."""

    kind: Literal["lpips", "features", "none"] = Field(
        default="lpips",
        description="lpips: the calibrated distance; features: plain distance in a torchvision classifier; or none.",
    )
    network: str = Field(
        default="vgg",
        description="lpips: vgg, alex or squeeze; features: a torchvision classifier, such as squeezenet1_0.",
    )
    weights: str | None = Field(
        default=None, description="File with the network's weights; else cached or downloaded by torchvision."
    )
    weight: Weight = Field(
        default=1.0,
        description="Weight of the term in the reconstruction loss; 0: measured in validation only.",
    )
    logits: bool = Field(default=False, description="features: add the distance of the class logits.")


class AdversarialConfig(Section):
    """The PatchGAN discriminator and its loss."""

    weight: Weight = Field(default=0.8, description="Weight of the generator's adversarial term; 0: no GAN.")
    weighting: Literal["adaptive", "fixed"] = Field(
        default="adaptive",
        description="adaptive: scaled by the ratio of gradients at the decoder's last layer.",
    )
    max_adaptive_weight: Weight = Field(default=1e4, description="Upper clamp of the adaptive ratio.")
    loss: Literal["hinge", "vanilla", "non-saturating"] = Field(default="hinge", description="GAN loss.")
    start: Annotated[float, BeforeValidator(no_bool), Field(ge=0)] = Field(
        default=0.5,
        description="When the discriminator starts: a step, or a fraction of all steps if below 1.",
    )
    pretrain_steps: Count = Field(
        default=0,
        description="Steps that the discriminator trains alone before the generator sees its gradient.",
    )
    ramp_steps: Count = Field(default=0, description="Steps over which the adversarial weight rises from 0.")
    lecam_weight: Weight = Field(
        default=0.0, description="Weight of LeCAM regularisation (Tseng et al. 2021)."
    )
    channels: Positive = Field(default=64, description="Channels of the discriminator's first layer.")
    layers: Positive = Field(default=3, description="Strided layers; 3 gives a 70x70 receptive field.")
    norm: Literal["batch", "sync-batch", "group", "actnorm"] = Field(
        default="batch", description="Normalisation; batch statistics drift apart between processes."
    )
    learning_rate: Weight = Field(default=0.0, description="Learning rate; 0: that of the autoencoder.")


class TrainAEConfig(OptimisationConfig):
    """Loss, optimiser and schedule of `vqgan train-ae`."""

    reconstruction: Literal["l1", "l2", "cross-entropy", "bce"] = Field(
        default="l1", description="Pixel loss; cross-entropy or bce (as published) for label maps."
    )
    perceptual: PerceptualConfig = Field(default_factory=PerceptualConfig, description="Perceptual term.")
    adversarial: AdversarialConfig = Field(default_factory=AdversarialConfig, description="GAN term.")
    codebook_weight: Weight = Field(default=1.0, description="Weight of the quantizer's loss.")
    forward_passes: Literal[1, 2] = Field(
        default=1,
        description="2: run the autoencoder again for the discriminator's update, as the published code does.",
    )
    scale_learning_rate: bool = Field(
        default=False,
        description="Multiply learning_rate by batch x processes x accumulation, as the published code does.",
    )
    betas: tuple[Fraction, Fraction] = Field(default=(0.5, 0.9), description="Adam's decay rates.")
    channels_last: bool = Field(
        default=True, description="Memory layout of the convolutions; faster, same result."
    )

    def adversarial_start(self) -> int:
        """The first step (from 0) in which the discriminator is trained."""
        start = self.adversarial.start
        return int(start * self.steps) if start < 1 else int(start)
