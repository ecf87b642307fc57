"""``vqgan evaluate reconstruction``."""

from __future__ import annotations

from vqgan_cli.cli.options import Debug, Quiet

__all__ = ["reconstruction"]


def reconstruction(quiet: Quiet = False, debug: Debug = False) -> None:
    """Measure how close a tokenizer's reconstructions are to their originals.

    Examples:

      vqgan evaluate reconstruction
    """
    from vqgan_cli.core.errors import UsageError

    raise UsageError("evaluate reconstruction is not there yet")
