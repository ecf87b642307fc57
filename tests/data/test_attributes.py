"""What a picture keeps besides its colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from vqgan_cli.core.data.attributes import Attributes, read_with_attributes, write_with_attributes
from vqgan_cli.core.errors import ImageError, OutputError

RGBA = np.random.default_rng(0).integers(0, 256, (12, 20, 4)).astype(np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_alpha_colours_and_exif_are_kept(tmp_path: Path) -> None:
    """Oracle: the file itself, turned upright as its EXIF says; colours of transparent pixels are not composited."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise
    exif[ExifTags.Base.ImageDescription] = "a picture"
    Image.fromarray(RGBA).save(tmp_path / "a.png", exif=exif, icc_profile=PROFILE)
    colours, attributes = read_with_attributes(tmp_path / "a.png")
    upright = np.rot90(RGBA, -1)
    assert np.array_equal(colours, upright[..., :3])
    assert attributes.alpha is not None
    assert np.array_equal(attributes.alpha, upright[..., 3])
    for name in ("b.png", "b.webp"):
        assert write_with_attributes(tmp_path / name, colours, attributes, quality=100) == []
        with Image.open(tmp_path / name) as written:
            assert written.mode == "RGBA"
            assert written.getexif()[ExifTags.Base.ImageDescription] == "a picture"
            assert ExifTags.Base.Orientation not in written.getexif()
            assert written.info["icc_profile"] == PROFILE
            assert np.array_equal(np.asarray(written)[..., 3], upright[..., 3])


def test_what_jpeg_cannot_hold_is_named(tmp_path: Path) -> None:
    attributes = Attributes(alpha=RGBA[..., 3], icc=PROFILE)
    assert write_with_attributes(tmp_path / "a.jpg", RGBA[..., :3].copy(), attributes) == ["alpha"]
    with Image.open(tmp_path / "a.jpg") as written:
        assert written.info["icc_profile"] == PROFILE


def test_opaque_pictures(tmp_path: Path) -> None:
    Image.fromarray(RGBA[..., :3]).save(tmp_path / "a.png")
    colours, attributes = read_with_attributes(tmp_path / "a.png")
    assert attributes == Attributes()
    assert np.array_equal(colours, RGBA[..., :3])


def test_damaged_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(ImageError):
        read_with_attributes(tmp_path / "a.png")


def test_a_picture_that_its_format_cannot_hold(tmp_path: Path) -> None:
    wide = np.zeros((8, 17000, 3), np.uint8)  # WebP ends at 16,383
    with pytest.raises(OutputError, match="cannot write"):
        write_with_attributes(tmp_path / "a.webp", wide, Attributes())
    assert not list(tmp_path.iterdir())
