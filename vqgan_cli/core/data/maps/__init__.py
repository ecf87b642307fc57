"""Maps that go with images: label maps, depth, edges, key points, low resolution. A new kind is a file and a line."""

from __future__ import annotations

from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps.base import MapKind
from vqgan_cli.core.data.maps.depth import Depth
from vqgan_cli.core.data.maps.edges import Edges
from vqgan_cli.core.data.maps.keypoints import Keypoints
from vqgan_cli.core.data.maps.lowres import LowRes, enlarge, shrink
from vqgan_cli.core.data.maps.segmentation import Segmentation

__all__ = ["MAP_KINDS", "MapKind", "build_map_kind", "enlarge", "shrink"]

_KINDS: tuple[type[MapKind], ...] = (Segmentation, Depth, Edges, Keypoints, LowRes)

MAP_KINDS: dict[str, type[MapKind]] = {kind.name: kind for kind in _KINDS}


def build_map_kind(name: str, config: MapsConfig) -> MapKind:
    """The kind of maps that a config names.

    Raises:
        UsageError: the config does not fit the kind.
    """
    return MAP_KINDS[name](config)
