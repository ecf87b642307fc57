"""How evaluations end before their time."""

from __future__ import annotations

from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.stopping import StopRequest

__all__ = ["all_or_nothing"]


def all_or_nothing(reporter: Reporter) -> StopRequest:
    """Around work of which a half is worth nothing: a signal ends it where it is, and says that nothing is kept."""
    return StopRequest(
        on_signal=lambda reason: reporter.warning(f"{reason}; nothing is kept of it"), at_once=True
    )
