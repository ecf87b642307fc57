"""A photo, its codes, and single codes that are replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.recipes.conftest import Vqgan
from tests.ui.conftest import pixels
from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.interactive.reconstruction import (
    cell_at,
    code_picture,
    difference,
    nearest_codes,
    patches,
    reconstruct,
    save_codes,
    with_code,
)
from vqgan_cli.core.interactive.workbench import Workbench, fitted, read_photo


def test_reconstruction_is_what_the_commands_make(
    tokenizer: Workbench, photo: Path, tmp_path: Path, vqgan: Vqgan
) -> None:
    made = reconstruct(tokenizer, read_photo(tokenizer, photo, 48))
    model = str(tokenizer.info.path)
    assert vqgan("encode", photo, "-o", "theirs.npy", "--ae", model, "--native").code == 0
    assert np.array_equal(open_codes(tmp_path / "theirs.npy").grid(0), made.codes)
    written, _ = save_codes(tokenizer, made, tmp_path, photo.name)
    assert vqgan("decode", written, "-o", "out", "--ae", model).code == 0
    (decoded,) = (tmp_path / "out").rglob("*.png")
    assert np.array_equal(pixels(decoded), made.picture)


def test_one_code_is_replaced_and_the_picture_is_that_of_the_codes(tokenizer: Workbench, photo: Path) -> None:
    made = reconstruct(tokenizer, read_photo(tokenizer, photo, 16))
    other = (int(made.codes[3, 5]) + 150) % 300
    changed = with_code(tokenizer, made, (3, 5), other)
    assert changed.codes[3, 5] == other
    assert np.argwhere(changed.codes != made.codes).tolist() == [[3, 5]]
    assert np.array_equal(changed.own, made.codes)
    again = with_code(tokenizer, changed, (3, 5), int(made.codes[3, 5]))
    assert np.array_equal(again.picture, made.picture)
    oracle = tokenizer.tokenizer.decode(torch.from_numpy(changed.codes[None]))[0].permute(1, 2, 0).numpy()
    assert np.abs((oracle + 1) * 127.5 - changed.picture).max() <= 0.501
    with pytest.raises(UsageError, match="codes 0 to 299"):
        with_code(tokenizer, made, (0, 0), 300)


def test_without_norms_only_pixels_within_reach_change(
    tokenizer: Workbench, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.GroupNorm, "forward", lambda self, x: x)
    made = reconstruct(tokenizer, read_photo(tokenizer, photo, 32))
    changed = with_code(tokenizer, made, (7, 9), (int(made.codes[7, 9]) + 150) % 300)
    rows, columns = np.nonzero((changed.picture != made.picture).any(-1))
    # f = 2: of the decoder's 3x3 convolutions, 5 see cells and 6 pixels, so it reaches 5 * 2 + 6 pixels at most.
    assert len(rows)
    assert 14 - 16 <= rows.min() <= rows.max() <= 15 + 16
    assert 18 - 16 <= columns.min() <= columns.max() <= 19 + 16


def test_nearest_codes_by_distance(tokenizer: Workbench) -> None:
    vectors = tokenizer.tokenizer.quantizer.embedding.weight.numpy()  # type: ignore[union-attr]
    distances = np.square(vectors - vectors[17]).sum(1)
    assert nearest_codes(tokenizer, 17, 5) == np.argsort(distances)[:5].tolist()


def test_patches_show_the_cell_among_its_neighbours(tokenizer: Workbench, photo: Path) -> None:
    made = reconstruct(tokenizer, read_photo(tokenizer, photo, 16))
    shown = patches(tokenizer, made.codes, (0, 4), [1, 2])
    assert [each.shape for each in shown] == [(4, 6, 3)] * 2
    assert not np.array_equal(*shown)
    whole = patches(tokenizer, made.codes[:4, :4], (1, 1), [int(made.codes[1, 1])])
    small = tokenizer.tokenizer.decode(torch.from_numpy(made.codes[None, :4, :4]))[0, :, :6, :6]
    assert np.abs((small.permute(1, 2, 0).numpy() + 1) * 127.5 - whole[0]).max() <= 0.501


@pytest.mark.parametrize(
    ("point", "cell"), [((0, 0), (0, 0)), ((63, 31), (3, 7)), ((8, 0), (0, 1)), ((64, 40), (3, 7))]
)
def test_cell_under_a_point(point: tuple[int, int], cell: tuple[int, int]) -> None:
    assert cell_at(point, (32, 64, 3), (4, 8)) == cell


def test_pictures_of_codes_and_differences() -> None:
    codes = np.array([[0, 1], [1, 0]])
    picture = code_picture(codes, 40, (1, 0))
    assert picture.shape == (40, 40, 3)
    assert picture[10, 10].tolist() == picture[30, 30].tolist() != picture[10, 30].tolist()
    assert picture[20, 0].tolist() == [0, 0, 0]
    one, two = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 90, np.uint8)
    assert difference(one, two, 4).tolist() == [[[40] * 3] * 2] * 2
    assert difference(two, one, 100).max() == 255


def test_photos_are_fitted_or_refused(tokenizer: Workbench, tmp_path: Path) -> None:
    assert fitted(np.zeros((30, 61, 3), np.uint8), 16, 2).shape == (16, 32, 3)
    with pytest.raises(UsageError, match="million pixels"):
        fitted(np.zeros((10, 300, 3), np.uint8), 512, 2)
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="no image"):
        read_photo(tokenizer, tmp_path / "no.png", 16)
