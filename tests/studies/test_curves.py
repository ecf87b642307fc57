"""A run's validations against steps and against time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vqgan_cli.core.errors import DataError
from vqgan_cli.core.presets import dump, resolve
from vqgan_cli.core.studies.curves import Point, at, read_curve


def run_folder(folder: Path, *records: dict[str, float]) -> Path:
    """A run of the demo with these lines in its log: 64 codes of an image, 32 images in a step."""
    (folder / "config.yaml").write_text(dump(resolve("demo")))
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_time_is_that_of_the_steps(tmp_path: Path) -> None:
    """Oracle: by hand; 2,048 codes a step at 1,024 and then 512 codes a second are 2 and then 4 seconds a step."""
    run = run_folder(
        tmp_path,
        {"step": 5, "codes_per_second": 1024, "loss": 5},
        {"step": 10, "codes_per_second": 1024},
        {"step": 10, "validation/loss": 4.5, "validation/accuracy": 0.1},
        {"step": 20, "codes_per_second": 512},
        {"step": 20, "validation/loss": 4.0, "validation/accuracy": 0.2},
    )
    assert read_curve(run, "train_transformer") == [
        Point(10, 20.0, {"loss": 4.5, "accuracy": 0.1}),
        Point(20, 60.0, {"loss": 4.0, "accuracy": 0.2}),
    ]


def test_a_tokenizers_unit_is_the_image(tmp_path: Path) -> None:
    """Oracle: by hand; 8 images a step at 4 images a second."""
    run = run_folder(tmp_path, {"step": 3, "images_per_second": 4}, {"step": 3, "validation/psnr": 20})
    assert read_curve(run, "train_ae") == [Point(3, 6.0, {"psnr": 20.0})]


def test_what_has_no_curve(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no validation"):
        read_curve(run_folder(tmp_path, {"step": 3, "codes_per_second": 4}), "train_transformer")
    with pytest.raises(DataError, match="no line of training at step 3"):
        read_curve(run_folder(tmp_path, {"step": 3, "validation/loss": 4}), "train_transformer")


def test_between_two_validations() -> None:
    """Oracle: a straight line; nothing is guessed beyond its ends."""
    curve = [Point(10, 20.0, {"loss": 4.0}), Point(20, 60.0, {"loss": 3.0}), Point(30, 70.0, {"loss": 2.0})]
    assert [at(curve, "step", step, "loss") for step in (10, 15, 20, 29)] == pytest.approx([4, 3.5, 3, 2.1])
    assert [at(curve, "seconds", s, "loss") for s in (0, 30, 65, 99)] == pytest.approx([4, 3.75, 2.5, 2])
