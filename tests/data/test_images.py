from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.data.bad_images import OK, cmyk, write_bad_images
from vqgan_cli.core.data.images import (
    contact_sheet,
    image_size,
    read_image,
    read_label_map,
    to_uint8,
    write_image,
)
from vqgan_cli.core.errors import ImageError, OutputError, UsageError

RGB = np.random.default_rng(1).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_every_bad_file_is_refused_with_its_reason_and_every_odd_one_is_read(tmp_path: Path) -> None:
    expected = write_bad_images(tmp_path)
    for name, outcome in expected.items():
        if outcome == OK:
            image = read_image(tmp_path / name)
            assert image.dtype == np.uint8, name
            assert image.shape == (48, 64, 3), name
            assert image.flags.c_contiguous, name
        else:
            with pytest.raises(ImageError) as caught:
                read_image(tmp_path / name)
            assert outcome in caught.value.reason
            assert str(tmp_path) not in caught.value.reason
            assert caught.value.path == tmp_path / name


def test_a_folder_and_an_unreadable_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="known format"):
        read_image(save(tmp_path / "image.png", Image.fromarray(RGB), format="PPM"))


def test_the_megapixel_limit_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "image.png", Image.fromarray(RGB))  # 240 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert read_image(path).shape == RGB.shape
    assert Image.MAX_IMAGE_PIXELS == 50
    with pytest.raises(ImageError, match=r"12x20 .* above the limit of 0.0002 megapixels"):
        read_image(path, max_megapixels=0.0002)
    with pytest.raises(ImageError, match="megapixels"):
        image_size(path, max_megapixels=0.0002)


def test_a_bomb_is_refused_before_its_pixels_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bad_images(tmp_path)

    def load(self: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(ImageError, match="900 megapixels"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Oracle: Pillow's own `exif_transpose`, and the row and column that EXIF 2.32 names for each value."""
    stored = Image.fromarray(np.repeat(np.repeat(RGB, 8, axis=0), 8, axis=1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"image.{suffix}", stored, exif=exif, lossless=True, quality=95)

    upright = read_image(path)
    with Image.open(path) as image:
        reference = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(upright, reference)
    assert image_size(path) == upright.shape[:2]

    # EXIF: where the first stored row and column are seen; 0th row at the top and 0th column at the left, ...
    first_pixel_is_at = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0)}  # [row, column]
    first_pixel_is_at |= {5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    row, column = first_pixel_is_at[orientation]
    np.testing.assert_allclose(upright[row, column].astype(int), RGB[0, 0], atol=40)
    assert upright.shape[:2] == ((160, 96) if orientation >= 5 else (96, 160))


@pytest.mark.parametrize("value", [0, 9, 77])
def test_meaningless_orientation_is_ignored(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    path = save(tmp_path / "image.png", Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_size(path) == (12, 20)


def test_damaged_metadata_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", Image.fromarray(RGB), exif=b"Exif\0\0not a header at all")
    np.testing.assert_array_equal(read_image(path), RGB)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    """Oracle: v * 255 / 65535 rounded, over the whole range."""
    values = np.linspace(0, 65535, 16 * 256).astype(np.uint16).reshape(16, 256)
    image = read_image(save(tmp_path / f"image.{suffix}", Image.fromarray(values)))
    np.testing.assert_array_equal(image[:, :, 0], np.rint(values / 257.0))
    assert (image == image[:, :, :1]).all()


def test_sixteen_bit_gray_with_a_transparent_value(tmp_path: Path) -> None:
    values = np.full((8, 8), 514, np.uint16)
    values[0, 0] = 1000
    path = save(tmp_path / "image.png", Image.fromarray(values), transparency=1000)
    image = read_image(path, background=(10, 20, 30))
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[1, 1].tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("dtype", "top", "white"),
    [(np.float32, 1.0, 1.0), (np.float32, 200.0, 255.0), (np.int32, 2**31 - 1, 2**32 - 1)],
)
def test_deep_gray_has_the_scale_of_its_type(tmp_path: Path, dtype: type, top: float, white: float) -> None:
    values = np.zeros((8, 8), dtype)
    values[0] = top
    image = read_image(save(tmp_path / "image.tiff", Image.fromarray(values)))
    assert image[0, 0, 0] == round(255 * top / white)
    assert image[1, 0, 0] == 0


def test_samples_without_a_scale_are_refused(tmp_path: Path) -> None:
    for number, value in enumerate((-1.0, np.nan, np.inf)):
        values = np.zeros((8, 8), np.float32)
        values[3, 3] = value
        with pytest.raises(ImageError, match="scale is unknown"):
            read_image(save(tmp_path / f"{number}.tiff", Image.fromarray(values)))


def test_gray_and_bilevel(tmp_path: Path) -> None:
    gray = read_image(save(tmp_path / "gray.png", Image.fromarray(RGB[:, :, 0])))
    np.testing.assert_array_equal(gray, np.repeat(RGB[:, :, :1], 3, axis=2))
    bilevel = read_image(save(tmp_path / "1.png", Image.fromarray(RGB[:, :, 0] > 100)))
    assert set(np.unique(bilevel)) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_and_rounded(tmp_path: Path, mode: str) -> None:
    """Oracle: a c + (1 - a) b in exact arithmetic, rounded, for all values of alpha."""
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colour = np.full((16, 16, len(mode) - 1), 77, np.uint8)
    path = save(tmp_path / "image.png", Image.fromarray(np.dstack([colour, alpha])))
    image = read_image(path, background=(200, 0, 255))
    for channel, behind in enumerate((200, 0, 255)):
        exact = (alpha * 77.0 + (255.0 - alpha) * behind) / 255
        np.testing.assert_array_equal(image[:, :, channel], np.floor(exact + 0.5))


def test_palette_with_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.putpixel((0, 0), 0)
    picture.putpixel((1, 0), 2)
    for options in ({"transparency": 0}, {"transparency": bytes([0, 255, 255])}):
        image = read_image(save(tmp_path / "image.png", picture, **options), background=(1, 2, 3))
        assert image[0, 0].tolist() == [1, 2, 3]
        assert image[0, 1].tolist() == [0, 0, 255]
        assert image[1, 0].tolist() == [255, 0, 0]


def test_cmyk_jpeg_has_the_right_polarity(tmp_path: Path) -> None:
    """Oracle: ink coverage by hand; Pillow writes CMYK as Adobe does, inverted."""
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, :8] = (0, 255, 255, 0)
    ink[:, 8:] = (0, 0, 0, 255)
    path = save(tmp_path / "image.jpg", cmyk(ink))
    image = read_image(path).astype(int)
    np.testing.assert_allclose(image[8, 2], (255, 0, 0), atol=3)
    np.testing.assert_allclose(image[8, 13], (0, 0, 0), atol=3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime")]
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"image.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        assert (read_image(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_min_side_decodes_smaller_but_never_below(tmp_path: Path, orientation: int) -> None:
    """Oracle: the box average of the whole image, which scaled decoding approximates."""
    ramp = np.linspace(0, 255, 500)[None, :, None] * np.ones((300, 1, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "image.jpg", Image.fromarray(ramp.astype(np.uint8)), exif=exif, quality=95)
    whole = read_image(path)
    small = read_image(path, min_side=75)
    upright = (500, 300) if orientation == 6 else (300, 500)
    assert whole.shape[:2] == upright
    assert small.shape[:2] == (upright[0] // 4, upright[1] // 4)
    height, width = small.shape[:2]
    average = whole.reshape(height, 4, width, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - average).mean() < 1.0
    assert read_image(path, min_side=151).shape == whole.shape


def test_label_maps_keep_their_indices(tmp_path: Path) -> None:
    labels = np.arange(144, dtype=np.uint8).reshape(12, 12)
    palette = Image.fromarray(labels)
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    for name, picture in {"gray": Image.fromarray(labels), "palette": palette}.items():
        path = save(tmp_path / f"{name}.png", picture)
        np.testing.assert_array_equal(read_label_map(path), labels)
    wide = labels.astype(np.uint16) * 300
    result = read_label_map(save(tmp_path / "wide.png", Image.fromarray(wide)))
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, wide)
    bilevel = read_label_map(save(tmp_path / "1.png", Image.fromarray(labels > 70)))
    np.testing.assert_array_equal(bilevel, labels > 70)


def test_label_maps_of_four_bits_are_not_spread(tmp_path: Path) -> None:
    """Oracle: indices written into the PNG by hand (Pillow multiplies gray of 4 bits by 17)."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = b"\0" + bytes([0x01, 0x23, 0x45, 0xEF])  # filter none, then eight samples of four bits
    header = struct.pack(">IIBBBBB", 8, 8, 4, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")
    (tmp_path / "labels.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert read_label_map(tmp_path / "labels.png")[0].tolist() == [0, 1, 2, 3, 4, 5, 14, 15]


def test_label_maps_in_colour_or_lossy_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is RGB: a label map"):
        read_label_map(save(tmp_path / "rgb.png", Image.fromarray(RGB)))
    with pytest.raises(ImageError, match="does not keep class indices"):
        read_label_map(save(tmp_path / "gray.jpg", Image.fromarray(RGB[:, :, 0])))


def test_label_maps_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "labels.png", Image.fromarray(RGB[:, :, 0]), exif=exif)
    np.testing.assert_array_equal(read_label_map(path), np.rot90(RGB[:, :, 0], -1))


@pytest.mark.parametrize("shape", [(12, 20, 3), (12, 20)])
def test_written_images_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = RGB if len(shape) == 3 else RGB[:, :, 0]
    write_image(tmp_path / "image.png", image)
    back = read_image(tmp_path / "image.png")
    np.testing.assert_array_equal(back if len(shape) == 3 else back[:, :, 0], image)
    smooth = np.full((32, 32, 3), (200, 30, 90), np.uint8)
    for suffix in ("jpg", "jpeg", "webp", "JPG"):
        write_image(tmp_path / f"image.{suffix}", smooth)
        assert np.abs(read_image(tmp_path / f"image.{suffix}").astype(int) - smooth).max() <= 4


def test_a_failed_write_leaves_the_old_image_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.png"
    write_image(path, RGB)
    before = path.read_bytes()

    def save_half(self: Image.Image, file: object, **options: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save_half)
    with pytest.raises(OutputError, match=r"image.png.*No space left"):
        write_image(path, RGB[::2])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="png, jpg, jpeg, webp"):
        write_image(tmp_path / "image.gif", RGB)
    with pytest.raises(OutputError, match="nowhere"):
        write_image(tmp_path / "nowhere" / "image.png", RGB)
    with pytest.raises(OutputError, match="too-wide"):
        write_image(tmp_path / "too-wide.webp", np.zeros((8, 20_000, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_to_uint8_rounds_and_clamps() -> None:
    """Oracle: the inverse of x / 127.5 - 1 on all 256 values; truncation would lose some of them."""
    values = np.arange(256, dtype=np.uint8)
    for dtype in (np.float16, np.float32, np.float64):
        scaled = (values / 127.5 - 1).astype(dtype)
        np.testing.assert_array_equal(to_uint8(scaled), values)
    np.testing.assert_array_equal(to_uint8(np.array([-7.0, 7.0, 0.999])), [0, 255, 255])


def test_contact_sheet_places_every_image() -> None:
    pictures = [np.full((4, 6, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(pictures, columns=2, gap=2, background=(255, 0, 0))
    assert sheet.shape == (10, 14, 3)
    assert (sheet[:4, :6] == 10).all()
    assert (sheet[:4, 8:] == 20).all()
    assert (sheet[6:, :6] == 30).all()
    assert (sheet[6:, 8:] == (255, 0, 0)).all()
    assert (sheet[4:6] == (255, 0, 0)).all()


def test_contact_sheet_of_several_sizes_centres_them() -> None:
    sheet = contact_sheet([np.zeros((2, 6, 3), np.uint8), np.zeros((4, 2, 3), np.uint8)], columns=5, gap=1)
    assert sheet.shape == (4, 13, 3)
    assert (sheet[1:3, :6] == 0).all()
    assert (sheet[:, 9:11] == 0).all()
    assert (sheet == 255).sum() == (4 * 13 - 12 - 8) * 3


def test_errors_survive_the_way_from_a_worker_process(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(ImageError(tmp_path / "a.png", "is empty")))
    assert (error.path, error.reason) == (tmp_path / "a.png", "is empty")
