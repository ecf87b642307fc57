"""The model card that training and import leave beside a model."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.tiny_run import TINY_TRANSFORMER, settings, status, train
from vqgan_cli.core.artifacts import load_tokenizer, load_transformer, parameter_counts, read_model_info


def front_matter(card: str) -> dict[str, object]:
    assert card.startswith("---\n")
    return yaml.safe_load(card[4:].partition("\n---\n")[0])


def table(card: str, heading: str) -> dict[str, str]:
    """The rows of a section's table."""
    section = card.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ", 1) for line in section.splitlines() if line.startswith("| ")]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_training_writes_a_card_of_what_was_done(vqgan: Vqgan, photos: Path, tmp_path: Path) -> None:
    """Oracle: the model file, the run's last validation, and the folder that the photos lie in."""
    data = ["--data", str(photos / "train"), "--val", str(photos / "val")]
    done = vqgan(*train("out", 5), *data, *settings(train_ae__ema_decay=0.5))
    assert done.code == 0, done.err
    card = (tmp_path / "out/README.md").read_text()
    info = read_model_info(tmp_path / "out")
    assert front_matter(card) == {"library_name": "vqgan", "tags": ["vqgan", "image-tokenizer", "ema"]}
    assert "# license: to be filled in" in card
    assert "# demo\n" in card
    total = sum(p.numel() for p in load_tokenizer(tmp_path / "out").parameters())
    assert sum(parameter_counts(info).values()) == total
    assert table(card, "Architecture")["parameters"].startswith(f"{total:,} (")
    training = table(card, "Training")
    assert (training["data"], training["images"], training["classes"]) == ("train", "10", "2: cat; dog")
    assert training["steps"] == "5 of 5"
    assert training["weights"] == "running average, decay 0.5"
    assert "adaptive GAN 0.1 from step 3" in training["loss"]
    figures = table(card, "Figures")
    validation = status(tmp_path / "out")["validation"]
    assert figures["PSNR (dB)"] == f"{validation['psnr']:.4g}"
    assert len(figures) - 1 == len(validation)
    assert "the last validation up to step 5, on the centres of 4 held-out images of val" in card
    assert info.fingerprint in card
    assert str(photos) not in card
    assert str(tmp_path) not in card


def test_the_same_model_has_the_same_card(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: determinism; and a card follows its model, as long as nobody has touched it."""
    for out, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert vqgan(*train(out, 2), "--seed", seed).code == 0
    a, b, c = ((tmp_path / out / "README.md").read_bytes() for out in "abc")
    assert a == b
    assert a != c
    assert vqgan("train-ae", "a", "--resume", "--steps", "3", "--device", "cpu").code == 0
    card = (tmp_path / "a/README.md").read_text()
    assert table(card, "Training")["steps"] == "3 of 3"
    assert read_model_info(tmp_path / "a").fingerprint in card


@pytest.mark.parametrize("edit", ["license", "another", "marked line removed"])
def test_an_edited_card_stays(vqgan: Vqgan, tmp_path: Path, edit: str) -> None:
    assert vqgan(*train("out", 1)).code == 0
    path = tmp_path / "out/README.md"
    card = path.read_text()
    mine = {
        "license": card.replace("# license: to be filled in, such as cc-by-4.0", "license: cc0-1.0"),
        "another": "# My model\n",
        "marked line removed": card.partition("<!--")[0],
    }[edit]
    assert mine != card
    path.write_text(mine)
    assert vqgan("train-ae", "out", "--resume", "--steps", "2", "--device", "cpu").code == 0
    assert path.read_text() == mine
    assert vqgan(*train("out", 1), "--force", "--seed", "5").code == 0
    assert path.read_text() == mine
    assert read_model_info(tmp_path / "out").provenance["step"] == 1


def test_a_card_that_cannot_be_written_stops_no_training(vqgan: Vqgan, tmp_path: Path) -> None:
    """A folder is in the way of the file that is staged; the run says so, and goes on. Oracle: the run in whose way
    nothing is, bit by bit.
    """
    assert vqgan(*train("a", 2)).code == 0
    assert vqgan(*train("b", 1)).code == 0
    (tmp_path / "b/README.md").unlink()
    (tmp_path / f"b/.README.md.{os.getpid()}.partial").mkdir()
    done = vqgan("train-ae", "b", "--resume", "--steps", "2", "--device", "cpu")
    assert done.code == 0, done.err
    assert "no model card 'b/README.md'" in done.err
    assert status(tmp_path / "b")["state"] == "finished"
    assert not (tmp_path / "b/README.md").exists()
    a, b = (load_tokenizer(tmp_path / out).state_dict() for out in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_transformer_says_what_it_is_conditioned_on(
    coarse: SavedTokenizer, photos: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the model file; the commands in the card are those that draw from it."""
    small = settings(**{key.replace(".", "__"): value for key, value in TINY_TRANSFORMER.items()})
    words = ["train-transformer", "--preset", "demo", "--device", "cpu", "--ae", coarse.path, "--steps", "2"]
    done = vqgan(*words, "--data", photos / "train", "--val", photos / "val", "--out", "run", *small)
    assert done.code == 0, done.err
    card = (tmp_path / "run/README.md").read_text()
    assert front_matter(card)["pipeline_tag"] == "unconditional-image-generation"
    architecture = table(card, "Architecture")
    assert architecture["condition"].startswith("2 classes")
    prior = sum(p.numel() for p in load_transformer(tmp_path / "run").prior.parameters())
    assert f"(prior {prior:,}, encoder " in architecture["parameters"]
    assert "negative log-likelihood (nats per code)" in table(card, "Figures")
    shell = re.search(r"```bash\n(.*?)\n```", card, flags=re.S)
    assert shell is not None
    done = vqgan(*shell[1].replace("FOLDER", "run").split()[1:], "--device", "cpu")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "samples").glob("0-*.png"))) == 8
    code = re.search(r"```python\n(.*?)\n```", card, flags=re.S)
    assert code is not None
    names: dict[str, object] = {}
    exec(code[1].replace("FOLDER", str(tmp_path / "run")), names)
    drawn = names["sampler"].draw(classes=0, images=8, seed=0)  # type: ignore[attr-defined]
    assert drawn[3].tobytes() == Image.open(tmp_path / "samples" / drawn.names[3]).tobytes()


def test_an_imported_model_names_its_source(
    shared: Path, vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the hash of the file; a catalog of one's own that knows a file of that hash."""
    file = shared / "golden/taming/vqgan.ckpt"
    assert vqgan("import", file, "-o", "it").code == 0
    mark = hashlib.sha256(file.read_bytes()).hexdigest()
    card = (tmp_path / "it/README.md").read_text()
    licence = table(card, "Licence")
    assert licence["sha256 of it"] == f"`{mark}`"
    assert licence["licence"].startswith("to be filled in")
    assert "license" not in front_matter(card)
    assert "None were measured" in card
    assert "## Training" not in card

    entry = {
        "name": "mine", "kind": "tokenizer", "project": "somebody's | project", "about": "it", "licence": "Apache-2.0",
        "weights": {"url": "https://example.org/vqgan.ckpt", "sha256": mark}, "source": "a page",
        "score": {"metric": "rFID", "value": 7.94, "data": "ImageNet", "source": "the page"},
    }  # fmt: skip
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump([entry]))
    monkeypatch.setenv("VQGAN_CATALOG", str(tmp_path / "catalog.yaml"))
    (tmp_path / "it/README.md").unlink()
    assert vqgan("import", file, "-o", "it", "--force").code == 0
    card = (tmp_path / "it/README.md").read_text()
    assert front_matter(card)["license"] == "apache-2.0"
    assert table(card, "Licence")["made by"] == "somebody's \\| project"
    assert table(card, "Figures")["rFID on ImageNet"] == "7.94 (the page)"

    (tmp_path / "it/README.md").write_text("mine")
    assert vqgan("import", file, "-o", "it", "--force").code == 0
    assert (tmp_path / "it/README.md").read_text() == "mine"
