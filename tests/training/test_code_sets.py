"""Views of an image that are encoded, and where the codes of many images are."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqgan_cli.core.data.codes_format import CodesDescription, CodesMetadata, ImageRecord, checksum
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.sampler import SeededBatchSampler
from vqgan_cli.core.errors import DataError
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.presets import resolve
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.code_batches import code_batches
from vqgan_cli.core.training.code_sets import Augmentation, CodeSet, cached_codes, read_codes, views
from vqgan_cli.core.training.stopping import StopRequest

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_flip_mirrors_the_centre() -> None:
    """Oracle: the crop written out."""
    centre = IMAGE[:, 10:50]
    only = views(IMAGE, 40, "none")
    assert len(only) == 1
    assert np.array_equal(only[0][0], centre)
    assert np.array_equal(views(IMAGE, 40, "flip")[1][0], centre[:, ::-1])


@pytest.mark.parametrize("image", [IMAGE, IMAGE[:, :40]])
def test_ten_crops(image: np.ndarray) -> None:
    """Invariant: ten different squares; the second five mirror the first."""
    found = [square for square, _ in views(image, 20, "ten-crop")]
    assert len(found) == 10
    assert {view.shape for view in found} == {(20, 20, 3)}
    assert all(np.array_equal(a[:, ::-1], b) for a, b in zip(found[:5], found[5:], strict=True))
    assert len({view.tobytes() for view in found}) == 10


@pytest.mark.parametrize("augmentation", ["none", "flip", "ten-crop"])
def test_a_map_is_cut_and_mirrored_as_its_picture(augmentation: Augmentation) -> None:
    """Invariant: of a map that is the picture itself, every square is that of the picture."""
    found = views(IMAGE, 20, augmentation, IMAGE)
    assert all(of_map is not None and np.array_equal(square, of_map) for square, of_map in found)


def test_a_map_of_another_size_is_brought_to_that_of_its_picture() -> None:
    """Oracle: a label map at a third of the size, of two halves; the middle of the picture is their border."""
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 15:] = 1
    [(_, of_map)] = views(IMAGE, 40, "none", labels)
    assert of_map is not None
    assert np.array_equal(of_map, np.repeat([[0, 1]], 40, axis=0).repeat(20, axis=1))


def test_a_map_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match="its map is 40x40"):
        views(IMAGE, 20, "none", np.zeros((40, 40), np.uint8))


def test_crops_know_where_they_come_from() -> None:
    """Closed form: five crops of a picture of twice their size, of a map that counts its pixels."""
    places = np.arange(40 * 60).reshape(40, 60)
    found = [of_map for _, of_map in views(IMAGE, 20, "ten-crop", places, side=40)]
    corners = [(0, 0), (0, 40), (20, 0), (20, 40), (10, 20)]
    for (top, left), of_map in zip(corners, found[:5], strict=True):
        assert of_map is not None
        assert np.array_equal(of_map, places[top : top + 20, left : left + 20])


def write_codes(path: Path, count: int) -> np.ndarray:
    """A codes file of random grids of 8x8 codes, and what is in it."""
    codes = np.random.default_rng(0).integers(0, 1024, (count, 8, 8), np.uint16)
    np.save(path, codes)
    images = [
        ImageRecord(name=f"{number}.png", grid=(8, 8), label=number % 10, crc32=checksum(grid, 1024))
        for number, grid in enumerate(codes)
    ]
    metadata = CodesMetadata(
        codebook_size=1024, downsampling=16, fingerprint="f", classes=tuple("0123456789")
    )
    description = CodesDescription(metadata=metadata, images=images)
    path.with_suffix(".json").write_text(description.model_dump_json())
    return codes


def test_codes_of_many_images_stay_in_their_file(tmp_path: Path) -> None:
    """Memory: an image takes a label and a position, 16 bytes, of a part of a part too; its 128 bytes of codes none.

    Oracle of the batches: the array of the file, and the order of the sampler.
    """
    count = 20_000
    codes = write_codes(tmp_path / "codes.npy", count)
    everything = read_codes(tmp_path / "codes.npy", "f", 1024)
    chosen = np.random.default_rng(1).permutation(count)[: count - 100]
    tracemalloc.start()
    try:
        part = everything.part(chosen).part(np.arange(50, len(chosen)))
        batches = code_batches(part, SeededBatchSampler(len(part), 16, seed=3), seed=3)
        found = list(itertools.islice(batches, 5))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Two parts, indices on their way between them, and the permutation of an epoch.
    assert held < 6 * 8 * count < codes.nbytes / 2
    sampler = iter(SeededBatchSampler(len(part), 16, seed=3))
    for batch in found:
        rows = chosen[50:][[position for _, position in next(sampler)]]
        assert np.array_equal(batch.codes.numpy(), codes[rows])
        assert batch.condition[:, 0].tolist() == (rows % 10).tolist()


def test_a_part_has_the_maps_of_its_images() -> None:
    """Closed form: codes that count the cells; those of maps are their negatives."""
    codes = np.arange(6 * 2 * 4).reshape(6, 2, 2, 2)
    whole = CodeSet(codes, np.arange(6), condition=-codes)
    part = whole.part(np.array([5, 1, 3])).part(np.array([0, 2]))
    assert (len(part), part.labels.tolist()) == (2, [5, 3])
    grids, of_maps = part.read(np.array([1, 0]), np.array([0, 1]))
    assert of_maps is not None
    assert grids.tolist() == [codes[3, 0].tolist(), codes[5, 1].tolist()]
    assert np.array_equal(of_maps, -grids)


@pytest.mark.parametrize(("augmentation", "side"), [("none", 128), ("flip", 128), ("ten-crop", 256)])
def test_jpegs_are_decoded_at_twice_what_is_needed_at_least(
    augmentation: Augmentation,
    side: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closed form: of 1024 pixels a side an eighth is enough for squares of 64, and no longer for ten crops of them,
    which are cut out of 70.
    """
    monkeypatch.setenv("VQGAN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (1024, 1024), "gray").save(tmp_path / "photos/0.jpg")
    source = open_source(str(tmp_path / "photos"))
    read, sides = source.read, list[int]()

    def noted(index: int, min_side: int | None = None) -> np.ndarray:
        image = read(index, min_side)
        sides.append(image.shape[0])
        return image

    monkeypatch.setattr(source, "read", noted)
    small = ["tokenizer.channels=32", "tokenizer.channel_multipliers=[1,1]", "tokenizer.z_channels=8"]
    config = resolve("demo", small)
    with StopRequest() as stop:
        cached_codes(
            source, [0], Tokenizer(config.tokenizer).eval(), "f", size=64, augmentation=augmentation,
            labels=[0], classes=(), stop=stop, reporter=Reporter(),
        )  # fmt: skip
    assert sides == [side]
