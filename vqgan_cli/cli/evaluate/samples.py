"""``vqgan evaluate samples``."""

from __future__ import annotations

from vqgan_cli.cli.options import Debug, Quiet

__all__ = ["samples"]


def samples(quiet: Quiet = False, debug: Debug = False) -> None:
    """Measure how close a set of images is to a reference set.

    Examples:

      vqgan evaluate samples
    """
    from vqgan_cli.core.errors import UsageError

    raise UsageError("evaluate samples is not there yet")
