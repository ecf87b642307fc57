"""``vqgan encode``: which codes, under which names, whatever the files are and whatever stops it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.bad_images import OK, write_bad_images
from tests.recipes.conftest import Done, SavedTokenizer, Vqgan, save_tiny
from vqgan_cli.core.data.codes import open_codes

Pixels = np.ndarray[Any, np.dtype[Any]]


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth colours and some noise, so that neighbouring cells have different codes."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))


def cropped(image: Image.Image, height: int = 32, width: int = 32) -> tuple[Pixels, tuple[int, int]]:
    """What the documentation says of the default: resized until it just covers, and the centre cut out."""
    scale = max(height / image.height, width / image.width)
    resized = round(image.height * scale), round(image.width * scale)
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    image = image.resize((resized[1], resized[0]), resample)
    top, left = (resized[0] - height) // 2, (resized[1] - width) // 2
    return np.asarray(image.crop((left, top, left + width, top + height))), resized


def module_input(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def assert_nearest(tokenizer: SavedTokenizer, codes: Pixels, images: torch.Tensor) -> None:
    """Every code is that of the codebook row nearest to the encoder's vector, up to rounding.

    Oracle: the definition of a code, with all distances computed in float64.
    """
    vectors = tokenizer.module.features(images)[0].flatten(1).T.double()  # [h * w, D]
    codebook = tokenizer.module.quantizer.embedding.weight.double()  # type: ignore[union-attr]
    distances = torch.cdist(vectors, codebook)
    chosen = distances.gather(1, torch.from_numpy(codes.reshape(-1, 1).astype(np.int64)))[:, 0]
    assert (chosen - distances.min(1).values).max() < 1e-5
    assert len(np.unique(codes)) > 20  # else nearly everything would be right


def encode(vqgan: Vqgan, tiny: SavedTokenizer, source: Path | str, *arguments: str | Path) -> Done:
    return vqgan("encode", source, "--ae", tiny.path, "--device", "cpu", *arguments)


def files(target: Path) -> tuple[bytes, bytes]:
    return target.read_bytes(), target.with_suffix(".json").read_bytes()


def test_codes_are_those_of_the_module(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Folders as classes, odd names, several formats and sizes. Oracle: the module on pixels prepared by Pillow."""
    originals = {
        "a2/blank space.png": picture(48, 64, 1),
        "a2/ümläut 日本.bmp": picture(33, 32, 2),
        "a10/new\nline.tiff": picture(100, 40, 3),
        "a10/small.webp": picture(20, 24, 4),
        "a10/sub/square.png": picture(64, 64, 5),
    }
    for name, image in originals.items():
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, **({"lossless": True} if file.suffix == ".webp" else {}))

    done = encode(vqgan, tiny, "photos")
    assert (done.code, done.out) == (0, "codes.npy\n")
    assert "5 images of photos, resized and centre-cropped to 32x32 (height x width)" in done.err

    codes = open_codes(tmp_path / "codes.npy")
    codes.validate()
    stored = np.load(tmp_path / "codes.npy")
    assert (stored.shape, stored.dtype) == ((5, 16, 16), np.uint16)
    assert codes.metadata is not None
    assert codes.metadata.classes == ("a2", "a10")
    assert (codes.metadata.sizing, codes.metadata.size) == ("crop", (32, 32))
    assert (codes.metadata.codebook_size, codes.metadata.downsampling) == (300, 2)
    assert codes.names == list(originals)
    assert codes.labels.tolist() == [0, 0, 1, 1, 1]
    for index, image in enumerate(originals.values()):
        pixels, resized = cropped(image)
        assert codes.images[index].size == (image.height, image.width)
        assert codes.images[index].resized == resized
        assert_nearest(tiny, stored[index], module_input(pixels))


def test_native_sizes(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Each side goes to the nearest multiple of f. Oracle: the module on pixels resized by Pillow."""
    (tmp_path / "photos").mkdir()
    sizes = [(24, 30), (25, 31), (40, 16)]  # height, width; the sides of the second are between two multiples
    originals = [picture(height, width, height) for height, width in sizes]
    for number, image in enumerate(originals):
        image.save(tmp_path / "photos" / f"{number}.png")
    assert encode(vqgan, tiny, "photos", "--native").code == 0

    codes = open_codes(tmp_path / "codes.npy")
    assert np.load(tmp_path / "codes.npy").ndim == 1
    assert [image.size for image in codes.images] == sizes
    assert [image.resized for image in codes.images] == [(24, 30), (24, 32), (40, 16)]
    for index, image in enumerate(originals):
        height, width = codes.images[index].resized or (0, 0)
        assert codes.images[index].grid == (height // 2, width // 2)
        resized = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
        assert_nearest(tiny, codes.grid(index), module_input(resized))


def test_size(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Height before width. Oracle: the module on pixels prepared by Pillow."""
    picture(80, 90).save(tmp_path / "photo.png")
    done = encode(vqgan, tiny, "photo.png", "--size", "32x64")
    assert "32x64 (height x width)" in done.err
    codes = open_codes(tmp_path / "codes.npy")
    assert codes.shape == (16, 32)
    assert_nearest(tiny, codes.grid(0), module_input(cropped(picture(80, 90), 32, 64)[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "33x64"), "the nearest sizes (height x width) are 32x64 and 34x64"),
        (("--size", "63"), "the nearest sizes (height x width) are 62x62 and 64x64"),
        (("--size", "1x4"), "is not a multiple of this tokenizer's f = 2"),
        (("--size", "large"), "'large' is no size"),
        (("--size", "0x64"), "'0x64' is no size"),
        (("--size", "32", "--native"), "--size and --native exclude each other"),
        (("--device", "gpu"), "unknown device 'gpu'"),
        (("--batch-size", "0"), "--batch-size"),
        (("-o", "codes"), "-o codes.npy"),
    ],
)
def test_wrong_usage(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    picture(40, 40).save(tmp_path / "photo.png")
    done = encode(vqgan, tiny, "photo.png", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "codes.npy").exists()


def test_large_jpeg_keeps_its_detail_in_a_wide_crop(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    """A JPEG may be read reduced, but to no less than the crop needs. Oracle: the same picture without reduction."""
    detail = np.random.default_rng(0).normal(128, 30, (160, 160, 3)).clip(0, 255).astype(np.uint8)
    large = Image.fromarray(detail).resize((640, 640), Image.Resampling.BICUBIC)
    large.save(tmp_path / "photo.jpg", quality=100, subsampling=0)
    with Image.open(tmp_path / "photo.jpg") as whole:
        whole.save(tmp_path / "photo.png")
    encode(vqgan, tiny, "photo.jpg", "--size", "16x160", "-o", "jpg.npy")
    encode(vqgan, tiny, "photo.png", "--size", "16x160", "-o", "png.npy")
    same = np.load(tmp_path / "jpg.npy") == np.load(tmp_path / "png.npy")
    assert same.mean() > 0.7  # 0.05 where the reduced picture is smaller than the crop


@pytest.mark.fault(19, "encode")
@pytest.mark.fault(20, "encode")
@pytest.mark.fault(31, "encode")
def test_bad_files_are_named_and_the_rest_is_encoded(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    expected = write_bad_images(tmp_path / "photos")
    done = encode(vqgan, tiny, "photos", "--json")
    assert done.code == 3
    bad = {name: reason for name, reason in expected.items() if reason != OK}
    result = json.loads(done.out)
    assert result["images"] == len(expected) - len(bad)
    assert {failure["name"] for failure in result["failed"]} == bad.keys()
    for failure in result["failed"]:
        assert bad[failure["name"]] in failure["reason"]
        assert f"skipped {failure['name']!r}" in done.err
    assert f"{len(bad)} of {len(expected)} images could not be encoded" in done.err

    codes = open_codes(tmp_path / "codes.npy")
    codes.validate()
    assert set(codes.names) == expected.keys() - bad.keys()
    assert {(failure.name, failure.reason) for failure in codes.failed} == {
        (failure["name"], failure["reason"]) for failure in result["failed"]
    }
    # One picture in several guises.
    grids = {name: codes.grid(index) for index, name in enumerate(codes.names)}
    for twin in ("link.png", "new\nline.png", "alpha.webp", "with space, ümläut and 日本.png"):
        assert (grids[twin] == grids["whole.png"]).all()


def test_only_bad_files(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("no picture")
    done = encode(vqgan, tiny, "*.jpg")
    assert (done.code, done.out) == (1, "")
    assert "none of the 3 images could be encoded" in done.err
    assert "'0.jpg'" in done.err
    assert not (tmp_path / "codes.npy").exists()


@pytest.mark.fault(21, "encode")
def test_orientation(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: how a file turns a picture does not change its codes; sizes are those of the upright picture."""
    upright = picture(40, 60)
    upright.save(tmp_path / "1.png")
    stored = {  # EXIF orientation -> the transposition that undoes itself in a viewer
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, transposition in stored.items():
        exif = Image.Exif()
        exif[274] = orientation
        upright.transpose(transposition).save(tmp_path / f"{orientation}.png", exif=exif)
    assert encode(vqgan, tiny, "?.png").code == 0
    codes = open_codes(tmp_path / "codes.npy")
    assert {image.size for image in codes.images} == {(40, 60)}
    for index in range(1, 8):
        assert (codes.grid(index) == codes.grid(0)).all()


@pytest.mark.fault(22, "encode")
def test_transparency_and_depth(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: transparent is as white, and 16 bits are as the 8 bits that they scale to."""
    colours = picture(40, 40)
    hole = Image.new("L", colours.size, 255)
    hole.paste(0, (5, 5, 25, 30))
    transparent = colours.copy()
    transparent.putalpha(hole)
    transparent.save(tmp_path / "1 transparent.png")
    colours.paste((255, 255, 255), (5, 5, 25, 30))
    colours.save(tmp_path / "2 white.png")
    gray = np.asarray(picture(40, 40).convert("L"))
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "3 deep.png")
    Image.fromarray(gray).convert("RGB").save(tmp_path / "4 gray.png")
    assert encode(vqgan, tiny, "*.png").code == 0
    codes = np.load(tmp_path / "codes.npy")
    assert (codes[0] == codes[1]).all()
    assert (codes[2] == codes[3]).all()
    assert (codes[0] != codes[2]).any()


def test_names_that_are_not_utf8(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "photos") + b"/caf\xe9"
    try:
        os.makedirs(folder)  # noqa: PTH103 - a Path holds no bytes
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    picture(40, 40).save(os.fsdecode(folder + b"/\xff.png"))
    assert encode(vqgan, tiny, "photos").code == 0
    codes = open_codes(tmp_path / "codes.npy")
    assert codes.metadata is not None
    assert (codes.names, codes.metadata.classes) == ([r"caf\xe9/\xff.png"], (r"caf\xe9",))


def test_existing_codes_are_replaced_only_with_force(
    tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    picture(40, 40, 1).save(tmp_path / "one.png")
    picture(40, 40, 2).save(tmp_path / "two.png")
    encode(vqgan, tiny, "one.png")
    first = files(tmp_path / "codes.npy")
    done = encode(vqgan, tiny, "two.png")
    assert done.code == 1
    assert "'codes.npy' exists" in done.err
    assert "--force" in done.err
    assert files(tmp_path / "codes.npy") == first
    assert encode(vqgan, tiny, "two.png", "--force").code == 0
    assert open_codes(tmp_path / "codes.npy").names == ["two.png"]


def test_unwritable_output_fails_before_any_work(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = encode(vqgan, tiny, "no-such-folder", "-o", "file/codes.npy")
    assert done.code == 1
    assert "cannot write to 'file'" in done.err  # and not that there are no images


def test_images_that_are_not_there(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    done = encode(vqgan, tiny, "photo")
    assert done.code == 1
    assert "did you mean 'photos'" in done.err
    assert "no images in folder 'photos'" in encode(vqgan, tiny, "photos").err


def test_newest_tokenizer_is_the_default(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    picture(40, 40).save(tmp_path / "photo.png")
    done = vqgan("encode", "photo.png", "--device", "cpu")
    assert done.code == 1
    assert "no trained tokenizer under 'runs'" in done.err
    assert "vqgan train-ae --preset demo" in done.err

    (tmp_path / "runs" / "mine").mkdir(parents=True)
    shutil.copy(tiny.path, tmp_path / "runs" / "mine")
    done = vqgan("encode", "photo.png", "--device", "cpu")
    assert done.code == 0
    assert "no --ae given: taking the newest tokenizer, runs/mine/model.safetensors" in done.err


def test_stdout_is_data(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    picture(40, 40).save(tmp_path / "photo.png")
    done = encode(vqgan, tiny, "photo.png", "--json")
    assert json.loads(done.out) == {
        "codes": "codes.npy", "images": 1, "tokenizer": str(tiny.path), "failed": [],
    }  # fmt: skip
    done = encode(vqgan, tiny, "photo.png", "--quiet", "-o", "again.npy")
    assert done == (0, "again.npy\n", "")
    done = encode(vqgan, tiny, "photo.png", "--quiet", "-o", "again.npy")
    assert done.err.startswith("error: ")


def test_limit(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    assert encode(vqgan, tiny, "synthetic:faces", "--limit", "3").code == 0
    codes = open_codes(tmp_path / "codes.npy")
    assert codes.names == ["faces-000000", "faces-000001", "faces-000002"]
    assert codes.metadata is not None
    assert len(codes.metadata.classes) > codes.labels.max() >= 0


def test_reduced_precision_changes_few_codes(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: only vectors near the border of two cells change theirs; the quantizer itself stays in float32."""
    picture(64, 64).save(tmp_path / "photo.png")
    encode(vqgan, tiny, "photo.png")
    encode(vqgan, tiny, "photo.png", "--precision", "bf16", "-o", "bf16.npy")
    same = np.load(tmp_path / "codes.npy") == np.load(tmp_path / "bf16.npy")
    assert 0.5 < same.mean() < 1
    assert open_codes(tmp_path / "bf16.npy").metadata.precision == "bf16"  # type: ignore[union-attr]


def test_label_maps(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the module on one-hot maps. A label that the tokenizer does not know makes a bad file."""
    tokenizer = save_tiny(tmp_path / "labels.safetensors", kind="segmentation", in_channels=5, out_channels=5)
    labels = np.random.default_rng(0).integers(0, 5, (32, 32), dtype=np.uint8)
    (tmp_path / "maps").mkdir()
    Image.fromarray(labels).save(tmp_path / "maps" / "good.png")
    Image.fromarray(labels + 1).save(tmp_path / "maps" / "beyond.png")
    done = encode(vqgan, tokenizer, "maps")
    assert done.code == 3
    assert "'beyond.png': has label 5; the tokenizer knows 0 to 4" in done.err
    one_hot = torch.eye(5)[torch.from_numpy(labels.astype(np.int64))].permute(2, 0, 1)[None]
    assert_nearest(tokenizer, open_codes(tmp_path / "codes.npy").grid(0), one_hot)
