"""Large pictures, encoded in tiles."""

from __future__ import annotations

import numpy as np
import pytest

from vqgan_cli.core import tiled_encoding


def test_large_pictures_are_encoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the whole at once, for an encoder that looks at each cell alone; every tile is bounded."""
    seen: list[tuple[int, ...]] = []

    def codes_of_corners(tile: np.ndarray) -> np.ndarray:
        seen.append(tile.shape)
        return tile[::8, ::8, 0].astype(np.int64)

    monkeypatch.setattr(tiled_encoding, "_TILE", 96)
    monkeypatch.setattr(tiled_encoding, "_MARGIN", 12)
    picture = np.random.default_rng(0).integers(0, 256, (200, 304, 3)).astype(np.uint8)
    codes = tiled_encoding.encode_tiled(picture, 8, codes_of_corners)
    assert np.array_equal(codes, picture[::8, ::8, 0])
    assert len(seen) > 10
    assert max(max(shape[:2]) for shape in seen) <= 72 + 32
