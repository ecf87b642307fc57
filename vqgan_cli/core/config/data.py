"""Where images come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from vqgan_cli.core.config.fields import Count, Fraction, Positive, Section, no_bool
from vqgan_cli.core.config.kinds import MAPS, TOKENIZED_MAPS
from vqgan_cli.core.config.registry import OneOf

__all__ = ["DataConfig", "DataKind", "MapKindName", "MapsConfig"]

MapKindName = Annotated[str, OneOf.of(MAPS)]
"""Kinds of maps that can be the condition of an image."""

DataKind = Annotated[str, OneOf.of(["image", *TOKENIZED_MAPS])]
"""What a tokenizer is trained on."""

_Number = Annotated[float, BeforeValidator(no_bool)]
_AboveZero = Annotated[float, BeforeValidator(no_bool), Field(gt=0)]


class MapsConfig(Section):
    """How maps that go with images are read or computed. Fields that a kind does not use are ignored by it."""

    classes: Count = Field(
        default=0,
        description="segmentation: number of classes; 0: as many as the training maps show, and no fewer than the "
        "tokenizer has channels.",
    )
    ignore_label: Count | None = Field(
        default=None,
        description="segmentation: label of pixels without a class; they become a class of their own, the last.",
    )
    depth_unit: _AboveZero = Field(
        default=0.001, description="depth: metres per step of an integer file; .npy files hold metres."
    )
    depth_unknown: _Number | None = Field(
        default=0.0, description="depth: value in the file that means unknown; null: all are known."
    )
    depth_range: tuple[_Number, _Number] | None = Field(
        default=None,
        description="depth: nearest and farthest metres that are told apart; null: those of each map.",
    )
    edge_sigma: _AboveZero = Field(
        default=1.4,
        description="edges: standard deviation of Canny's Gaussian, in pixels of the training size.",
    )
    edge_thresholds: tuple[Fraction, Fraction] = Field(
        default=(0.1, 0.2),
        description="edges: Canny's lower and upper threshold, as shares of black to white.",
    )
    limb_width: Annotated[float, BeforeValidator(no_bool), Field(gt=0, le=0.5)] = Field(
        default=0.02, description="keypoints: width of a limb, as a share of the short side."
    )
    lowres_factor: Annotated[int, BeforeValidator(no_bool), Field(ge=2, le=64)] = Field(
        default=4, description="lowres: pixels of the image per pixel of its small version, each way."
    )
    lowres_filter: Literal["bicubic", "lanczos", "box"] = Field(
        default="bicubic", description="lowres: filter that makes the small version."
    )
    coordinate_levels: Positive = Field(
        default=1024, description="coordinates: steps from the upper left to the lower right of an image."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("depth_range", "edge_thresholds"):
            pair = getattr(self, name)
            if pair is not None and pair[0] >= pair[1]:
                raise ValueError(
                    f"{name}: the first value, {pair[0]:g}, is not below the second, {pair[1]:g}"
                )
        return self


class DataConfig(Section):
    """Where images come from and how each becomes a square of the training size."""

    source: str | None = Field(
        default=None,
        description="Folder, glob, text file of paths, csv or jsonl of pairs, synthetic:faces or synthetic:scenes; "
        "--data replaces it.",
    )
    validation_source: str | None = Field(
        default=None, description="Separate validation images; --val replaces it. Else a split of the source."
    )
    validation_fraction: Fraction = Field(
        default=0.05, description="Share of the source held out for validation when it has none of its own."
    )
    validation_images: Positive = Field(default=500, description="At most so many images are held out.")
    split_seed: Count | None = Field(
        default=None,
        description="Seed that decides which images are held out, and which built-in images there are; null: the seed "
        "of the training. With one of its own, runs of several seeds are judged by the same images.",
    )
    kind: DataKind = Field(
        default="image",
        description="image: pictures (RGB); else the maps that a tokenizer reads, of a kind of the condition.",
    )
    maps: MapsConfig = Field(
        default_factory=MapsConfig, description="How maps that go with images are read or computed."
    )
    size: Positive = Field(
        default=256,
        description="Side of the training square, in pixels. train-transformer takes its tokenizer's; --set gives "
        "another.",
    )
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
