"""Every setting of an experiment: one pydantic model per section, each field with its meaning and unit.

Nothing here imports torch, so presets can be listed and checked in milliseconds. Unknown keys are errors;
`vqgan_cli.core.presets` turns pydantic's reports into messages with the nearest known key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = [
    "AdversarialConfig",
    "ConditionConfig",
    "DataConfig",
    "ExperimentConfig",
    "OptimisationConfig",
    "PerceptualConfig",
    "QuantizerConfig",
    "SamplingConfig",
    "TokenizerConfig",
    "TrainAEConfig",
    "TrainTransformerConfig",
    "TransformerConfig",
]


def _no_bool(value: Any) -> Any:
    # A mistyped `true` would pass as 1.
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")
    return value


Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=0)]
Positive = Annotated[int, BeforeValidator(_no_bool), Field(gt=0)]
Fraction = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, le=1)]
Weight = Annotated[float, BeforeValidator(_no_bool), Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, and values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where images come from and how each becomes a square of the training size."""

    source: str | None = Field(
        default=None,
        description="Folder, glob, text file of paths, or synthetic:faces / synthetic:scenes; --data replaces it.",
    )
    validation_source: str | None = Field(
        default=None, description="Separate validation images; --val replaces it. Else a split of the source."
    )
    validation_fraction: Fraction = Field(
        default=0.05, description="Share of the source held out for validation when it has none of its own."
    )
    validation_images: Positive = Field(default=500, description="At most so many images are held out.")
    kind: Literal["image", "segmentation"] = Field(
        default="image", description="RGB pictures, or label maps whose gray values are class indices."
    )
    size: Positive = Field(default=256, description="Side of the training square, in pixels.")
    resize: Count = Field(
        default=0,
        description="Short side before the crop, in pixels; 0: the training size, so that the crop loses least.",
    )
    crop: Literal["center", "random", "random-resized"] = Field(
        default="random",
        description="Training crop; random-resized also varies the scale. Validation always crops the centre.",
    )
    min_scale: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8, description="random-resized: the least share of the short side that a crop covers."
    )
    flip: Fraction = Field(default=0.5, description="Probability of a horizontal mirror image in training.")
    background: tuple[int, int, int] = Field(
        default=(255, 255, 255), description="Red, green, blue (0-255) that shows through transparent pixels."
    )
    max_megapixels: Annotated[float, Field(gt=0)] = Field(
        default=200.0, description="Larger files are refused as decompression bombs, in million pixels."
    )
    cache: Literal["auto", "ram", "none"] = Field(
        default="auto", description="Keep decoded images in memory; auto: when they fit into 2 GiB."
    )
    workers: Count = Field(
        default=2, description="Processes that read images; 0: read in the training process."
    )


class QuantizerConfig(Section):
    """How a vector becomes a code. Fields that a kind does not use are ignored by it."""

    kind: str = Field(default="vq", description="vq (Euclidean), l2 (normalised), ema, or gumbel.")
    commitment_weight: Weight = Field(default=0.25, description="beta of the commitment loss.")
    legacy: bool = Field(
        default=False,
        description="Weigh the codebook term by beta instead of the commitment term, as the published models did.",
    )
    ema_decay: Fraction = Field(default=0.99, description="ema: decay of the codebook's running means.")
    dead_code_threshold: Weight = Field(
        default=0.05,
        description="ema: codes whose running count per step falls below this restart at a vector of the batch.",
    )
    temperature: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="gumbel: temperature at step 0."
    )
    temperature_end: Annotated[float, Field(gt=0)] = Field(
        default=0.0625, description="gumbel: temperature when the schedule ends."
    )
    temperature_steps: Count = Field(
        default=0, description="gumbel: steps of the cosine schedule; 0: all training steps."
    )
    kl_weight: Weight = Field(default=5e-4, description="gumbel: weight of KL(code distribution || uniform).")
    straight_through: bool = Field(
        default=True, description="gumbel: hard samples forward, soft gradients backward."
    )


class TokenizerConfig(Section):
    """Architecture of encoder, quantizer and decoder (Esser et al. 2021, table 7)."""

    in_channels: Positive = Field(
        default=3, description="Channels in: 3 for RGB, the class count for label maps."
    )
    out_channels: Positive = Field(default=3, description="Channels out: as in_channels, except for logits.")
    channels: Positive = Field(default=128, description="Channels at full resolution; a multiple of 32.")
    channel_multipliers: tuple[Positive, ...] = Field(
        default=(1, 1, 2, 2, 4),
        description="Channel factor per level; each level after the first halves the size, so f = 2^(levels - 1).",
    )
    res_blocks: Positive = Field(
        default=2, description="Residual blocks per level; the decoder has one more."
    )
    attention_resolutions: tuple[Positive, ...] = Field(
        default=(16,), description="Feature-map sides with attention, counted from `resolution`."
    )
    mid_attention: bool = Field(default=True, description="Attention between the two blocks at the bottom.")
    resolution: Positive = Field(
        default=256, description="Image side from which attention_resolutions count."
    )
    z_channels: Positive = Field(default=256, description="Channels of the encoder's output.")
    dropout: Fraction = Field(default=0.0, description="Dropout inside the residual blocks.")
    codebook_size: Annotated[int, BeforeValidator(_no_bool), Field(ge=2, le=2**31)] = Field(
        default=1024, description="Number of codes, K."
    )
    codebook_dim: Positive = Field(default=256, description="Length of a codebook vector.")
    quantizer: QuantizerConfig = Field(
        default_factory=QuantizerConfig, description="Quantizer and its options."
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, about a third more time.",
    )

    @property
    def downsampling(self) -> int:
        """f: pixels of image side per code."""
        return 1 << (len(self.channel_multipliers) - 1)

    @model_validator(mode="after")
    def _group_norm_divides(self) -> Self:
        odd = [m for m in self.channel_multipliers if self.channels * m % 32]
        if odd:
            raise ValueError(
                f"channels ({self.channels}) times each channel multiplier must be a multiple of 32 "
                f"for the 32 groups of GroupNorm"
            )
        return self


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
    weight: Weight = Field(default=1.0, description="Weight of the term in the reconstruction loss.")
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
    start: Annotated[float, BeforeValidator(_no_bool), Field(ge=0)] = Field(
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


class OptimisationConfig(Section):
    """Optimiser, schedule and intervals that all trainers share."""

    steps: Positive = Field(default=100_000, description="Optimiser steps.")
    batch_size: Positive = Field(default=8, description="Images per process and micro-batch.")
    accumulate: Positive = Field(default=1, description="Micro-batches per optimiser step.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        default=1e-4, description="Peak learning rate of Adam."
    )
    betas: tuple[Fraction, Fraction] = Field(default=(0.9, 0.95), description="Adam's decay rates.")
    weight_decay: Weight = Field(default=0.0, description="Decoupled weight decay (AdamW) when above 0.")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="Learning rate after warm-up."
    )
    warmup_steps: Count = Field(default=0, description="Steps of linear warm-up.")
    final_learning_rate: Fraction = Field(
        default=0.0, description="cosine: the last learning rate as a share of the peak."
    )
    clip_norm: Weight = Field(default=0.0, description="Gradient norm is clipped to this; 0: no clipping.")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Decay of the averaged weights that are saved as the model; 0: no average."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="Autocast type of the networks."
    )
    compile: bool = Field(default=False, description="torch.compile the networks.")
    deterministic: bool = Field(
        default=False, description="Refuse nondeterministic kernels (slower on a GPU)."
    )
    seed: Count = Field(default=0, description="Seed of weights, data order, augmentation and noise.")
    log_every: Positive = Field(default=10, description="Steps between lines of log.jsonl.")
    sample_every: Count = Field(
        default=1000, description="Steps between pictures in samples/; 0: only at the end."
    )
    validate_every: Count = Field(default=1000, description="Steps between validations; 0: only at the end.")
    checkpoint_every: Count = Field(
        default=1000, description="Steps between checkpoints; 0: only at the end."
    )
    keep_checkpoints: Positive = Field(default=2, description="Newest checkpoints kept.")


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


class ConditionConfig(Section):
    """What the transformer is told about an image."""

    kind: Literal["none", "class"] = Field(
        default="none", description="none: unconditional; class: the class of each image."
    )
    labels: str | None = Field(
        default=None,
        description="class: csv or json file that maps file names to classes; else the folders are the classes.",
    )
    dropout: Fraction = Field(
        default=0.1,
        description="class: share of images that are trained without their class, which guidance needs.",
    )


class TransformerConfig(Section):
    """Architecture of the prior over codes. Fields that a kind does not use are ignored by it."""

    kind: str = Field(default="gpt", description="gpt (as published with VQGAN) or llama (2-D RoPE, SwiGLU).")
    layers: Positive = Field(default=24, description="Transformer blocks.")
    heads: Positive = Field(default=16, description="Attention heads.")
    width: Positive = Field(default=1024, description="Length of a token's vector; a multiple of the heads.")
    order: Literal["row", "subsample", "z-curve", "spiral-in", "spiral-out", "random", "alternate"] = Field(
        default="row", description="Sequence in which the cells of a grid are drawn; row for large images."
    )
    embedding_dropout: Fraction = Field(default=0.0, description="Dropout after the embeddings.")
    attention_dropout: Fraction = Field(default=0.0, description="Dropout of attention weights.")
    residual_dropout: Fraction = Field(default=0.0, description="Dropout at the end of each branch.")
    bidirectional_prefix: Count = Field(
        default=0, description="gpt: so many tokens at the start, of the condition, see one another."
    )
    shared_vocabulary: bool = Field(
        default=False,
        description="gpt: condition tokens and image codes share one embedding table, as published.",
    )
    qk_norm: bool = Field(default=False, description="llama: RMSNorm of queries and keys.")
    rope_base: Annotated[float, Field(gt=0)] = Field(default=10000.0, description="llama: base of the RoPE.")
    hidden_multiple: Positive = Field(
        default=256, description="llama: the hidden width is the next multiple of this above 8/3 width."
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, about a third more time.",
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.kind == "llama" and self.width // self.heads % 4:
            raise ValueError(
                f"llama's 2-D RoPE needs width / heads ({self.width // self.heads}) a multiple of 4"
            )
        return self


class TrainTransformerConfig(OptimisationConfig):
    """Data, optimiser and schedule of `vqgan train-transformer`."""

    codes: str | None = Field(
        default=None, description="Codes file to train on in place of images; --codes replaces it."
    )
    max_images: Count = Field(default=0, description="Train on the first so many images; 0: all.")
    weight_decay: Weight = Field(default=0.01, description="AdamW's decay, of weight matrices only.")
    augmentation: Literal["none", "flip", "ten-crop"] = Field(
        default="flip",
        description="Views of each image that are encoded: the centre, its mirror image too, or five crops and "
        "their mirror images.",
    )
    pkeep: Fraction = Field(
        default=1.0, description="Probability that an input code is kept in training, not replaced at random."
    )
    patience: Count = Field(
        default=0, description="Stop after so many validations without a better loss; 0: never."
    )


class SamplingConfig(Section):
    """How `vqgan generate` draws codes."""

    temperature: Weight = Field(default=1.0, description="Divides the logits; 0: always the likeliest code.")
    top_k: Count = Field(default=0, description="Draw among the k likeliest codes; 0: all.")
    top_p: Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=1)] = Field(
        default=1.0, description="Draw among the likeliest codes that together have this probability."
    )
    guidance: Weight = Field(
        default=1.0,
        description="Classifier-free guidance scale; 1: none. Needs training with condition.dropout.",
    )
    guidance_schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="Guidance over the image: constant, or rising from 1 to the scale."
    )


class ExperimentConfig(Section):
    """A whole experiment: what a preset file holds."""

    name: str = Field(
        default="custom", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the preset."
    )
    data: DataConfig = Field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig)
    train_ae: TrainAEConfig = Field(default_factory=TrainAEConfig)
    condition: ConditionConfig = Field(default_factory=ConditionConfig)
    transformer: TransformerConfig = Field(default_factory=TransformerConfig)
    train_transformer: TrainTransformerConfig = Field(default_factory=TrainTransformerConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        f = self.tokenizer.downsampling
        if self.data.size % f:
            lower = max(f, self.data.size // f * f)
            raise ValueError(
                f"data.size {self.data.size} is not a multiple of the tokenizer's f = {f}; "
                f"the nearest sizes are {lower} and {self.data.size // f * f + f}"
            )
        if self.data.resize and self.data.resize < self.data.size:
            raise ValueError(f"data.resize {self.data.resize} is below data.size {self.data.size}")
        return self

    @model_validator(mode="after")
    def _loss_fits_the_data(self) -> Self:
        labels = self.train_ae.reconstruction in ("cross-entropy", "bce")
        if labels != (self.data.kind == "segmentation"):
            raise ValueError(
                f"train_ae.reconstruction {self.train_ae.reconstruction!r} does not fit data.kind {self.data.kind!r}: "
                "label maps need cross-entropy or bce, pictures need l1 or l2"
            )
        if labels and self.tokenizer.in_channels != self.tokenizer.out_channels:
            raise ValueError("label maps need tokenizer.out_channels equal to tokenizer.in_channels")
        if labels and self.tokenizer.out_channels == 3:
            raise ValueError(
                "three channels mean RGB: give label maps of three classes four, one of them unused"
            )
        if labels and self.train_ae.perceptual.kind != "none":
            raise ValueError("label maps need train_ae.perceptual.kind none: the networks know RGB only")
        return self
