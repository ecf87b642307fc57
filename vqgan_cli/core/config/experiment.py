"""A whole experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from vqgan_cli.core.config.data import DataConfig, DataKind, MapsConfig
from vqgan_cli.core.config.fields import Section
from vqgan_cli.core.config.kinds import TOKENIZED_MAPS, map_form
from vqgan_cli.core.config.merging import merge
from vqgan_cli.core.config.tokenizer import TokenizerConfig
from vqgan_cli.core.config.train_ae import TrainAEConfig
from vqgan_cli.core.config.transformer import (
    ConditionConfig,
    SamplingConfig,
    TrainTransformerConfig,
    TransformerConfig,
)
from vqgan_cli.core.errors import ConfigError

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

    @model_validator(mode="before")
    @classmethod
    def _first_stage_of_maps(cls, raw: Any) -> Any:
        """What a preset leaves open about the tokenizer of maps is as that of the images."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("condition"), Mapping):
            return raw
        condition = raw["condition"]
        kind = condition.get("kind", "none")
        # What is no kind at all is left to the field's own message.
        if kind not in TOKENIZED_MAPS or condition.get("tokenizer", "own") != "own":
            return raw
        given = condition.get("first_stage")
        if not isinstance(given, Mapping | None):
            return raw
        stage = merge(_stage_of_maps(kind, raw), given or {})
        return {**raw, "condition": {**condition, "first_stage": stage}}

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
    def _stages_fit_their_data(self) -> Self:
        _require_fit("", self.data.kind, self.data.maps, self.tokenizer, self.train_ae)
        stage, kind = self.condition.first_stage, self.condition.map_kind
        if stage is not None and kind in TOKENIZED_MAPS:
            _require_fit("condition.first_stage.", kind, self.data.maps, stage.tokenizer, stage.train_ae)
        return self

    def of_condition(self) -> ExperimentConfig:
        """The experiment that trains the tokenizer of the condition.

        Raises:
            ConfigError: the condition has none.
        """
        condition = self.condition
        kind = condition.map_kind
        if kind is None or condition.tokenizer != "own" or condition.first_stage is None:
            reason = f"condition.kind is {condition.kind}"
            if kind is not None:
                reason += f", condition.tokenizer {condition.tokenizer}"
            raise ConfigError(
                [f"--target condition: this experiment has no tokenizer of a condition ({reason})"],
                hint="such as --set condition.kind=segmentation, or a preset that has one: streets, landscapes, depth",
            )
        return self.model_copy(
            update={
                "data": self.data.model_copy(update={"kind": kind}),
                "tokenizer": condition.first_stage.tokenizer,
                "train_ae": condition.first_stage.train_ae,
            }
        )


def _stage_of_maps(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Sections ``tokenizer`` and ``train_ae`` of the images, with the channels and the loss of a kind of maps."""
    sections = {name: raw.get(name) for name in ("tokenizer", "train_ae")}
    stage = {name: section if isinstance(section, Mapping) else {} for name, section in sections.items()}
    if map_form(kind) == "picture":
        return stage
    channels = 1
    change: dict[str, Any] = {"perceptual": {"kind": "none"}, "adversarial": {"weight": 0.0}}
    if map_form(kind) == "labels":
        maps = raw["data"].get("maps") if isinstance(raw.get("data"), Mapping) else None
        maps = maps if isinstance(maps, Mapping) else {}
        classes = maps.get("classes") or 0
        known = isinstance(classes, int) and classes > 0
        # The fewest that label maps can have, where they are yet to be counted.
        channels = classes + (maps.get("ignore_label") is not None) if known else 4
        change["reconstruction"] = "cross-entropy"
    return merge(
        stage, {"tokenizer": {"in_channels": channels, "out_channels": channels}, "train_ae": change}
    )


def _require_fit(
    where: str, kind: DataKind, maps: MapsConfig, tokenizer: TokenizerConfig, train_ae: TrainAEConfig
) -> None:
    """Raise ValueError unless loss and channels are those of the kind of data; ``where`` ends with a dot."""
    form = map_form(kind)
    labels = form == "labels"
    channels = (tokenizer.in_channels, tokenizer.out_channels)
    if (train_ae.reconstruction in ("cross-entropy", "bce")) != labels:
        raise ValueError(
            f"{where}train_ae.reconstruction {train_ae.reconstruction!r} does not fit {kind!r} data: "
            "label maps need cross-entropy or bce, all else l1 or l2"
        )
    if form != "picture" and train_ae.perceptual.kind != "none":
        raise ValueError(
            f"{where}train_ae.perceptual.kind must be none for {kind} maps: the networks know RGB only"
        )
    if not labels:
        expected = 1 if form == "value" else 3
        if channels != (expected, expected):
            raise ValueError(
                f"{where}tokenizer.in_channels and out_channels must be {expected} for {kind!r} data, not "
                f"{channels[0]} and {channels[1]}"
            )
        return
    if channels[0] != channels[1]:
        raise ValueError(
            f"{where}tokenizer: label maps need out_channels equal to in_channels, the number of classes"
        )
    classes = maps.classes + (maps.ignore_label is not None)
    if maps.classes and channels[0] != classes:
        raise ValueError(
            f"{where}tokenizer.in_channels {channels[0]} is not the number of classes, {classes} "
            "(data.maps.classes, and one more if there is an ignore_label)"
        )
    if channels[0] in (1, 3):
        raise ValueError(
            f"{where}tokenizer.in_channels {channels[0]}: one channel means depth, three mean RGB; give label maps of "
            "so many classes four channels, of which some stay unused"
        )
