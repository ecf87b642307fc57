"""Which settings suit which data."""

from __future__ import annotations

import dataclasses

import pytest

from vqgan_cli.core.planning.choosing import choose
from vqgan_cli.core.planning.looking import DataFacts
from vqgan_cli.core.presets import preset_names

PHOTOS = DataFacts("photos", 5000, 500, [], (300, 512, 900), [((512, 600), 1.0)], 0.0)
CLASSES = {f"class {number}": 500 for number in range(10)}


def photos(**changes: object) -> DataFacts:
    return dataclasses.replace(PHOTOS, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "gpu", "preset"),
    [
        (photos(), False, "demo"),
        (photos(maps=("depth",)), False, "demo"),
        (photos(), True, "faces"),
        (photos(images=1_300_000), True, "modern-f16"),
        (photos(maps=("segmentation",), labels=12), True, "streets"),
        (photos(maps=("depth",)), True, "depth"),
    ],
)
def test_preset(data: DataFacts, gpu: bool, preset: str) -> None:
    """Oracle: what the presets say that they were written for."""
    assert choose(data, gpu=gpu).preset == preset


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("short", [8, 28, 32, 100, 180, 512])
@pytest.mark.parametrize("images", [20, 5000, 1_300_000])
def test_whatever_the_data_the_experiment_is_one(preset: str, short: int, images: int) -> None:
    """Invariant: the settings fit the preset, no image is enlarged, a picture has 8x8 codes if it has the pixels, and
    each code is seen 50 times a pass unless there are as few as 64.
    """
    data = photos(images=images, short_side=(short, short, short), maps=("segmentation",), labels=30)
    choice = choose(data, gpu=True, preset=preset)
    config = choice.config(data)
    grid = config.data.size // config.tokenizer.downsampling
    assert config.data.size <= short
    assert grid >= 8
    assert config.tokenizer.codebook_size <= max(64, images * grid**2 // 50)
    if preset in ("streets", "landscapes"):
        stage = config.condition.first_stage
        assert stage is not None
        assert stage.tokenizer.in_channels >= 30


def test_settings_and_reasons() -> None:
    """Oracle: small images by the settings that the measurements on CIFAR-10 were made with."""
    small = photos(images=6000, short_side=(32, 32, 32), classes=CLASSES)
    choice = choose(small, gpu=False)
    assert sorted(choice.settings) == [
        "data.size=32",
        "tokenizer.attention_resolutions=[8]",
        "tokenizer.channel_multipliers=[1,2,4]",
        "tokenizer.resolution=32",
    ]
    assert "at most 32 pixels" in "; ".join(choice.reasons)
    assert choose(PHOTOS, gpu=False).settings == ["condition.kind=none"]
    assert choose(photos(classes=CLASSES), gpu=True).settings == ["condition.kind=class"]
    assert choose(photos(classes=dict.fromkeys(map(str, range(1000)), 5)), gpu=True).settings == []
    assert "gray" in choose(photos(gray_share=1.0), gpu=True).reasons[-1]
