"""Published files that cannot be had, or are damaged where they lie: one message, with the way out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.published.conftest import cache as cache
from tests.recipes.conftest import Vqgan
from tests.recipes.test_generate import SavedTransformer
from tests.recipes.test_generate import imagenet as imagenet
from tests.recipes.test_train_ae import offline as offline

CLOSED = "http://127.0.0.1:9"
"""A port that nobody listens at: connecting to it fails at once, as it does without a network."""


@pytest.fixture
def unreachable_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from huggingface_hub import close_session

    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    yield
    close_session()


def assert_one_message(errors: str) -> None:
    assert errors.count("error:") == 1
    assert errors.count("hint:") == 1
    assert "internal error" not in errors


@pytest.mark.fault(26, "import")
@pytest.mark.usefixtures("unreachable_hub")
@pytest.mark.parametrize("address", [f"{CLOSED}/files/last.ckpt", "hf://owner/repo/last.ckpt"])
def test_import_without_a_network(address: str, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the way out that the message names is one: the file put there by hand is found and read."""
    done = vqgan("import", address, "-o", "model")
    assert (done.code, done.out) == (1, "")
    assert f"cannot download last.ckpt from {CLOSED}/" in done.err
    assert_one_message(done.err)
    assert not (tmp_path / "model").exists()

    place = Path(done.err.partition("put the file at '")[2].partition("'")[0])
    assert place.is_relative_to(tmp_path / "cache/downloads")
    place.write_text("no checkpoint")
    again = vqgan("import", address, "-o", "model")
    assert f"found {place}" in again.err
    assert f"'{place}' is no checkpoint" in again.err


@pytest.mark.fault(26, "models")
@pytest.mark.usefixtures("unreachable_hub")
def test_pull_without_a_network(vqgan: Vqgan) -> None:
    """A model of the list that ships with the program, from the hub."""
    done = vqgan("models", "pull", "llamagen-vq-ds16")
    assert (done.code, done.out) == (1, "")
    assert "cannot download vq_ds16_c2i.pt" in done.err
    assert "vqgan import FILE" in done.err
    assert_one_message(done.err)


@pytest.mark.fault(26, "generate")
def test_rejection_without_a_network(
    imagenet: SavedTransformer, offline: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """The classifier of --keep is neither cached nor reachable; without it the same command draws."""
    done = vqgan(
        "generate", "-m", imagenet.path, "-n", "1", "--class", "3", "--keep", "0.5", "--device", "cpu"
    )
    assert (done.code, done.out) == (1, "")
    assert "resnet101-cd907fc2.pth, which is not cached and cannot be downloaded" in done.err
    assert f"into {offline}; or give a file as scorer, resnet101:FILE; or draw without rejection" in done.err
    assert_one_message(done.err)
    assert not list(tmp_path.glob("samples/*.png"))
    assert vqgan("generate", "-m", imagenet.path, "-n", "1", "--class", "3", "--device", "cpu").code == 0


@pytest.mark.fault(27, "models")
@pytest.mark.usefixtures("unreachable_hub")
def test_pull_of_a_damaged_copy(vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy in the cache is named, with the hash that it should have and the one that it has; it is not imported."""
    expected = hashlib.sha256(b"the file as published").hexdigest()
    entry = {
        "name": "mine", "kind": "tokenizer", "project": "tests", "about": "random weights", "source": "this file",
        "weights": {"hub": "owner/repo", "file": "last.ckpt", "sha256": expected},
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump([entry]))
    monkeypatch.setenv("VQGAN_CATALOG", str(tmp_path / "own.yaml"))
    copy = tmp_path / "cache/downloads/owner/repo/last.ckpt"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"half of it")
    done = vqgan("models", "pull", "mine")
    assert (done.code, done.out) == (1, "")
    assert f"'{copy}' is not the file that was expected: SHA-256 {expected}" in done.err
    assert f"found {hashlib.sha256(b'half of it').hexdigest()}" in done.err
    assert "delete it, or replace it by a good copy" in done.err
    assert_one_message(done.err)
    assert not (tmp_path / "cache/models/mine").exists()
