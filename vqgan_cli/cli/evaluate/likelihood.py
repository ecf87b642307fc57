"""``vqgan evaluate likelihood``."""

from __future__ import annotations

from vqgan_cli.cli.options import Debug, Quiet

__all__ = ["likelihood"]


def likelihood(quiet: Quiet = False, debug: Debug = False) -> None:
    """Measure the likelihood that a model gives to the codes of images.

    Examples:

      vqgan evaluate likelihood
    """
    from vqgan_cli.core.errors import UsageError

    raise UsageError("evaluate likelihood is not there yet")
