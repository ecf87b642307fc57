"""The catalog: what ships is whole, and mistakes in one's own list are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from vqgan_cli.core.errors import ConfigError, UsageError
from vqgan_cli.core.presets import read_overrides
from vqgan_cli.core.published.catalog import Entry, entries, find_entry
from vqgan_cli.core.published.locations import UrlFile

SHIPPED = entries()

MINE = {
    "name": "mine",
    "kind": "tokenizer",
    "project": "me",
    "about": "a test",
    "weights": {"url": "https://x.test/a.ckpt"},
    "source": "this file",
}


def write(path: Path, *models: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(list(models)), encoding="utf-8")
    return path


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_shipped_entry_is_whole(entry: Entry) -> None:
    """Invariants: where it was found, what is needed to import it, and settings that exist."""
    assert len(entry.source) > 20
    assert (entry.kind == "transformer") == bool(entry.condition)
    assert entry.f in (4, 8, 16)
    read_overrides(entry.settings)
    # Its file tells neither its pixels nor its tokenizer, so that both are said here.
    if entry.name.startswith("llamagen-") and entry.kind == "transformer":
        assert entry.needs == "llamagen-vq-ds16"
        assert entry.settings == (f"data.size={entry.image_size}",)
    locations = [entry.weights] + ([entry.config] if entry.config else [])
    for location in locations:
        assert location.remote.url.startswith("https://")
        assert Path(location.remote.name).suffix in (
            ".ckpt",
            ".pt",
            ".bin",
            ".safetensors",
            ".zip",
            ".yaml",
            ".json",
        )
    assert not (entry.weights.bytes and entry.size), "two sizes of one file"


def test_scores_are_those_of_the_papers() -> None:
    """Oracle: figures that are widely known: VQGAN f16 of 16384 codes 4.98, LDM f4 0.58, LlamaGen ds16 2.19."""
    scores = {entry.name: entry.score.value for entry in SHIPPED if entry.score}
    assert (scores["taming-imagenet-f16-16384"], scores["ldm-vq-f4"], scores["llamagen-vq-ds16"]) == (
        4.98,
        0.58,
        2.19,
    )


def test_own_list_comes_after_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQGAN_CATALOG", str(write(tmp_path / "own.yaml", MINE)))
    assert [entry.name for entry in entries()] == [*(entry.name for entry in SHIPPED), "mine"]
    assert find_entry("mine").weights.remote == UrlFile("https://x.test/a.ckpt")
    with pytest.raises(UsageError, match=r"no published model is called 'mime' \(did you mean 'mine'\?\)"):
        find_entry("mime")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"colour": "red"}, "mine: colour: Extra inputs are not permitted"),
        ({"kind": "vae"}, "mine: kind: Input should be 'tokenizer' or 'transformer'"),
        ({"name": "No Name"}, "No Name: name: String should match"),
        ({"weights": {"hub": "o/r"}}, "mine: weights: Value error, give either hub and file, or url"),
        (
            {"weights": {"url": "https://x.test", "hub": "o/r", "file": "x"}},
            "give either hub and file, or url",
        ),
        ({"weights": {"hub": "o/r", "file": "../x.pt"}}, "'../x.pt' leads out of its repository"),
        (
            {"weights": {"url": "https://x.test/a.zip", "member": "/etc/x"}},
            "'/etc/x' leads out of its repository",
        ),
        (
            {"weights": {"url": "https://x.test", "sha256": "abc"}},
            "mine: weights.sha256: String should match",
        ),
        ({"needs": "other"}, "mine: needs 'other', which is no tokenizer of the catalog"),
        ({"source": ""}, "mine: source: String should have at least 1 character"),
    ],
)
def test_problem_is_named_with_model_and_key(
    tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    path = write(tmp_path / "own.yaml", {**MINE, **changes})
    with pytest.raises(ConfigError) as caught:
        entries(path)
    assert problem in caught.value.message
    assert str(path) in caught.value.message


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        entries(write(tmp_path / "own.yaml", {**MINE, "f": 0}, {**MINE, "name": "other", "kind": "x"}))
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="two models are called 'mine'"):
        entries(write(tmp_path / "twice.yaml", MINE, MINE))


@pytest.mark.parametrize("text", ["a: [", "just text", "- 3", "\udcff"], ids=repr)
def test_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigError, match=r"own\.yaml"):
        entries(path)
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        entries(tmp_path / "absent.yaml")


def test_catalog_loads_nothing_heavy() -> None:
    code = (
        "import sys; from vqgan_cli.core.published.catalog import entries; entries(); "
        "sys.exit(len({'torch', 'numpy', 'huggingface_hub', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
