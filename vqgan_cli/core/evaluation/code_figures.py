"""Figures of the codes of a set of images: how much of the codebook they use, and how much space they take."""

from __future__ import annotations

import math

from vqgan_cli.core.evaluation.figures import Figure
from vqgan_cli.core.metrics.codebook import CodebookUsage

__all__ = ["code_figures"]


def code_figures(usage: CodebookUsage, downsampling: int, raw_bits: int, images: int) -> list[Figure]:
    """All of them; they are counted, so they have no interval, and those of the codebook are of these images only.

    Args:
        usage: of the codes of all images.
        downsampling: f, pixels of image side per code.
        raw_bits: per pixel of the originals, as files hold them without compression.
        images: how many.
    """
    size = len(usage.counts)
    bits = math.log2(size) / downsampling**2
    figures = (
        ("codebook_usage", f"codebook usage, share of {size}", usage.usage),
        ("codes_never_used", "codes never used", usage.never_used),
        ("perplexity", "perplexity of the codes", usage.perplexity),
        ("bits_per_pixel", "bits per pixel", bits),
        (
            "bits_per_pixel_entropy_coded",
            "bits per pixel, frequent codes written shorter",
            math.log2(usage.perplexity) / downsampling**2,
        ),
        ("bits_per_pixel_raw", "bits per pixel of the originals, raw", raw_bits),
        ("compression_factor", "times smaller than raw", raw_bits / bits),
    )
    return [Figure(key, label, value, images) for key, label, value in figures]
