"""The second stage: condition, architecture, training, sampling."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from vqgan_cli.core.config.data import MapKindName
from vqgan_cli.core.config.fields import (
    Count,
    Depth,
    Fraction,
    OptimisationConfig,
    Positive,
    Section,
    Weight,
    no_bool,
)
from vqgan_cli.core.config.kinds import MAPS, PRIORS
from vqgan_cli.core.config.registry import OneOf
from vqgan_cli.core.config.tokenizer import TokenizerConfig
from vqgan_cli.core.config.train_ae import TrainAEConfig

__all__ = [
    "ConditionConfig",
    "FirstStageConfig",
    "SamplingConfig",
    "TrainTransformerConfig",
    "TransformerConfig",
]


class FirstStageConfig(Section):
    """A tokenizer of maps and its training."""

    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig, description="Its architecture.")
    train_ae: TrainAEConfig = Field(default_factory=TrainAEConfig, description="Its training.")


class ConditionConfig(Section):
    """What the transformer is told about an image."""

    kind: Annotated[str, OneOf.of(["none", "class", *MAPS])] = Field(
        default="none",
        description="none: unconditional; class: the class of each image; else a map that goes with each image; "
        "coordinates: those of the cells, which help large images (train on crops: data.resize above data.size).",
    )
    labels: str | None = Field(
        default=None,
        description="class: csv or json file that maps file names to classes; else the folders are the classes.",
    )
    dropout: Fraction = Field(
        default=0.1,
        description="Share of images that are trained without their condition, which guidance needs.",
    )
    tokenizer: Literal["own", "same", "none"] = Field(
        default="own",
        description="Maps become codes by a tokenizer of their own (train-ae --target condition), by the same one as "
        "images (maps that are pictures), or by none: a cell's label is its code (label maps, coordinates).",
    )
    first_stage: FirstStageConfig | None = Field(
        default=None,
        description="own: tokenizer and train_ae of the maps, as the sections of those names; what is left out is as "
        "in these, with the channels and the loss of the kind of maps.",
    )

    @property
    def map_kind(self) -> MapKindName | None:
        """The kind of maps; None where the condition is none or a class."""
        return self.kind if self.kind in MAPS else None

    @model_validator(mode="after")
    def _tokenizer_fits(self) -> Self:
        if self.kind not in MAPS:
            return self
        form = MAPS[self.kind].form
        if form == "codes" and self.tokenizer != "none":
            raise ValueError(f"kind {self.kind}: they are codes by themselves and need tokenizer none")
        if self.tokenizer == "none" and form not in ("labels", "codes"):
            raise ValueError(f"tokenizer none: only label maps can be codes by themselves, not {self.kind}")
        if self.tokenizer == "same" and form != "picture":
            raise ValueError(f"tokenizer same: a tokenizer of pictures cannot read {self.kind}; use own")
        return self


class TransformerConfig(Section):
    """Architecture of the prior over codes. Fields that a kind does not use are ignored by it."""

    kind: Annotated[str, OneOf.of(PRIORS)] = Field(
        default="gpt", description=f"The prior: {PRIORS.in_words()}."
    )
    layers: Depth = Field(default=24, description="Blocks, one after the other.")
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
    kernel_size: Positive = Field(
        default=5,
        description="pixelcnn, pixelsnail: side of the kernels in cells, odd, the part below a cell and to its right "
        "counted, which is not there.",
    )
    block_convolutions: Depth = Field(
        default=2,
        description="pixelsnail: gated residual layers of two convolutions, before the attention of a block.",
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

    @model_validator(mode="after")
    def _convolutions_fit(self) -> Self:
        if self.kind in ("pixelcnn", "pixelsnail") and self.order != "row":
            raise ValueError(
                f"order {self.order}: {self.kind} draws row by row; other orders need gpt or llama"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is not odd")
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
    sharding: Literal["none", "full"] = Field(
        default="none",
        description="full: processes share weights, gradients and optimizer state (FSDP), for models that do not fit "
        "into one GPU; none: each holds all of them.",
    )

    @model_validator(mode="after")
    def _sharding_fits(self) -> Self:
        if self.sharding == "full" and self.precision == "fp16":
            raise ValueError("sharding full does not go with precision fp16: take bf16")
        return self


class SamplingConfig(Section):
    """How `vqgan generate` draws codes."""

    temperature: Weight = Field(default=1.0, description="Divides the logits; 0: always the likeliest code.")
    top_k: Count = Field(default=0, description="Draw among the k likeliest codes; 0: all.")
    top_p: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=1)] = Field(
        default=1.0, description="Draw among the likeliest codes that together have this probability."
    )
    guidance: Weight = Field(
        default=1.0,
        description="Classifier-free guidance scale; 1: none. Needs training with condition.dropout.",
    )
    guidance_schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="Guidance over the image: constant, or rising from 1 to the scale."
    )
