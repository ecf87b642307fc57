"""Bands are parts of the whole picture, and pictures on disk are the same as in memory."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from vqgan_cli.core.data.maps import enlarge, shrink
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.upscaling import bands
from vqgan_cli.core.upscaling.bands import enlarged, shrunk
from vqgan_cli.core.upscaling.consistency import back_project, consistency
from vqgan_cli.core.upscaling.scratch import Scratch

PICTURE = np.random.default_rng(0).integers(0, 256, (41, 23, 3), np.uint8)


def joined(parts: object) -> np.ndarray:
    """The bands one below the other, each where it says that it begins."""
    rows = list(parts)  # type: ignore[call-overload]
    assert len(rows) > 2
    for (first, band), (following, _) in itertools.pairwise(rows):
        assert first + len(band) == following
    return np.concatenate([band for _, band in rows])


@pytest.mark.parametrize("factor", [2, 3, 4, 16])
def test_enlarged(factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: Pillow's enlargement of the whole."""
    monkeypatch.setattr(bands, "_PIXELS", 7 * factor * factor * PICTURE.shape[1])
    whole = enlarge(PICTURE, PICTURE.shape[0] * factor, PICTURE.shape[1] * factor)
    assert np.array_equal(joined(enlarged(PICTURE, factor)), whole)


@pytest.mark.parametrize("filter_", ["bicubic", "lanczos", "box"])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_shrunk(factor: int, filter_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: Pillow's small version of the whole."""
    large = np.random.default_rng(1).integers(0, 256, (40 * factor, 24 * factor, 3), np.uint8)
    monkeypatch.setattr(bands, "_PIXELS", 6 * factor * large.shape[1])
    assert np.array_equal(joined(shrunk(large, factor, filter_)), shrink(large, factor, filter_))


def test_back_projection_on_disk_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the same in memory in one band."""
    small = PICTURE[:40, :20]
    start = np.random.default_rng(2).integers(0, 256, (160, 80, 3), np.uint8)
    expected = start.copy()
    back_project(expected, small, 4, "bicubic", Scratch(tmp_path))
    monkeypatch.setattr(bands, "_PIXELS", 9 * 16 * 20)
    room = Scratch(tmp_path, max_in_memory=0)
    result = room.picture(160, 80)
    assert isinstance(result, np.memmap)
    result[:] = start
    back_project(result, small, 4, "bicubic", room)
    assert np.array_equal(result, expected)
    assert consistency(result, small, 4, "bicubic") > consistency(start, small, 4, "bicubic")
    assert not list(tmp_path.iterdir())  # its files have no name, so that nothing can stay behind


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, before anything is written: room is taken at once."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="no room for a picture of 100x100"):
            Scratch(tmp_path, max_in_memory=0).picture(100, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
