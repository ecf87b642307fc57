"""Maps that go with images, a kind per file. A new one is a file here and a line in ``core/config/kinds.py``."""

from __future__ import annotations

from vqgan_cli.core.config import MAPS, MapsConfig
from vqgan_cli.core.data.maps.base import MapKind
from vqgan_cli.core.data.maps.lowres import enlarge, shrink

__all__ = ["MAP_KINDS", "MapKind", "build_map_kind", "enlarge", "shrink"]

MAP_KINDS: dict[str, type[MapKind]] = {name: MAPS.load(name) for name in MAPS}


def build_map_kind(name: str, config: MapsConfig) -> MapKind:
    """The kind of maps that a config names.

    Raises:
        UsageError: the config does not fit the kind.
    """
    return MAP_KINDS[name](config)
