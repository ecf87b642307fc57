"""``vqgan bench`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_upscale import save_model

TINY = (
    "--set", "data.size=16", "--set", "tokenizer.channels=32", "--set", "tokenizer.channel_multipliers=[1,2]",
    "--set", "tokenizer.res_blocks=1", "--set", "transformer.layers=1", "--set", "transformer.width=32",
    "--set", "train_ae.adversarial.layers=1",
)  # fmt: skip


def test_all(vqgan: Vqgan, tmp_path: Path) -> None:
    """Both ways of every work, a table, figures as JSON, and a plot."""
    done = vqgan("bench", *TINY, "--rounds", "2", "--images", "3", "--size", "16x32", "--sequences", "2",
                 "--json", "--plot", "plot.svg", "--device", "cpu")  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["precision"] == "fp32"
    assert found["limits"]["flops_per_second"] > 0
    rows = {row["name"]: row for row in found["results"]}
    assert [name.split(",")[0] for name in rows] == [
        "encode 16x16", "decode 16x16", "train-ae 16x16", "train-transformer", "sample 64", "sample 64",
        "window 16x32", "window 16x32", "io",
    ]  # fmt: skip
    for name, row in rows.items():
        assert row["ours_per_second"] > 0
        assert row["ratio"] > 0
        assert row["share_of_limit"] > 0
        assert name in done.err
    assert rows["encode 16x16, batch 1"]["agreement"]["equal_codes"] == 1
    assert rows["window 16x32, exact"]["counts"]["codes"] == 128
    assert (tmp_path / "plot.svg").read_text().startswith("<svg")


def test_a_tokenizer_has_no_codes_to_draw(vqgan: Vqgan, tiny: SavedTokenizer) -> None:
    """Asked for by name it is an error; among all it is left out and said."""
    done = vqgan("bench", "sample", "--model", tiny.path, "--device", "cpu")
    assert done.code == 2
    assert "has no transformer" in done.err
    done = vqgan("bench", "--model", tiny.path, "--device", "cpu", "--rounds", "1", "--images", "2", "--json")
    assert done.code == 0, done.err
    assert "sample is left out" in done.err
    names = [row["name"].split()[0] for row in json.loads(done.out)["results"]]
    assert names == ["encode", "decode", "train-ae", "io,"]


def test_model_that_draws_by_maps(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Its condition is as long as the image; both ways take it."""
    model = save_model(tmp_path / "lowres.safetensors", coarse)
    done = vqgan("bench", "sample", "window", "--model", model, "--rounds", "1", "--sequences", "2", "--stride", "1",
                 "--device", "cpu", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert [row["ratio"] > 0 for row in json.loads(done.out)["results"]] == [True, True]


def test_image_that_cannot_be_read(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """By name: what is left out would make the others seem faster."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/torn.png").write_bytes(b"PNG")
    done = vqgan("bench", "io", "--model", tiny.path, "--data", "photos", "--device", "cpu")
    assert done.code == 1
    assert "'torn.png'" in done.err
    assert "images that can be read" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "demo", "--model", "x"), "--preset and --model both say what to measure"),
        (("--set", "data.size=16", "--model", "x"), "a model is as it is"),
        (("window", "--stride", "99", *TINY), "stride 99 is not between 1 and"),
        (("encode", "window", "--size", "11x11", *TINY), "is not a multiple"),
        (("window", "--size", "8x16", *TINY), "no window slides there"),
        (
            ("encode", "train", "--precision", "fp16", "--device", "cpu", *TINY),
            "fp16 does not train on a CPU",
        ),
        (("nothing",), "'nothing' is not one of"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], message: str, vqgan: Vqgan) -> None:
    """Each is a message and code 2, before anything is measured."""
    done = vqgan("bench", *words)
    assert done.code == 2
    assert "calls" not in done.err
    assert message in " ".join(done.err.split())
