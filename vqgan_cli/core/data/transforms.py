"""From a picture of any size to the training square, on uint8 arrays.

Two stages: `resize_short_side` to `stored_side` always gives the same result and may be cached; `augment` draws
crop and mirror image. Arrays are ``[H, W, 3]`` (pictures) or ``[H, W]`` (label maps
and depth, never interpolated).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vqgan_cli.core.config import DataConfig

__all__ = [
    "augment",
    "center_crop",
    "cover_crop",
    "random_crop",
    "random_resized_crop",
    "resize",
    "resize_short_side",
    "round_to_multiple",
    "stored_side",
]

Array = npt.NDArray[Any]


def stored_side(config: DataConfig, *, train: bool) -> int:
    """Short side in pixels that an image is resized to before the crop.

    ``config.resize`` if given. Else the training size, or, for random-resized crops, as much as it takes for the
    smallest crop to need no enlarging.
    """
    if config.resize:
        return config.resize
    if train and config.crop == "random-resized":
        return math.ceil(config.size / config.min_scale)
    return config.size


def augment(
    image: Array,
    config: DataConfig,
    rng: np.random.Generator | None,
    mirror: Callable[[Array], Array] = lambda image: image[:, ::-1],
) -> Array:
    """Crop an image whose short side is `stored_side` to the training size.

    Args:
        image: ``[H, W, 3]`` or ``[H, W]``, both sides at least ``config.size``.
        config: crop, size, scale and probability of a mirror image.
        rng: source of the choices; None: the centre, not mirrored, as for validation and encoding.
        mirror: makes a mirror image.

    Returns:
        ``[size, size, 3]`` or ``[size, size]``; may be a view of ``image``.
    """
    if rng is None:
        return center_crop(image, config.size)
    if config.crop == "random-resized":
        image = random_resized_crop(image, config.size, config.min_scale, rng)
    elif config.crop == "random":
        image = random_crop(image, config.size, rng)
    else:
        image = center_crop(image, config.size)
    return mirror(image) if rng.random() < config.flip else image


def resize_short_side(image: Array, side: int) -> Array:
    """Resize so that the short side has ``side`` pixels; the long side is rounded to the nearest.

    Pictures are filtered (Lanczos when they shrink, bicubic when they grow), label maps take the nearest pixel.
    """
    height, width = image.shape[:2]
    scale = side / min(height, width)
    return resize(image, max(side, round(height * scale)), max(side, round(width * scale)))


def center_crop(image: Array, size: int) -> Array:
    """The central square of ``size`` pixels."""
    height, width = image.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def cover_crop(image: Array, height: int, width: int) -> tuple[Array, tuple[int, int]]:
    """Resize so that the image just covers ``height`` x ``width``, and cut the centre out.

    Returns:
        ``[height, width, ...]``, and (height, width) after resizing, before the cut.
    """
    scale = max(height / image.shape[0], width / image.shape[1])
    resized = max(height, round(image.shape[0] * scale)), max(width, round(image.shape[1] * scale))
    image = resize(image, *resized)
    top, left = (resized[0] - height) // 2, (resized[1] - width) // 2
    return image[top : top + height, left : left + width], resized


def round_to_multiple(image: Array, multiple: int) -> Array:
    """Resize each side to the nearest multiple, at least one."""
    sides = (max(1, round(side / multiple)) * multiple for side in image.shape[:2])
    return resize(image, *sides)


def random_crop(image: Array, size: int, rng: np.random.Generator) -> Array:
    """A square of ``size`` pixels at a uniformly drawn position."""
    height, width = image.shape[:2]
    top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    return image[top : top + size, left : left + size]


def random_resized_crop(image: Array, size: int, min_scale: float, rng: np.random.Generator) -> Array:
    """A square whose side is ``min_scale`` to 1 of the short side (uniform), resized to ``size`` pixels."""
    short = min(image.shape[:2])
    side = round(short * rng.uniform(min_scale, 1))
    return resize(random_crop(image, side, rng), size, size)


def resize(image: Array, height: int, width: int) -> Array:
    """Resize to a size, whatever the aspect ratio; maps [H, W] take the nearest pixels."""
    if image.shape[:2] == (height, width):
        return image
    if image.ndim == 2:
        return image[_nearest(image.shape[0], height)[:, None], _nearest(image.shape[1], width)]
    shrinks = height <= image.shape[0]
    # Lanczos keeps more detail; enlarging, it rings at edges, bicubic hardly does.
    resample = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize((width, height), resample))


def _nearest(old: int, new: int) -> npt.NDArray[np.int64]:
    """Index of the old pixel that holds the centre of each new one."""
    return (np.arange(new) * 2 + 1) * old // (2 * new)
