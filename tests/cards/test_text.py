"""The text of a card, for names that mean something to Markdown, HTML or YAML, or that should stay private."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.fuzz.tiny_models import CONFIG
from vqgan_cli.core.artifacts import save_tokenizer, save_transformer
from vqgan_cli.core.cards.text import card_text
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.model_info import read_model_info
from vqgan_cli.core.models.priors import PriorSpec, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer


def card(tmp_path: Path, **provenance: Any) -> str:
    config = ExperimentConfig.model_validate(CONFIG)
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_tokenizer(path, Tokenizer(config.tokenizer).state_dict(), config, {"step": 1, **provenance})
    return card_text(read_model_info(path))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("/home/ann/photos", "photos"),
        ("/home/ann/photos/", "photos"),
        ("photos", "photos"),
        ("../secret/cats and dogs", "cats and dogs"),
        ("/home/ann/photos/**/*.jpg", "photos/\\*\\*/\\*.jpg"),
        ("*.png", "\\*.png"),
        ("/home/ann/*/photos/*.jpg", "ann/\\*/photos/\\*.jpg"),
        ("synthetic:faces", "synthetic:faces"),
        ("/data/a|b `x` <script>_y_", "a\\|b \\`x\\` &lt;script&gt;\\_y\\_"),
        ("/data/two\nlines", "two lines"),
        ("", "unknown data"),
        ("/", "unknown data"),
        (".", "unknown data"),
    ],
)
def test_data_is_named_by_its_folder(tmp_path: Path, data: str, shown: str) -> None:
    assert f"| data | {shown} |\n" in card(tmp_path, data=data)


def test_facts_that_are_missing_are_left_out(tmp_path: Path) -> None:
    text = card(tmp_path, validation={"psnr": None, "loss": float("nan"), "new figure": 0.25})
    assert "| images | 8x8 pixels" in text
    assert "PSNR" not in text
    assert "| new figure | 0.25 |" in text
    assert "held-out images of unknown data" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("kind", "maps", "words"),
    [
        (
            "edges",
            "own",
            ["by edges maps", "image-to-image", "| condition | edges maps, read", "--condition maps/"],
        ),
        (
            "coordinates",
            "none",
            ["by coordinates:", "pipeline_tag: uncond", "| condition | coordinates, codes"],
        ),
    ],
)
def test_only_maps_that_somebody_gives_are_asked_for(
    tmp_path: Path, kind: str, maps: str, words: list[str]
) -> None:
    """Coordinates are maps by their kind, but follow from the size of the image."""
    condition = {"kind": kind, "tokenizer": maps}
    config = ExperimentConfig.model_validate({**CONFIG, "condition": condition})
    spec = PriorSpec(8, (4, 4), "codes", 8)
    prior = build_prior(config.transformer, spec)
    path = tmp_path / "model.safetensors"
    states = prior.state_dict(), Tokenizer(config.tokenizer).state_dict()
    save_transformer(path, *states, config, spec, (), {"step": 1})
    text = card_text(read_model_info(path))
    for each in words:
        assert each in text, each
    assert (" --condition " in text) == (kind == "edges")


def test_an_import_of_strange_names_stays_one_table(tmp_path: Path) -> None:
    imported = {
        "file": "a | b\n# c.ckpt", "layout": "x", "sha256": "0" * 64, "licence": "MIT: yes\n- no", "source": "<b>"
    }  # fmt: skip
    text = card(tmp_path, step=None, imported=imported)
    assert yaml.safe_load(text[4:].partition("\n---\n")[0])["library_name"] == "vqgan"
    assert "| licence | MIT: yes - no |" in text
    assert "| file | a \\| b \\# c.ckpt (x) |" in text
    assert "| source | &lt;b&gt; |" in text


def test_many_classes_are_counted(tmp_path: Path) -> None:
    text = card(tmp_path, classes=[f"class {n}" for n in range(1000)])
    assert "| classes | 1000: class 0; class 1;" in text
    assert "class 19 and 980 more |" in text
