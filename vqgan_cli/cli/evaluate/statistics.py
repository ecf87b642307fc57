"""``vqgan evaluate statistics``."""

from __future__ import annotations

from vqgan_cli.cli.options import Debug, Quiet

__all__ = ["statistics"]


def statistics(quiet: Quiet = False, debug: Debug = False) -> None:
    """Save what evaluate samples needs to know of a reference set.

    Examples:

      vqgan evaluate statistics
    """
    from vqgan_cli.core.errors import UsageError

    raise UsageError("evaluate statistics is not there yet")
