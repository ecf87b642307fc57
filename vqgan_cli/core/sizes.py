"""Image sizes on the command line: HEIGHTxWIDTH, or one number for a square."""

from __future__ import annotations

import re

from vqgan_cli.core.errors import UsageError

__all__ = ["nearest_multiples", "parse_size", "require_multiples"]


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) in pixels of ``512x1024`` or ``256``.

    Raises:
        UsageError: it is neither, or a side is zero.
    """
    match = re.fullmatch(r"(\d{1,6})(?:\s*[xX×]\s*(\d{1,6}))?", text.strip())
    if match:
        height = int(match[1])
        width = int(match[2]) if match[2] else height
        if height and width:
            return height, width
    raise UsageError(
        f"{text!r} is no size", hint="HEIGHTxWIDTH in pixels, such as 512x1024, or 256 for a square"
    )


def nearest_multiples(height: int, width: int, multiple: int) -> list[str]:
    """The sizes just below and just above whose sides are multiples, as ``HEIGHTxWIDTH``."""
    below = [max(multiple, side // multiple * multiple) for side in (height, width)]
    above = [-(-side // multiple) * multiple for side in (height, width)]
    return sorted({f"{h}x{w}" for h, w in (below, above)}, key=lambda s: [int(n) for n in s.split("x")])


def require_multiples(height: int, width: int, f: int, whose: str) -> None:
    """Refuse a size whose sides are no multiples of a model's f.

    Raises:
        UsageError: with the nearest ones that are.
    """
    if height % f or width % f:
        raise UsageError(
            f"size {height}x{width} is not a multiple of this {whose}'s f = {f}",
            hint="the nearest sizes (height x width) are "
            + " and ".join(nearest_multiples(height, width, f)),
        )
