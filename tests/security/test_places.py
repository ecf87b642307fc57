"""Names in files from elsewhere stay names: nothing is written, deleted or read outside the folder that was named."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.published.conftest import cache as cache
from tests.published.conftest import hub as hub
from tests.published.conftest import server as server
from tests.published.servers import Server
from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_generate import save_transformer_of
from tests.recipes.test_upscale import save_model
from vqgan_cli.core.data.codes import open_codes

CPU = ("--device", "cpu")
CLIMBING = (
    "../evil",
    "../../evil",
    "/tmp/vqgan-evil",
    "a/../../evil",
    "..",
    "a/..",
    "\\..\\evil",
    "~/evil",
    "C:evil",
)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a file beside it that nothing may touch."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "evil").write_text("mine")
    (tmp_path / "evil.png").write_text("mine")
    monkeypatch.chdir(folder)
    return folder


def assert_nothing_outside(inside: Path) -> None:
    """Oracle: the files that were there."""
    beside = {path for path in inside.parent.iterdir() if path.name not in ("cache", "hub", "programs.json")}
    assert beside == {inside, inside.parent / "evil", inside.parent / "evil.png"}
    assert (inside.parent / "evil").read_text() == (inside.parent / "evil.png").read_text() == "mine"
    assert not Path("/tmp/vqgan-evil").exists()
    assert not (Path.home() / "evil").exists()


def test_pictures_of_a_list_outside_the_folder(
    tiny: SavedTokenizer, coarse: SavedTokenizer, vqgan: Vqgan, inside: Path
) -> None:
    """A list may name files anywhere; what is made of them is below the output folder all the same."""
    enlarger = save_model(inside / "enlarger.safetensors", coarse)
    (inside / "deep/lists").mkdir(parents=True)
    (inside / "photos").mkdir()
    for name in ("photos/a.png", "deep/b.png"):
        Image.new("RGB", (32, 32), (200, 30, 90)).save(inside / name)
    (inside / "deep/lists/list.txt").write_text(
        f"../../photos/a.png\n{inside}/deep/b.png\n../lists/../b.png\n"
    )
    os.chdir(inside)
    done = vqgan(
        "encode", inside / "deep/lists/list.txt", "--ae", tiny.path, "-o", inside / "codes.npy", *CPU
    )
    assert done.code == 0, done.err
    names = open_codes(inside / "codes.npy").names
    assert names == ["photos/a.png", "deep/b.png", "deep/b.png"]
    (inside / "deep/lists/list.txt").write_text(f"../../photos/a.png\n{inside}/deep/b.png\n")
    for words in (
        ["encode", inside / "deep/lists/list.txt", "--ae", tiny.path, "-o", inside / "codes.npy", "--force"],
        ["decode", inside / "codes.npy", "--ae", tiny.path, "-o", inside / "out"],
        [
            "upscale",
            inside / "deep/lists/list.txt",
            "-m",
            enlarger,
            "-o",
            inside / "large",
            "--tokenizer-only",
        ],
    ):
        done = vqgan(*words, *CPU)
        assert done.code == 0, done.err
    for folder in ("out", "large"):
        made = {str(path.relative_to(inside / folder)) for path in (inside / folder).rglob("*.png")}
        assert made == {"photos/a.png", "deep/b.png"}
    assert_nothing_outside(inside)


def test_names_of_classes(vqgan: Vqgan, inside: Path) -> None:
    """Classes of a model from elsewhere are part of the names of images."""
    model = save_transformer_of(inside / "model", CLIMBING)
    done = vqgan("generate", "-m", model.path, "--class", "all", "-n", "1", "-o", inside / "out", *CPU)
    assert done.code == 0, done.err
    images = [path for path in (inside / "out").rglob("*.png") if path.name != "sheet.png"]
    assert len(images) == len(CLIMBING)
    assert {path.parent for path in images} == {inside / "out"}
    assert_nothing_outside(inside)


def test_names_of_samples(vqgan: Vqgan, inside: Path) -> None:
    """--force removes what an earlier call has made, by a file that somebody could have written."""
    model = save_transformer_of(inside / "model", ())
    assert vqgan("generate", "-m", model.path, "-n", "1", "-o", inside / "out", *CPU).code == 0
    described = json.loads((inside / "out/samples.json").read_text())
    described["images"] += [{**described["images"][0], "file": f"{name}.png"} for name in CLIMBING]
    described["images"] += [{**described["images"][0], "file": str(inside.parent / "evil")}]
    (inside / "out/samples.json").write_text(json.dumps(described))
    done = vqgan(
        "generate", "-m", model.path, "-n", "1", "-o", inside / "out", "--seed", "1", "--force", *CPU
    )
    assert done.code == 0, done.err
    assert_nothing_outside(inside)


def test_shards_of_a_checkpoint(vqgan: Vqgan, inside: Path) -> None:
    """An index names files beside itself, and no others are opened."""
    for name in CLIMBING:
        (inside / "x.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
        done = vqgan("import", inside / "x.index.json", "-o", inside / "model")
        assert done.code == 1
        assert "which is no file beside it" in done.err or "is missing" in done.err
    assert not (inside / "model").exists()
    assert_nothing_outside(inside)


def archive(content: bytes) -> bytes:
    """A zip file with a checkpoint, and with members that lead elsewhere, one of them a symbolic link."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in CLIMBING:
            file.writestr(name, b"evil")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/tmp")
        file.writestr("model/last.ckpt", content)
    return buffer.getvalue()


def entry(**weights: Any) -> dict[str, Any]:
    about = {"project": "tests", "about": "random weights", "source": "this file"}
    return {"name": "mine", "kind": "tokenizer", **about, "weights": weights}


def publish(inside: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any]) -> None:
    (inside / "own.yaml").write_text(yaml.safe_dump([entry]))
    monkeypatch.setenv("VQGAN_CATALOG", str(inside / "own.yaml"))


def test_members_of_an_archive(
    coarse: SavedTokenizer,
    vqgan: Vqgan,
    hub: Server,
    cache: Path,
    inside: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of an archive the one member that the list names is taken, and nothing else is unpacked."""
    state = {name.replace("quantizer.", "quantize."): t for name, t in coarse.module.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": state}, buffer)
    url = hub.put("/files/model.zip", archive(buffer.getvalue()))
    publish(inside, monkeypatch, entry(url=url, member="model/last.ckpt"))
    done = vqgan("models", "pull", "mine")
    assert done.code == 0, done.err
    unpacked = [
        path for path in (cache / "downloads").rglob("*") if path.is_file() and ".lock" not in path.name
    ]
    assert [path.name for path in unpacked] == ["last.ckpt"]
    assert_nothing_outside(inside)


@pytest.mark.parametrize("name", ["../evil", "/tmp/vqgan-evil", "a/../../evil"])
def test_lists_of_models(
    name: str, vqgan: Vqgan, hub: Server, cache: Path, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of one's own with members, files or names that lead elsewhere is refused as a whole."""
    url = hub.put("/files/model.zip", archive(b""))
    for bad in (
        entry(url=url, member=name),
        entry(hub="owner/repo", file=name),
        {**entry(url=url), "name": name},
    ):
        publish(inside, monkeypatch, bad)
        done = vqgan("models", "pull", "mine")
        assert done.code == 2
        assert "own.yaml" in done.err
    assert not hub.requests
    assert_nothing_outside(inside)


@pytest.mark.parametrize("address", ["..", "a/..", "%2e%2e", "a%2F..%2F..%2Fevil", ".", "%00", "x" * 400])
def test_addresses(address: str, vqgan: Vqgan, hub: Server, cache: Path, inside: Path) -> None:
    """The name of a download is made of its address."""
    for path in ("/files/", "/owner/repo/resolve/main/", "/../../resolve/main/"):
        hub.put(path + address, b"no checkpoint")
        done = vqgan("import", hub.address + path + address, "-o", inside / "model")
        assert done.code in (1, 2)
        assert "internal error" not in done.err
        assert not (inside / "model").exists()
        for file in cache.rglob("*"):
            assert file.relative_to(cache).parts[0] == "downloads"
    assert_nothing_outside(inside)


def test_codes_written_over_a_link(tiny: SavedTokenizer, vqgan: Vqgan, inside: Path) -> None:
    """--force replaces a link by the new file, and not what it leads to."""
    np.save(inside / "codes.npy", np.zeros((1, 4, 4), np.uint16))
    (inside / "out").mkdir()
    (inside / "out/000000.png").symlink_to(inside.parent / "evil.png")
    done = vqgan("decode", inside / "codes.npy", "--ae", tiny.path, "-o", inside / "out", "--force", *CPU)
    assert done.code == 0, done.err
    assert not (inside / "out/000000.png").is_symlink()
    assert_nothing_outside(inside)
