"""Where images come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vqgan_cli.core.config.fields import Count, Fraction, Positive, Section

__all__ = ["DataConfig"]


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
