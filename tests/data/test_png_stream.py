"""PNG files in bands are what Pillow reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from vqgan_cli.core.data.png_stream import write_png_stream


@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 3), (37, 23, 3), (64, 5, 4), (3, 300, 4)])
def test_pillow_reads_what_was_written(height: int, width: int, channels: int, tmp_path: Path) -> None:
    """Oracle: Pillow."""
    picture = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    write_png_stream(tmp_path / "it.png", np.array_split(picture, min(4, height)), picture.shape)
    with Image.open(tmp_path / "it.png") as image:
        assert image.mode == {3: "RGB", 4: "RGBA"}[channels]
        assert np.array_equal(np.asarray(image), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["it.png"]


def test_exif_and_profile(tmp_path: Path) -> None:
    """Oracle: Pillow reads the same blocks."""
    picture = np.zeros((4, 4, 3), np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_png_stream(tmp_path / "it.png", [picture], picture.shape, exif=exif.tobytes(), icc=icc)
    with Image.open(tmp_path / "it.png") as image:
        assert image.getexif()[0x010E] == "a description"
        assert image.info["icc_profile"] == icc
