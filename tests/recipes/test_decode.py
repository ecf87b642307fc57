"""``vqgan decode``: which pixels, under which names, and which codes are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.recipes.conftest import Done, SavedTokenizer, Vqgan, save_tiny

Array = np.ndarray[Any, np.dtype[Any]]


def random_codes(count: int, height: int = 16, width: int = 16) -> Array:
    return np.random.default_rng(0).integers(0, 300, (count, height, width), dtype=np.uint16)


def decoded(tokenizer: SavedTokenizer, codes: Array) -> Array:
    """Oracle: the module's picture, [H, W, 3] in 0 to 255, before rounding."""
    picture = tokenizer.module.decode(torch.from_numpy(codes.astype(np.int64))[None])[0]
    return (picture.permute(1, 2, 0).numpy().astype(np.float64) + 1) * 127.5


def assert_rounded(pixels: Array, exact: Array) -> None:
    """Nearest integers, not those below; a hair more than a half for float32."""
    assert pixels.dtype == np.uint8
    assert np.abs(pixels - exact).max() <= 0.5001
    assert pixels.std() > 5  # a flat picture would prove little


def read(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def decode(vqgan: Vqgan, tiny: SavedTokenizer, codes: Path | str, *arguments: str | Path) -> Done:
    return vqgan("decode", codes, "--ae", tiny.path, "--device", "cpu", *arguments)


def write_photos(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for seed, (name, (height, width)) in enumerate(sizes.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


PHOTOS = {
    "cats/blank space.png": (64, 64),
    "cats/ümläut 日本.bmp": (48, 48),
    "dogs/new\nline.webp": (32, 32),
    "dogs/wide.tiff": (40, 70),
}


@pytest.fixture
def encoded(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> Array:
    """Photos encoded into ``codes.npy``."""
    write_photos(tmp_path / "photos", PHOTOS)
    assert vqgan("encode", "photos", "--ae", tiny.path, "--device", "cpu").code == 0
    return np.load(tmp_path / "codes.npy")


def test_names_and_sizes_of_the_originals(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, encoded: Array
) -> None:
    """Oracle: the module's picture, resized by Pillow where the original was larger and nothing was cut off."""
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert (done.code, done.out) == (0, "out\n")
    assert tree(tmp_path / "out") == [
        "cats/blank space.png", "cats/ümläut 日本.png", "dogs/new\nline.png", "dogs/wide.png",
    ]  # fmt: skip
    for (name, size), codes in zip(PHOTOS.items(), encoded, strict=True):
        pixels = read((tmp_path / "out" / name).with_suffix(".png"))
        exact = decoded(tiny, codes)
        if name == "dogs/wide.tiff" or size == (32, 32):
            assert_rounded(pixels, exact)
        else:
            assert pixels.shape == (*size, 3)
            rounded = Image.fromarray(np.rint(exact).astype(np.uint8))
            resized = np.asarray(rounded.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.int64)
            # Where float32 and float64 round to different integers.
            assert np.abs(pixels - resized).max() <= 2
            assert (pixels == resized).mean() > 0.999


def test_keep_size(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, encoded: Array) -> None:
    decode(vqgan, tiny, "codes.npy", "-o", "out", "--keep-size")
    for name, codes in zip(PHOTOS, encoded, strict=True):
        assert_rounded(read((tmp_path / "out" / name).with_suffix(".png")), decoded(tiny, codes))


def test_native_sizes_come_back(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    sizes = {"a.png": (24, 30), "b.png": (25, 31), "c.png": (40, 17), "d.png": (24, 30)}
    write_photos(tmp_path / "photos", sizes)
    vqgan("encode", "photos", "--ae", tiny.path, "--device", "cpu", "--native")
    assert decode(vqgan, tiny, "codes.npy", "-o", "out").code == 0
    assert {name: read(tmp_path / "out" / name).shape[:2] for name in sizes} == sizes


def test_originals_that_differ_in_their_suffix_only(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    write_photos(tmp_path / "photos", dict.fromkeys(["a.png", "a.webp", "b.png", "sub/a.png"], (32, 32)))
    vqgan("encode", "photos", "--ae", tiny.path, "--device", "cpu")
    decode(vqgan, tiny, "codes.npy", "-o", "out", "--format", "jpg")
    assert tree(tmp_path / "out") == ["a.png.jpg", "a.webp.jpg", "b.jpg", "sub/a.jpg"]


def test_same_name_twice(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    write_photos(tmp_path, {"a.png": (32, 32)})
    (tmp_path / "list.txt").write_text("a.png\na.png\n")
    assert vqgan("encode", "list.txt", "--ae", tiny.path, "--device", "cpu").code == 0
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert done.code == 1
    assert "has 2 images for 'out/a.png.png'" in done.err
    assert decode(vqgan, tiny, "codes.npy", "-o", "out", "--grid").code == 0


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("webp", "WEBP")])
def test_formats(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, encoded: Array, suffix: str, kind: str
) -> None:
    """Invariant: less quality makes smaller files, and full quality keeps the luma (WebP halves the chroma)."""
    arguments = ("--format", suffix, "--keep-size", "--quality")
    decode(vqgan, tiny, "codes.npy", "-o", "good", *arguments, "100")
    decode(vqgan, tiny, "codes.npy", "-o", "poor", *arguments, "10")
    good, poor = (tmp_path / folder / f"dogs/wide.{suffix}" for folder in ("good", "poor"))
    with Image.open(good) as image:
        assert image.format == kind
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs(read(good) @ luma - decoded(tiny, encoded[3]) @ luma).mean() < 4
    assert poor.stat().st_size < good.stat().st_size / 2


def test_grid(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, encoded: Array) -> None:
    """Oracle: the module's pictures, 2 x 2, two pixels apart."""
    done = decode(vqgan, tiny, "codes.npy", "-o", "sheet.png", "--grid")
    assert (done.code, done.out) == (0, "sheet.png\n")
    sheet = read(tmp_path / "sheet.png")
    assert sheet.shape == (66, 66, 3)
    for index in range(4):
        top, left = index // 2 * 34, index % 2 * 34
        assert_rounded(sheet[top : top + 32, left : left + 32], decoded(tiny, encoded[index]))
    assert (
        decode(vqgan, tiny, "codes.npy", "-o", "out", "--grid", "--format", "webp").out == "out/grid.webp\n"
    )
    assert tree(tmp_path / "out") == ["grid.webp"]


def test_codes_alone(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """An array without its description, of any integer type."""
    codes = random_codes(3, 5, 7)
    np.save(tmp_path / "codes.npy", codes.astype(np.int64))
    done = decode(vqgan, tiny, "codes.npy", "--json")
    names = [f"decoded/{index:06d}.png" for index in range(3)]
    assert json.loads(done.out) == {"images": names, "tokenizer": str(tiny.path)}
    for name, image in zip(names, codes, strict=True):
        assert_rounded(read(tmp_path / name), decoded(tiny, image))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batch_size_changes_nothing_but_rounding(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, batch_size: int
) -> None:
    codes = random_codes(5)
    np.save(tmp_path / "codes.npy", codes)
    decode(vqgan, tiny, "codes.npy", "-o", "out", "--batch-size", str(batch_size))
    for index, image in enumerate(codes):
        assert_rounded(read(tmp_path / "out" / f"{index:06d}.png"), decoded(tiny, image))


def test_stdout_is_data(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", random_codes(2))
    assert decode(vqgan, tiny, "codes.npy", "--quiet", "-o", "out") == (0, "out\n", "")
    done = decode(vqgan, tiny, "codes.npy", "-o", "out2")
    assert done.out == "out2\n"
    assert "2 images in codes.npy" in done.err


def test_code_outside_the_codebook(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, encoded: Array
) -> None:
    codes = encoded.astype(np.int64)
    codes[2, 3, 5] = 300
    (tmp_path / "codes.json").rename(tmp_path / "away.json")
    np.save(tmp_path / "codes.npy", codes)
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert done.code == 1
    expected = (
        "image 2 ('000002') has the code 300 at row 3, column 5, outside the codebook of 300 (0 to 299)"
    )
    assert expected in done.err
    codes[2, 3, 5] = -1
    np.save(tmp_path / "codes.npy", codes)
    assert "has the code -1 at row 3, column 5" in decode(vqgan, tiny, "codes.npy", "-o", "out").err

    (tmp_path / "away.json").rename(tmp_path / "codes.json")
    np.save(tmp_path / "codes.npy", np.where(codes == -1, 300, codes).astype(np.uint16))
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert done.code == 1
    assert not (tmp_path / "out").exists()


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged, truncated or no plain .npy array"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "damaged, truncated or no plain .npy array"),
        (lambda path: path.write_bytes(b""), "damaged, truncated or no plain .npy array"),
        (lambda path: np.save(path, np.array([Payload()])), "damaged, truncated or no plain .npy array"),
        (lambda path: np.save(path, np.zeros((2, 4, 4))), "codes are integers"),
        (lambda path: np.save(path, np.zeros((0, 4, 4), int)), "holds no images"),
        (lambda path: np.save(path, np.zeros((4, 4), int)), "must be [N, h, w]"),
        (lambda path: path.unlink(), "no codes file at 'codes.npy'"),
    ],
    ids=["truncated", "header", "empty", "pickle", "floats", "no-images", "two-dimensions", "missing"],
)
def test_unusable_arrays(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, content: Any, message: str
) -> None:
    np.save(tmp_path / "codes.npy", random_codes(2))
    content(tmp_path / "codes.npy")
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert done.code == 1
    assert message in done.err
    assert tree(tmp_path / "out") == []
    assert not (tmp_path / "executed").exists()


def test_changed_code_is_noticed(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, encoded: Array) -> None:
    encoded[1, 0, 0] ^= 1
    np.save(tmp_path / "codes.npy", encoded)
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert done.code == 1
    assert "image 1 ('cats/ümläut 日本.bmp') was changed or damaged" in done.err


def test_codes_of_another_tokenizer(vqgan: Vqgan, tmp_path: Path, encoded: Array) -> None:
    other = save_tiny(tmp_path / "other.safetensors", seed=1)
    done = decode(vqgan, other, "codes.npy", "-o", "out")
    assert done.code == 1
    assert "was made by another tokenizer" in done.err
    assert "--force" in done.err
    assert not (tmp_path / "out").exists()
    assert decode(vqgan, other, "codes.npy", "-o", "out", "--force", "--keep-size").code == 0
    assert_rounded(read(tmp_path / "out/dogs/wide.png"), decoded(other, encoded[3]))


def test_existing_images_are_kept(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", random_codes(3))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "000002.png").write_text("mine")
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert done.code == 1
    assert "'out/000002.png' exists" in done.err
    assert tree(tmp_path / "out") == ["000002.png"]  # refused before the first image
    (tmp_path / "sheet.png").write_text("mine")
    assert "'sheet.png' exists" in decode(vqgan, tiny, "codes.npy", "-o", "sheet.png", "--grid").err
    assert (tmp_path / "sheet.png").read_text() == "mine"
    assert decode(vqgan, tiny, "codes.npy", "-o", "out", "--force").code == 0
    assert read(tmp_path / "out" / "000002.png").shape == (32, 32, 3)


def test_unwritable_output_fails_before_any_work(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", random_codes(3))
    (tmp_path / "file").touch()
    for out in ("file", "file/out"):
        done = decode(vqgan, tiny, "codes.npy", "-o", out)
        assert done.code == 1
        assert f"cannot write to '{out}'" in done.err
        assert "3 images" not in done.err


def test_names_cannot_leave_the_folder(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, encoded: Array
) -> None:
    description = (tmp_path / "codes.json").read_text(encoding="utf-8")
    (tmp_path / "codes.json").write_text(description.replace("dogs/wide.tiff", "../wide.tiff"), "utf-8")
    done = decode(vqgan, tiny, "codes.npy", "-o", "out")
    assert done.code == 1
    assert "'../wide.tiff' does not stay inside an output folder" in done.err


def test_label_maps(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the module's likeliest classes; they are written as they are, and only without loss."""
    tokenizer = save_tiny(tmp_path / "labels.safetensors", kind="segmentation", in_channels=5, out_channels=5)
    codes = random_codes(4)
    np.save(tmp_path / "codes.npy", codes)
    assert decode(vqgan, tokenizer, "codes.npy", "-o", "out").code == 0
    exact = tokenizer.module.decode(torch.from_numpy(codes.astype(np.int64)))
    for index in range(4):
        assert (read(tmp_path / "out" / f"{index:06d}.png") == exact[index].numpy()).all()
    done = decode(vqgan, tokenizer, "codes.npy", "-o", "lossy", "--format", "jpg")
    assert done.code == 2
    assert "segmentation maps are written as png" in done.err
    # On a contact sheet each class has its colour.
    assert decode(vqgan, tokenizer, "codes.npy", "-o", "sheet.png", "--grid").code == 0
    cell = read(tmp_path / "sheet.png")[:32, :32].reshape(-1, 3)
    pairs = {(int(label), *colour.tolist()) for label, colour in zip(exact[0].flatten(), cell, strict=True)}
    assert len(pairs) == len(exact[0].unique()) == len({pair[1:] for pair in pairs}) > 1
