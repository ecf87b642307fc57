"""A whole experiment."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from vqgan_cli.core.config.data import DataConfig
from vqgan_cli.core.config.fields import Section
from vqgan_cli.core.config.tokenizer import TokenizerConfig
from vqgan_cli.core.config.train_ae import TrainAEConfig
from vqgan_cli.core.config.transformer import (
    ConditionConfig,
    SamplingConfig,
    TrainTransformerConfig,
    TransformerConfig,
)

__all__ = ["ExperimentConfig"]


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
