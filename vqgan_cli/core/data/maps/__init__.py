"""Maps that go with images, a kind per file. A new one is a file and a line here."""

from __future__ import annotations

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps.base import MapKind
from vqgan_cli.core.data.maps.coordinates import Coordinates
from vqgan_cli.core.data.maps.depth import Depth
from vqgan_cli.core.data.maps.edges import Edges
from vqgan_cli.core.data.maps.keypoints import Keypoints
from vqgan_cli.core.data.maps.lowres import LowRes, enlarge, shrink
from vqgan_cli.core.data.maps.segmentation import Segmentation

__all__ = ["MAP_KINDS", "MapKind", "build_map_kind", "enlarge", "shrink"]

_KINDS: tuple[type[MapKind], ...] = (Segmentation, Depth, Edges, Keypoints, LowRes, Coordinates)

MAP_KINDS: dict[str, type[MapKind]] = {kind.name: kind for kind in _KINDS}


def build_map_kind(name: str, config: MapsConfig) -> MapKind:
    """The kind of maps that a config names.

    Raises:
        UsageError: the config does not fit the kind.
    """
    return MAP_KINDS[name](config)
