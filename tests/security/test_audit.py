"""What commands do besides their work, as Python's audit hears it: no connection, no unpickling, no other program."""

from __future__ import annotations

import os
import pickle
import platform
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_conditions import train as train_transformer
from tests.recipes.tiny_run import settings
from tests.recipes.tiny_run import train as train_ae
from tests.security.audit import EXECUTION, NETWORK, Audit

IN_PROCESS = settings(data__workers=0)
LOWRES = {"condition__kind": "lowres", "condition__tokenizer": "same"}

UNCONDITIONAL = train_transformer(Path("AE"), "run", 1, "--codes", "codes.npy", "--unconditional")
KNOWN = ["--complete", "photo.png", "--known", "top:0.5"]

COMMANDS = [
    ["synthetic", "faces", "--number", "8", "--size", "32", "--out", "photos"],
    [*train_ae("ae", 2), "--data", "photos", *IN_PROCESS],
    ["train-ae", "--resume", "--out", "ae", "--steps", "3", "--device", "cpu", *IN_PROCESS],
    ["encode", "photos", "--ae", "AE"],
    ["decode", "codes.npy", "--ae", "AE"],
    train_transformer(Path("AE"), "maps", 1, "--data", "photos", **LOWRES),
    UNCONDITIONAL,
    ["generate", "-m", "run", "-n", "2"],
    ["generate", "-m", "run", "-n", "1", *KNOWN, "-o", "completed"],
    ["upscale", "photo.png", "-m", "maps", "-o", "large.png", "--tokenizer-only"],
    ["import", "last.ckpt", "-o", "imported"],
    ["export", "imported", "--to", "diffusers", "-o", "exported"],
    ["info"],
    ["info", "ae"],
    ["info", "codes.npy"],
    ["models", "list"],
    ["models", "show", "llamagen-vq-ds16"],
    ["presets", "keys"],
]
"""Each works on what those before it have left."""


def test_commands_do_nothing_but_their_work(
    coarse: SavedTokenizer, vqgan: Vqgan, audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant: with connections, pickles and new processes refused, every command works, and tries none of them.

    Sockets of C libraries are not heard; the program brings none. What fetches is tested in ``tests/published``.
    """
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "photo.png")
    state = {name.replace("quantizer.", "quantize."): t for name, t in coarse.module.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    platform.platform()  # the one program: Python asks `uname -p`, once, for `vqgan info`
    audit.forbidden = (*NETWORK, *EXECUTION)
    for words in COMMANDS:
        done = vqgan(*[coarse.path if str(word) == "AE" else word for word in words])
        assert done.code == 0, (words, done.err)
        assert audit.happened == [], words


@pytest.mark.parametrize(
    "act",
    [
        lambda: socket.create_connection(("127.0.0.1", 9), 1),
        lambda: socket.getaddrinfo("localhost", 9),
        lambda: subprocess.run(["true"], check=True),
        lambda: os.system("true"),
        lambda: pickle.loads(pickle.dumps(Path)),
        lambda: torch.load(Path("a.pt"), weights_only=False),
    ],
)
def test_the_audit_hears(act: object, audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: what it must hear, so that the test above proves something."""
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(2)}, "a.pt")
    audit.forbidden = (*NETWORK, *EXECUTION)
    with pytest.raises(PermissionError, match="is forbidden here"):
        act()  # type: ignore[operator]
    assert audit.happened


def test_what_fetches_says_so(
    vqgan: Vqgan, audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed form: the commands that SECURITY.md names are those that try to connect, and refusal is one message."""
    from vqgan_cli.core.published import downloads

    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    audit.forbidden = NETWORK
    perceptual = settings(train_ae__perceptual__kind="lpips", train_ae__perceptual__weight=1.0)
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "photo.png")
    for words in (
        ["import", "http://127.0.0.1:9/last.ckpt", "-o", "model"],
        [*train_ae("out", 1), "--data", "photo.png", "--val", "photo.png", *perceptual],
    ):
        audit.happened.clear()
        done = vqgan(*words)
        assert audit.happened
        assert done.code == 1
        assert "download" in done.err
        assert done.err.count("error:") == 1
