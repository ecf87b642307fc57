from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.bad_images import OK, write_bad_images
from vqgan_cli.core.config import DataConfig
from vqgan_cli.core.data import transforms
from vqgan_cli.core.data.dataset import ImageDataset, make_loader
from vqgan_cli.core.data.failures import ReadFailures
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.sampler import SeededBatchSampler, sequential_batches
from vqgan_cli.core.data.sources import ImageSource
from vqgan_cli.core.errors import DataError


def config(**options: Any) -> DataConfig:
    return DataConfig(**{"size": 16, "cache": "none", "workers": 0, **options})


@pytest.fixture
def photos(tmp_path: Path) -> ImageSource:
    """Six noise pictures of several shapes in two classes."""
    generator = np.random.default_rng(5)
    for number, shape in enumerate([(20, 40), (50, 30), (16, 16), (33, 47), (9, 12), (64, 64)]):
        folder = tmp_path / "photos" / ("odd" if number % 2 else "even")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
    return open_source(str(tmp_path / "photos"))


def batches(
    source: ImageSource, options: DataConfig, workers: int, count: int = 8, start: int = 0
) -> list[Any]:
    dataset = ImageDataset(source, options, train=True, seed=1)
    sampler = SeededBatchSampler(len(dataset), 4, seed=2, start=start)
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forking a process with threads, which torch does on Linux.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        return list(islice(make_loader(dataset, sampler, workers=workers), count))


def assert_same(left: list[Any], right: list[Any]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["index"], b["index"])
        assert torch.equal(a["label"], b["label"])
        assert torch.equal(a["ok"], b["ok"])


@pytest.mark.parametrize("crop", ["center", "random", "random-resized"])
def test_batches_do_not_depend_on_workers_cache_or_resume(photos: ImageSource, crop: str) -> None:
    """Oracle: the batches of a single process without cache that was not interrupted."""
    plain = batches(photos, config(crop=crop), workers=0)
    assert plain[0]["image"].shape == (4, 3, 16, 16)
    assert plain[0]["image"].dtype == torch.uint8
    assert_same(batches(photos, config(crop=crop), workers=2), plain)
    assert_same(batches(photos, config(crop=crop, cache="ram"), workers=2), plain)
    assert_same(batches(photos, config(crop=crop), workers=0, count=5, start=12), plain[3:])


def test_augmentation_changes_with_the_epoch_and_the_seed(photos: ImageSource) -> None:
    dataset = ImageDataset(photos, config(crop="random"), train=True, seed=1)
    other = ImageDataset(photos, config(crop="random"), train=True, seed=2)
    wide = photos.key(0)
    assert wide == "even/0.png"
    views = {dataset[epoch, 0]["image"].numpy().tobytes() for epoch in range(8)}
    assert len(views) > 4
    assert views != {other[epoch, 0]["image"].numpy().tobytes() for epoch in range(8)}


def test_validation_takes_the_centre_in_every_epoch(photos: ImageSource) -> None:
    dataset = ImageDataset(photos, config(flip=1.0), train=False)
    item = dataset[0, 0]
    expected = transforms.center_crop(transforms.resize_short_side(photos.read(0), 16), 16)
    np.testing.assert_array_equal(item["image"].permute(1, 2, 0).numpy(), expected)
    assert torch.equal(dataset[3, 0]["image"], item["image"])
    assert [dataset[0, position]["label"] for position in range(6)] == [0, 0, 0, 1, 1, 1]


def test_a_part_of_a_source(photos: ImageSource) -> None:
    dataset = ImageDataset(photos, config(), indices=[4, 1], train=False)
    assert len(dataset) == 2
    assert [dataset[0, position]["index"] for position in range(2)] == [4, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_are_replaced_and_reported(tmp_path: Path, workers: int) -> None:
    expected = write_bad_images(tmp_path)
    source = open_source(str(tmp_path))
    dataset = ImageDataset(source, config(), train=True)
    failures = ReadFailures()
    for batch in make_loader(dataset, sequential_batches(len(dataset), 4), workers=workers):
        for path, reason in batch["failed"]:
            failures.add(path, reason)
        for index in batch["index"].tolist():
            assert expected[source.key(index)] == OK
    assert {Path(path).name for path, _ in failures} == {
        name for name, is_ok in expected.items() if is_ok != OK
    }


def test_the_next_good_image_takes_the_place_of_a_bad_one(tmp_path: Path) -> None:
    for name, pixels in {"a": 1, "b": None, "c": None, "d": 4, "e": None}.items():
        if pixels is None:
            (tmp_path / f"{name}.png").touch()
        else:
            Image.new("RGB", (16, 16), (pixels,) * 3).save(tmp_path / f"{name}.png")
    dataset = ImageDataset(open_source(str(tmp_path)), config(), train=True)
    items = [dataset[0, position] for position in range(5)]
    assert [item["index"] for item in items] == [0, 3, 3, 3, 0]
    assert [item["ok"] for item in items] == [True, False, False, True, False]
    assert [int(item["image"].max()) for item in items] == [1, 4, 4, 4, 1]
    assert items[1]["failed"] == [
        (str(tmp_path / "b.png"), "is empty"),
        (str(tmp_path / "c.png"), "is empty"),
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_bad_files_is_an_error(tmp_path: Path, workers: int) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.png").touch()
    dataset = ImageDataset(open_source(str(tmp_path)), config(), train=True)
    with pytest.raises(DataError, match=r"^none of the 2 images .*a\.png.*is empty$"):
        next(iter(make_loader(dataset, SeededBatchSampler(2, 2, 0, shuffle=False), workers=workers)))


def test_label_maps_are_integers_and_never_blended(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice(np.array([0, 5, 200], np.uint8), (40, 70))
    Image.fromarray(labels).save(tmp_path / "a.png")
    options = config(kind="segmentation", crop="random-resized")
    dataset = ImageDataset(open_source(str(tmp_path), kind="segmentation"), options, train=True)
    for epoch in range(5):
        image = dataset[epoch, 0]["image"]
        assert image.shape == (16, 16)
        assert image.dtype == torch.int64
        assert set(image.unique().tolist()) <= {0, 5, 200}


def test_cache_reads_each_file_once(photos: ImageSource, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = ImageDataset(photos, config(cache="auto"), train=True)
    assert dataset.cached
    first = dataset[0, 3]
    monkeypatch.setattr(type(photos), "read", None)
    assert torch.equal(dataset[0, 3]["image"], first["image"])


def test_auto_caches_what_fits(photos: ImageSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: 3 * side^2 bytes times the mean of long over short side, 6 images."""
    aspects = [40 / 20, 50 / 30, 1, 47 / 33, 12 / 9, 1]
    size = 3 * 16**2 * sum(aspects)
    monkeypatch.setattr("vqgan_cli.core.data.dataset.CACHE_LIMIT", size * 1.001)
    assert ImageDataset(photos, config(cache="auto"), train=True).cached
    monkeypatch.setattr("vqgan_cli.core.data.dataset.CACHE_LIMIT", size * 0.999)
    assert not ImageDataset(photos, config(cache="auto"), train=True).cached
    assert ImageDataset(photos, config(cache="ram"), train=True).cached


def test_loading_leaves_the_global_generator_alone(photos: ImageSource) -> None:
    """Oracle: torch's generator state; a resumed run opens its loader in another step than the first one did."""
    before = torch.get_rng_state()
    batches(photos, config(), workers=0, count=2)
    batches(photos, config(), workers=1, count=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_signals_are_left_to_the_parent(tmp_path: Path) -> None:
    """SIGTERM for the whole group and SIGINT for each process: workers go on, and the parent gets all batches."""
    script = """
        import multiprocessing, signal, sys, time
        from vqgan_cli.core.config import DataConfig
        from vqgan_cli.core.data.dataset import ImageDataset, make_loader
        from vqgan_cli.core.data.sampler import SeededBatchSampler
        from vqgan_cli.core.data.opening import open_source

        dataset = ImageDataset(open_source(sys.argv[1]), DataConfig(size=16, cache="none"), train=True)
        batches = iter(make_loader(dataset, SeededBatchSampler(len(dataset), 2, 0), workers=2))
        next(batches)
        received = set()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: received.add(number))
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        while len(received) < 2:
            time.sleep(0.01)
        for _ in range(20):
            next(batches)
        print("done", flush=True)
    """
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    workers = [int(word) for word in process.stdout.readline().split()]
    assert len(workers) == min(2, os.cpu_count() or 1)
    os.killpg(process.pid, signal.SIGTERM)
    for pid in [*workers, process.pid]:
        os.kill(pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "done\n", "")


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 50), (32, 16)), ((10, 13), (16, 21)), ((16, 40), (16, 40))]
)
def test_resize_short_side(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert transforms.resize_short_side(np.zeros((*shape, 3), np.uint8), 16).shape == (*expected, 3)
    assert transforms.resize_short_side(np.zeros(shape, np.uint16), 16).shape == expected


def test_shrinking_averages() -> None:
    """Oracle: a pattern above the Nyquist limit has only its mean left; picking pixels would alias."""
    checkers = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None].repeat(3, 2)
    small = transforms.resize_short_side(checkers, 16)
    np.testing.assert_allclose(small, 127.5, atol=1.0)


def test_label_maps_take_the_pixel_at_the_centre() -> None:
    """Oracle: an enlarged map repeats each pixel; a third of the size keeps the middle of each three."""
    labels = np.arange(81, dtype=np.uint16).reshape(9, 9)
    large = labels.repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(transforms.resize_short_side(labels, 27), large)
    np.testing.assert_array_equal(transforms.resize_short_side(labels, 3), labels[1::3, 1::3])


def test_random_crops_reach_every_position_and_stay_inside() -> None:
    image = np.indices((6, 9)).transpose(1, 2, 0).astype(np.uint8)
    corners = {
        tuple(transforms.random_crop(image, 4, np.random.default_rng(seed))[0, 0].tolist())
        for seed in range(400)
    }
    assert corners == {(row, column) for row in range(3) for column in range(6)}


def test_random_resized_crops_cover_the_scales() -> None:
    """Oracle: the slope of a ramp grows with the share of the image that a crop covers, 0.5 to 1."""
    ramp = np.linspace(0, 250, 64)[None, :, None].repeat(64, 0).repeat(3, 2).astype(np.uint8)
    spans = []
    for seed in range(200):
        crop = transforms.random_resized_crop(ramp, 32, 0.5, np.random.default_rng(seed)).astype(int)
        spans.append((crop[16, 30, 0] - crop[16, 1, 0]) / (250 * 29 / 31.5))
    assert 0.45 < min(spans) < 0.55
    assert 0.95 < max(spans) < 1.05


def test_flip_has_its_probability() -> None:
    """Oracle: a binomial share, five standard deviations around it."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 0] = 1
    options = config(flip=0.3, crop="center")
    flips = sum(
        int(transforms.augment(image, options, np.random.default_rng(seed))[0, -1, 0]) for seed in range(500)
    )
    assert abs(flips - 150) < 5 * np.sqrt(500 * 0.3 * 0.7)


def test_stored_side() -> None:
    assert transforms.stored_side(config(), train=True) == 16
    assert transforms.stored_side(config(resize=20), train=True) == 20
    resized = config(crop="random-resized", min_scale=0.8)
    assert transforms.stored_side(resized, train=True) == 20
    assert transforms.stored_side(resized, train=False) == 16
