"""A source divided into training and validation images."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.sources import ImageSource

__all__ = ["split"]


def split(
    source: ImageSource, fraction: float, maximum: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Divide a source into training and validation images.

    Each image is drawn by a hash of seed and key, so more files leave the side of the others as it is, unless
    ``maximum`` is reached: then the validation images with the lowest hashes stay.

    Args:
        source: with at least one image.
        fraction: expected share of validation images; 0: none at all.
        maximum: most validation images.
        seed: another seed gives another split.

    Returns:
        Ascending indices for training and for validation. Of two or more images at least one is on either side
        (unless ``fraction`` is 0); a single image is for training.
    """
    count = len(source)
    hashes = np.array([_uniform(seed, source.key(index)) for index in range(count)])
    order = np.argsort(hashes, kind="stable")
    drawn = min(int((hashes < fraction).sum()), maximum, count - 1)
    if count >= 2 and fraction > 0:
        drawn = max(drawn, 1)
    return np.sort(order[drawn:]), np.sort(order[:drawn])


def _uniform(seed: int, key: str) -> float:
    """A number in [0, 1) that looks random."""
    digest = hashlib.blake2b(os.fsencode(f"{seed} {key}"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
