"""Texts that would run a program under PyYAML's other loaders, wherever the command line takes YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests.recipes.conftest import Vqgan

TEXTS = {
    "a call": "!!python/object/apply:os.mkdir ['CANARY']",
    "a call as text": "!!python/object/apply:eval [\"__import__('os').mkdir('CANARY')\"]",
    "a new object": "!!python/object/new:os.system ['mkdir CANARY']",
    "an object with state": "!!python/object:subprocess.Popen {args: [mkdir, CANARY]}",
    "a module": "!!python/module:this",
    "a function": "!!python/name:os.system",
    "a tag of one's own": "!run 'mkdir CANARY'",
}
USES = {
    "a preset": ["train-ae", "--preset", "evil.yaml", "--out", "run"],
    "the preset of a transformer": ["train-transformer", "--preset", "evil.yaml", "--out", "run"],
    "--set": ["train-ae", "--preset", "demo", "--set", "name=TEXT", "--out", "run"],
    "--set of an import": ["import", "last.ckpt", "--set", "name=TEXT", "-o", "model"],
    "a run's config": ["train-ae", "--resume", "--out", "evil-run"],
    "the config of a checkpoint": ["import", "last.ckpt", "--config", "evil.yaml", "-o", "model"],
    "a list of models": ["models", "list"],
}


@pytest.fixture(autouse=True)
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", TEXTS)
def test_nothing_is_executed(
    kind: str, use: str, vqgan: Vqgan, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a canary. One message that names the file or the option, and no tag is obeyed."""
    text = TEXTS[kind].replace("CANARY", str(canary))
    (tmp_path / "evil-run").mkdir()
    for name in ("evil.yaml", "evil-run/config.yaml"):
        (tmp_path / name).write_text(f"name: {text}\n")
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "last.ckpt")
    if use == "a list of models":
        monkeypatch.setenv("VQGAN_CATALOG", str(tmp_path / "evil.yaml"))
    done = vqgan(*[word.replace("TEXT", text) for word in USES[use]])
    assert (done.code, done.out) in ((1, ""), (2, ""))
    assert "could not determine a constructor for the tag" in done.err
    assert done.err.count("error:") == 1
    assert not canary.exists()
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("kind", ["a call", "a call as text"])
def test_the_texts_are_hostile(kind: str, canary: Path) -> None:
    """Oracle: an unrestricted loader, which makes the canary of the same text."""
    yaml.unsafe_load(TEXTS[kind].replace("CANARY", str(canary)))
    assert canary.exists()
