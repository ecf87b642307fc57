"""Files to tensors, and tensors to pictures for notebooks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqgan_cli import Images, VqganError, load_tokenizer, open_codes, read_images, to_images


def test_pictures_are_read_as_encode_reads_them(here: Path) -> None:
    """Oracle: the codes that ``vqgan encode`` made of the same photos."""
    codes = open_codes("codes.npy")
    found = load_tokenizer("runs/my-ae").encode(read_images("photos", size=16))
    assert found.tolist() == [grid.tolist() for grid in codes]
    with pytest.raises(IndexError):
        codes[len(codes)]
    assert (codes[-1] == codes[len(codes) - 1]).all()


def test_tensors_and_pictures_are_the_same_pixels(tmp_path: Path) -> None:
    """Oracle: the pixels that were written, of every value."""
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    Image.fromarray(pixels).save(tmp_path / "all [values].png")
    tensor = read_images(tmp_path / "all [values].png", size=16)
    assert (tensor.shape, tensor.dtype) == ((1, 3, 16, 16), torch.float32)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    np.testing.assert_array_equal(np.asarray(to_images(tensor)[0]), pixels)
    np.testing.assert_array_equal(np.asarray(to_images(tensor[0])[0]), pixels)


def test_several_sources_and_a_limit(here: Path) -> None:
    both = read_images([Path("photos/red"), "photos/blue/0.png"], size=(16, 24))
    assert both.shape == (25, 3, 16, 24)
    assert torch.equal(both[24:], read_images("photos/blue/0.png", size=(16, 24)))
    assert torch.equal(both[:3], read_images("photos/red", size=(16, 24), limit=3))
    assert read_images("synthetic:faces", size=16, limit=2).shape == (2, 3, 16, 16)


def test_label_maps_and_depth_are_shown(here: Path) -> None:
    labels = torch.tensor([[[0, 1], [1, 2]]])
    colours = np.asarray(to_images(labels)[0])
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 3
    depth = torch.tensor([-1.0, 0, 1, 0.5]).view(1, 1, 2, 2)
    assert to_images(depth)[0].getpixel((0, 0)) == 0
    assert to_images(depth)[0].getpixel((0, 1)) == 255


def test_a_notebook_gets_one_png() -> None:
    """Oracle: Pillow reads what Jupyter would show, and finds each picture at its place."""
    images = to_images(torch.stack([torch.full((3, 4, 6), value) for value in (-1.0, 0.0, 1.0)]))
    data = images._repr_png_()
    assert data is not None
    shown = Image.open(io.BytesIO(data))
    assert (shown.format, shown.size) == ("PNG", (14, 10))
    assert [shown.getpixel(place) for place in ((0, 0), (8, 0), (0, 6))] == [(0,) * 3, (128,) * 3, (255,) * 3]
    assert images.grid(columns=3).size == (22, 4)
    assert Images([])._repr_png_() is None
    assert repr(images) == "Images(3 of 4x6)"
    assert repr(images[:2] + Images([Image.new("RGB", (1, 1))])) == "Images(3)"


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (8, 8), (1, 2, 3, 8, 8)])
def test_other_tensors_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(VqganError, match=r"expected pictures, float \[B, 3, H, W\]"):
        to_images(torch.zeros(shape))


def test_what_cannot_be_read_is_named(here: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(VqganError, match=r"bad\.png"):
        read_images([here / "photo.png", tmp_path / "bad.png"], size=16)
    with pytest.raises(VqganError, match="nowhere"):
        read_images("nowhere", size=16)
    with pytest.raises(VqganError, match="limit 0 is below 1"):
        read_images("photos", size=16, limit=0)
    with pytest.raises(VqganError, match="no grid of 0 pictures"):
        Images([]).grid()
