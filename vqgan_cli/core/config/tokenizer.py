"""Architecture of the first stage."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from vqgan_cli.core.config.fields import Count, Depth, Fraction, Positive, Section, Weight, no_bool
from vqgan_cli.core.config.kinds import QUANTIZERS
from vqgan_cli.core.config.registry import OneOf

__all__ = ["QuantizerConfig", "TokenizerConfig"]


class QuantizerConfig(Section):
    """How a vector becomes a code. Fields that a kind does not use are ignored by it."""

    kind: Annotated[str, OneOf.of(QUANTIZERS)] = Field(
        default="vq", description=f"The quantizer: {QUANTIZERS.in_words()}."
    )
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
    pixel_range: Literal["signed", "unit"] = Field(
        default="signed",
        description="Pixels as the networks see them: signed [-1, 1] or unit [0, 1]; the tokenizer's own inputs and "
        "outputs are in [-1, 1] either way.",
    )
    channels: Positive = Field(default=128, description="Channels at full resolution; a multiple of 32.")
    channel_multipliers: tuple[Positive, ...] = Field(
        default=(1, 1, 2, 2, 4),
        min_length=1,
        max_length=16,
        description="Channel factor per level; each level after the first halves the size, so f = 2^(levels - 1).",
    )
    res_blocks: Depth = Field(default=2, description="Residual blocks per level of the encoder.")
    decoder_res_blocks: Annotated[int, BeforeValidator(no_bool), Field(ge=0, le=1000)] = Field(
        default=0, description="Residual blocks per level of the decoder; 0: one more than the encoder has."
    )
    downsample: Literal["conv", "average"] = Field(
        default="conv",
        description="How the encoder halves the size: conv (3x3 with stride 2) or average (of 2x2, without weights).",
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
    codebook_size: Annotated[int, BeforeValidator(no_bool), Field(ge=2, le=2**31)] = Field(
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
    def _pixels_have_a_range(self) -> Self:
        if self.pixel_range != "signed" and self.in_channels not in (1, 3):
            raise ValueError(f"pixel_range {self.pixel_range}: label maps have none; leave it at signed")
        return self

    @model_validator(mode="after")
    def _group_norm_divides(self) -> Self:
        odd = [m for m in self.channel_multipliers if self.channels * m % 32]
        if odd:
            raise ValueError(
                f"channels ({self.channels}) times each channel multiplier must be a multiple of 32 "
                f"for the 32 groups of GroupNorm"
            )
        return self
