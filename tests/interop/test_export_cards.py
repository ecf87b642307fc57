"""The card beside an export. Oracle of its code: the model itself, which gives the same codes and pictures."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from tests.interop import exported_models as models
from vqgan_cli.core.artifacts import load_transformer, read_model_info
from vqgan_cli.core.cards.writing import CARD_FILE
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.interop.writing.source import DESCRIPTION_FILE
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.models.torchvision_compat import import_torchvision
from vqgan_cli.core.recipes.export import ExportOptions, export
from vqgan_cli.core.recipes.import_ import ImportOptions, import_model
from vqgan_cli.core.reporting import Reporter

LABELS: dict[str, Any] = {"kind": "segmentation", "in_channels": 5, "out_channels": 5}
DEPTH: dict[str, Any] = {"kind": "depth", "in_channels": 1, "out_channels": 1}
NEEDED = {"diffusers": "diffusers", "onnx": "onnxruntime", "taming": "taming.models.vqgan"}


def require(target: str) -> None:
    import_torchvision()  # which some of them import
    pytest.importorskip(NEEDED[target], reason=f"{NEEDED[target]} is not installed")
    if target == "onnx":
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")


def exported(model: Path, target: str, out: Path, **options: Any) -> str:
    """The card."""
    export(ExportOptions(model, target, out, **options), Reporter())
    return (out / CARD_FILE).read_text()


def ran(card: str, folder: Path, out: str) -> dict[str, Any]:
    """What the code of a card leaves behind, in a folder with the files that it reads."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / "photo.png")
    Image.fromarray(rng.integers(0, 5, (40, 60), np.uint8)).save(folder / "labels.png")
    found = re.findall(r"```python\n(.*?)\n```", card, flags=re.S)
    assert len(found) == 1
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(compile(found[0].replace("FOLDER", out), CARD_FILE, "exec"), names)
    return names


def as_tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(array)


def require_same(names: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Codes of the file that the code read, and what became of them."""
    images = torch.from_numpy(names["images"])
    expected = tokenizer.encode(images)
    assert torch.equal(as_tensor(names["codes"]), expected)
    shown = tokenizer.decode(expected)
    if tokenizer.makes_labels:
        assert (as_tensor(names["again"]) == shown).double().mean() > 0.99
    else:
        torch.testing.assert_close(as_tensor(names["again"]), shown, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("diffusers", {}),
        ("diffusers", LABELS),
        ("diffusers", DEPTH),
        ("onnx", {}),
        ("onnx", LABELS | {"channel_multipliers": (1, 1), "attention_resolutions": ()}),
        ("taming", {}),
        ("taming", LABELS),
        ("taming", DEPTH),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("kind", "image"),
)
def test_the_code_of_a_card_gives_what_the_model_gives(
    target: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    require(target)
    model = models.save(tmp_path / "it.safetensors", **changes)
    tokenizer = models.source_of(model).tokenizer
    names = ran(exported(model, target, tmp_path / "out"), tmp_path, "out")
    assert names["images"].shape == (1, tokenizer.config.in_channels, 32, 32)
    require_same(names, tokenizer)
    if tokenizer.makes_labels:
        assert (names["images"].sum(1) == 1).all()
        assert len(np.unique(names["images"].argmax(1))) == 5
    elif not changes:  # noise in all its range: the picture was read, and scaled
        assert names["images"].min() < -0.8
        assert names["images"].max() > 0.8
        saved = np.asarray(Image.open(tmp_path / "again.png")).transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(saved, as_tensor(names["again"])[0].numpy(), atol=0.6 / 127.5)


@pytest.mark.parametrize("name", ["class", "unconditional", "segcond"])
def test_the_code_of_a_transformers_card_draws(name: str, shared: Path, tmp_path: Path) -> None:
    """Oracle: the tokenizer of the model, which makes the same pictures of the codes."""
    require("taming")
    import_model(ImportOptions(shared / f"golden/taming/{name}.ckpt", tmp_path / "it"), Reporter())
    card = exported(tmp_path / "it", "taming", tmp_path / "out")
    model = load_transformer(tmp_path / "it")
    torch.manual_seed(0)
    names = ran(card, tmp_path, "out")
    codes = names["codes"].view(1, *model.prior.spec.grid)
    assert len(codes.unique()) > 1
    torch.testing.assert_close(names["again"], model.tokenizer.decode(codes), atol=1e-4, rtol=1e-4)
    assert (
        yaml.safe_load(card[4:].partition("\n---\n")[0])["pipeline_tag"] == "unconditional-image-generation"
    )


def test_a_card_names_all_files_and_where_they_come_from(tmp_path: Path) -> None:
    """Oracle: the folder, and the model file."""
    model = models.save(tmp_path / "it.safetensors")
    card = exported(model, "diffusers", tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert path.name == CARD_FILE or f"| `{path.name}` |" in card
    assert f"| fingerprint of its weights | `{read_model_info(model).fingerprint}` |" in card
    assert yaml.safe_load(card[4:].partition("\n---\n")[0])["library_name"] == "diffusers"
    assert "| codebook | 40 codes, vectors of 8 numbers |" in card
    assert "from 0 to 39" in card
    assert "decode() gives pixels as they come" in card
    assert str(tmp_path) not in card
    assert json.loads((tmp_path / "out" / DESCRIPTION_FILE).read_text())["target"] == "diffusers"
    again = exported(model, "diffusers", tmp_path / "again")
    assert again == card  # nothing in it depends on when or where


def test_a_part_of_a_transformer_claims_no_training_that_is_not_its_own(shared: Path, tmp_path: Path) -> None:
    """Oracle: the fingerprints of both, in the model file."""
    import_model(ImportOptions(shared / "golden/taming/segcond.ckpt", tmp_path / "it"), Reporter())
    info = read_model_info(tmp_path / "it")
    cards = {
        part: exported(tmp_path / "it", "taming", tmp_path / part, part=part)
        for part in ("all", "tokenizer", "condition")
    }
    assert all(f"`{info.fingerprint}`" in card for card in cards.values())
    for part, of in (("all", "tokenizer"), ("tokenizer", "tokenizer"), ("condition", "condition")):
        mark = info.prior[f"{of}_fingerprint"]
        assert f"| fingerprint of the tokenizer | `{mark}` |" in cards[part]
    assert "the tokenizer of its segmentation maps" in cards["condition"]
    assert "A tokenizer of segmentation maps" in cards["condition"]
    assert "A tokenizer of images" in cards["tokenizer"]
    assert "A model that draws images by segmentation maps" in cards["all"]
    assert "| sha256 of it |" in cards["tokenizer"]


def test_training_and_licence_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: what the model file and a catalog say."""
    imported = {
        "file": "a.ckpt",
        "layout": "x",
        "sha256": "0" * 64,
        "licence": "Apache-2.0",
        "source": "a page",
    }
    facts = {"step": 7, "data": "/home/ann/photos", "images": 24, "validation": {"psnr": 21.5}}
    card = exported(models.save(tmp_path / "a.safetensors", provenance=facts), "diffusers", tmp_path / "a")
    assert "| data | photos |" in card
    assert "| images | 24 |" in card
    assert "| PSNR (dB) | 21.5 |" in card
    assert "# license: to be filled in" in card
    model = models.save(tmp_path / "b.safetensors", provenance={"imported": imported})
    card = exported(model, "diffusers", tmp_path / "b")
    assert yaml.safe_load(card[4:].partition("\n---\n")[0])["license"] == "apache-2.0"
    assert "| source | a page |" in card
    assert "## Training" not in card


def test_an_edited_card_stays(tmp_path: Path) -> None:
    """An untouched one follows its model."""
    model = models.save(tmp_path / "it.safetensors")
    out = tmp_path / "out"
    first = exported(model, "diffusers", out)
    other = models.save(tmp_path / "other.safetensors", codebook_size=30)
    with pytest.raises(OutputError, match="exists"):
        exported(other, "diffusers", out)
    second = exported(other, "diffusers", out, force=True)
    assert second != first
    assert "30 codes" in second
    mine = second.replace("- Meant for: (to be filled in)", "- Meant for: maps of the moon")
    assert mine != second
    (out / CARD_FILE).write_text(mine)
    assert exported(model, "diffusers", out, force=True) == mine
    assert json.loads((out / "config.json").read_text())["num_vq_embeddings"] == 40
