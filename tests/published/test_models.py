"""``vqgan models``: from an address to a model that commands know by its name."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from tests.published.conftest import Heard
from tests.published.servers import Answer, Break, Server
from tests.recipes.conftest import SavedTokenizer, Vqgan, save_tiny
from vqgan_cli.core.artifacts import load_transformer, read_model_info
from vqgan_cli.core.errors import ModelError, OutputError, WeightsError
from vqgan_cli.core.recipes.import_ import REPORT_FILE, ImportOptions, import_model
from vqgan_cli.core.recipes.models import pull_model

REPO = "owner/repo"
TOKENIZER, TRANSFORMER = "my-vq", "my-gpt"
CONFIG = {"model": {"target": "taming.models.vqgan.VQModel", "params": {"ddconfig": {"resolution": 32}}}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SavedTokenizer:
    """f = 16, so that the transformer may use it: 2x2 codes of an image of 32x32."""
    folder = tmp_path_factory.mktemp("tiny")
    multipliers: Any = (1, 1, 1, 1, 1)
    return save_tiny(folder / "model.safetensors", channel_multipliers=multipliers)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def checkpoint(tiny: SavedTokenizer) -> bytes:
    """The tokenizer as taming-transformers writes one."""
    state = {name.replace("quantizer.", "quantize."): t for name, t in tiny.module.state_dict().items()}
    return saved({"state_dict": state, "global_step": 7})


def gpt(width: int = 32, hidden: int = 96, codes: int = 300) -> dict[str, Tensor]:
    """A transformer of one layer and ten classes as LlamaGen writes one."""
    shapes = {
        "tok_embeddings.weight": (codes, width),
        "cls_embedding.embedding_table.weight": (11, width),
        "layers.0.attention.wqkv.weight": (3 * width, width),
        "layers.0.attention.wo.weight": (width, width),
        "layers.0.feed_forward.w1.weight": (hidden, width),
        "layers.0.feed_forward.w3.weight": (hidden, width),
        "layers.0.feed_forward.w2.weight": (width, hidden),
        "layers.0.attention_norm.weight": (width,),
        "layers.0.ffn_norm.weight": (width,),
        "norm.weight": (width,),
        "output.weight": (codes, width),
    }
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


@pytest.fixture
def catalog(
    hub: Server, checkpoint: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """A list of one's own: a tokenizer with a config at an address, and a transformer of the hub that needs it.

    `publish` writes it.
    """
    rest = {"project": "tests", "source": "this file", "about": "random weights"}
    models = [
        {
            "name": TOKENIZER, "kind": "tokenizer", **rest, "licence": "MIT",
            "weights": {"url": hub.put("/last.ckpt", checkpoint),
                        "sha256": hashlib.sha256(checkpoint).hexdigest()},
            "config": {"url": hub.put("/model.yaml", yaml.safe_dump(CONFIG).encode())},
        },
        {
            "name": TRANSFORMER, "kind": "transformer", **rest, "condition": "class",
            "weights": {"hub": REPO, "file": "c2i.pt"}, "needs": TOKENIZER,
            "settings": ["data.size=32", "transformer.heads=2"],
        },
    ]  # fmt: skip
    hub.put_hub(REPO, "c2i.pt", saved({"model": gpt()}))
    monkeypatch.setenv("VQGAN_CATALOG", str(tmp_path / "own.yaml"))
    publish(tmp_path, models)
    return models


def publish(tmp_path: Path, models: list[dict[str, Any]]) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(models), encoding="utf-8")


def pull(name: str, heard: Heard, *, force: bool = False) -> Path:
    def importer(**given: Any) -> None:
        import_model(ImportOptions(**given, force=True), heard)

    return pull_model(name, importer, heard, force=force)


def states(vqgan: Vqgan) -> dict[str, str]:
    """Name to state, as the command says."""
    rows = [line.split("\t") for line in vqgan("models", "list").out.splitlines()]
    return {name: state for name, _, state in rows if name in (TOKENIZER, TRANSFORMER)}


def test_pulled_tokenizer_works_by_its_name(
    catalog: list[dict[str, Any]], vqgan: Vqgan, tiny: SavedTokenizer, tmp_path: Path, cache: Path
) -> None:
    """Oracle: the codes of the tokenizer that was published, encoded by its path."""
    assert states(vqgan) == {TOKENIZER: "absent", TRANSFORMER: "absent"}
    refused = vqgan("encode", "photos", "--ae", TOKENIZER)
    assert (refused.code, f"hint: vqgan models pull {TOKENIZER}" in refused.err) == (1, True)
    done = vqgan("models", "pull", TOKENIZER)
    folder = cache / "models" / TOKENIZER
    assert (done.code, done.out) == (0, f"{folder}\n"), done.err
    assert f"use it by its name: --ae {TOKENIZER}" in done.err
    assert states(vqgan) == {TOKENIZER: "pulled", TRANSFORMER: "absent"}
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    for name, model in (("mine", str(tiny.path)), ("named", TOKENIZER)):
        done = vqgan("encode", "photos", "--ae", model, "-o", f"{name}.npy", "--device", "cpu")
        assert done.code == 0, done.err
    codes = np.load(tmp_path / "named.npy")
    assert codes.shape == (1, 2, 2)
    assert np.array_equal(codes, np.load(tmp_path / "mine.npy"))


def test_model_says_where_it_comes_from(
    catalog: list[dict[str, Any]], heard: Heard, checkpoint: bytes
) -> None:
    """The model file itself does, so that it stays true wherever the file is copied."""
    folder = pull(TOKENIZER, heard)
    imported = read_model_info(folder).provenance["imported"]
    assert imported["source"] == catalog[0]["weights"]["url"]
    assert (imported["published_as"], imported["licence"]) == (TOKENIZER, "MIT")
    assert imported["sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert read_model_info(folder).config.name == TOKENIZER
    assert json.loads((folder / REPORT_FILE).read_text())["imported"] == imported


def test_transformer_brings_its_tokenizer(
    catalog: list[dict[str, Any]], hub: Server, heard: Heard, tiny: SavedTokenizer, vqgan: Vqgan
) -> None:
    """Oracle: the weights that were published, of both; and the command line draws a picture with it."""
    folder = pull(TRANSFORMER, heard)
    model = load_transformer(folder)
    assert torch.equal(model.prior.state_dict()["tok_emb.weight"], gpt()["tok_embeddings.weight"])
    state = tiny.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.tokenizer.state_dict().items())
    assert states(vqgan) == {TOKENIZER: "pulled", TRANSFORMER: "pulled"}
    done = vqgan("generate", "-m", TRANSFORMER, "--class", "3", "-n", "1", "--device", "cpu", "-o", "drawn")
    assert done.code == 0, done.err
    assert hub.asked("GET")[:2] == ["/model.yaml", "/last.ckpt"], (
        "the tokenizer comes first, and its config before it"
    )


def test_second_pull_asks_nobody(catalog: list[dict[str, Any]], hub: Server, heard: Heard) -> None:
    folder = pull(TOKENIZER, heard)
    before, asked = (folder / "model.safetensors").stat().st_ino, len(hub.requests)
    assert pull(TOKENIZER, heard) == folder
    assert heard.infos[-1] == f"{TOKENIZER} is on this machine already"
    assert (folder / "model.safetensors").stat().st_ino == before
    pull(TOKENIZER, heard, force=True)
    assert (folder / "model.safetensors").stat().st_ino != before
    assert len(hub.requests) == asked, "the download was still there"


def test_broken_pull_leaves_no_model_and_goes_on(
    catalog: list[dict[str, Any]],
    hub: Server,
    vqgan: Vqgan,
    checkpoint: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Oracle: bytes sent in all are those of the file."""
    monkeypatch.setattr("vqgan_cli.core.published.downloads.PAUSE", 0.0)
    hub.faults["/last.ckpt"].extend([Break(len(checkpoint) // 2)] + [Break(0)] * 3)
    done = vqgan("models", "pull", TOKENIZER)
    assert done.code == 1
    assert done.err.count("error: ") == 1
    assert "repeat the command to go on" in done.err
    assert states(vqgan)[TOKENIZER] == "absent"
    assert vqgan("info", TOKENIZER).code == 1
    assert vqgan("models", "pull", TOKENIZER).code == 0
    assert sum(hub.sent("/last.ckpt")) == len(checkpoint)


def test_failed_import_leaves_what_was_there(
    catalog: list[dict[str, Any]], hub: Server, heard: Heard, tmp_path: Path
) -> None:
    """The publisher's new file is no model: the old one is still there, and is not called current."""
    folder = pull(TOKENIZER, heard)
    before = (folder / "model.safetensors").read_bytes()
    content = saved({"state_dict": {"nothing": torch.zeros(2)}})
    catalog[0]["weights"] = {"url": hub.put("/new.ckpt", content)}
    publish(tmp_path, catalog)
    with pytest.raises(ModelError):
        pull(TOKENIZER, heard)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [TOKENIZER]


def test_outdated_and_damaged_models_are_named_and_made_anew(
    catalog: list[dict[str, Any]], hub: Server, vqgan: Vqgan, checkpoint: bytes, tmp_path: Path, cache: Path
) -> None:
    vqgan("models", "pull", TOKENIZER)
    catalog[0]["weights"] = {"url": hub.put("/moved.ckpt", checkpoint)}
    publish(tmp_path, catalog)
    assert states(vqgan)[TOKENIZER] == "outdated"
    done = vqgan("models", "pull", TOKENIZER)
    assert (done.code, f"{TOKENIZER} on this machine is outdated: pulling it anew" in done.err) == (0, True)
    assert states(vqgan)[TOKENIZER] == "pulled"
    model = cache / "models" / TOKENIZER / "model.safetensors"
    model.write_bytes(model.read_bytes()[:100])
    assert states(vqgan)[TOKENIZER] == "damaged"
    assert vqgan("models", "pull", TOKENIZER).code == 0
    assert states(vqgan)[TOKENIZER] == "pulled"


def test_file_of_another_hash_is_outdated(
    catalog: list[dict[str, Any]], vqgan: Vqgan, tmp_path: Path
) -> None:
    vqgan("models", "pull", TOKENIZER)
    catalog[0]["weights"]["sha256"] = "0" * 64
    publish(tmp_path, catalog)
    assert states(vqgan)[TOKENIZER] == "outdated"


@pytest.mark.fault(26, "models")
def test_without_a_connection_the_message_says_what_to_do(
    catalog: list[dict[str, Any]], hub: Server, vqgan: Vqgan, checkpoint: bytes, tmp_path: Path
) -> None:
    """Both ways that it names do work: a file put where it says, and the command that it shows."""
    hub.close()
    done = vqgan("models", "pull", TOKENIZER)
    assert (done.code, done.out) == (1, "")
    assert f"error: cannot download model.yaml from {hub.address}/model.yaml: Connection refused" in done.err
    shown = json.loads(vqgan("models", "show", TOKENIZER, "--json").out)
    assert shown["files"][1] in done.err
    assert shown["import_command"] in done.err
    weights, config = tmp_path / "got.ckpt", tmp_path / "got.yaml"
    weights.write_bytes(checkpoint)
    config.write_text(yaml.safe_dump(CONFIG))
    words = shown["import_command"].replace("FILE", str(weights)).replace("CONFIG", str(config)).split()
    assert vqgan(*words[1:]).code == 0
    assert states(vqgan)[TOKENIZER] == "pulled"
    for path, content in zip(shown["files"], (checkpoint, yaml.safe_dump(CONFIG).encode()), strict=True):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)
    assert vqgan("models", "pull", TOKENIZER, "--force").code == 0


def test_wrong_hash_stops_before_the_import(catalog: list[dict[str, Any]], heard: Heard, tmp_path: Path,
                                            cache: Path) -> None:  # fmt: skip
    catalog[0]["weights"]["sha256"] = "0" * 64
    publish(tmp_path, catalog)
    with pytest.raises(WeightsError, match=r"SHA-256 0{64}, but found"):
        pull(TOKENIZER, heard)
    assert not (cache / "models" / TOKENIZER).exists()


def test_gated_repository_says_to_set_a_token(
    catalog: list[dict[str, Any]], hub: Server, vqgan: Vqgan
) -> None:
    vqgan("models", "pull", TOKENIZER)
    hub.faults[f"/{REPO}/resolve/main/c2i.pt"].append(Answer(403, "GatedRepo"))
    done = vqgan("models", "pull", TRANSFORMER)
    assert done.code == 1
    assert f"ask for access on {hub.address}/{REPO} and set HF_TOKEN" in done.err


def test_folder_of_something_else_is_not_replaced(
    catalog: list[dict[str, Any]], heard: Heard, cache: Path
) -> None:
    notes = cache / "models" / TOKENIZER / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(OutputError) as caught:
        pull(TOKENIZER, heard)
    assert f"move {str(notes.parent)!r} away, or set VQGAN_CACHE" in (caught.value.hint or "")
    assert notes.read_text() == "mine"


def test_cache_that_cannot_be_written_is_named(
    catalog: list[dict[str, Any]], heard: Heard, cache: Path
) -> None:
    cache.mkdir()
    (cache / "models").write_text("in the way")
    with pytest.raises(OutputError) as caught:
        pull(TOKENIZER, heard)
    assert str(cache / "models") in caught.value.message
    assert "VQGAN_CACHE" in (caught.value.hint or "")


def test_list_and_show_as_json_hold_the_whole_entry(catalog: list[dict[str, Any]], vqgan: Vqgan) -> None:
    (mine,) = json.loads(vqgan("models", "list", TOKENIZER, "--json").out)
    assert mine == json.loads(vqgan("models", "show", TOKENIZER, "--json").out)
    assert mine.items() >= {"state": "absent", "licence": "MIT", "f": None}.items()
    assert mine["weights"]["sha256"] == catalog[0]["weights"]["sha256"]
    assert vqgan("models", "list", "no such word").out == ""


def test_show_tells_the_command_to_import_by_hand(cache: Path, vqgan: Vqgan) -> None:
    done = vqgan("models", "show", "llamagen-b-256")
    out = cache / "models/llamagen-b-256"
    assert f"vqgan import FILE --ae llamagen-vq-ds16 --set data.size=256 -o {out}" in done.out
    assert str(cache / "downloads/FoundationVision/LlamaGen/c2i_B_256.pt") in done.out
    done = vqgan("models", "show", "llamagen-b-257")
    assert done.code == 2
    assert "did you mean 'llamagen-b-256'?" in done.err


def test_broken_list_of_ones_own_is_named(vqgan: Vqgan, cache: Path, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("VQGAN_CATALOG", str(tmp_path / "absent.yaml"))
    done = vqgan("models", "list")
    assert done.code == 2
    assert "absent.yaml" in done.err
