"""Names wherever a command takes a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes.conftest import Vqgan, save_tiny
from vqgan_cli.core.artifacts import load_tokenizer, resolve_model
from vqgan_cli.core.errors import ModelError

NAME = "ldm-vq-f4"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pulled(cache: Path) -> Path:
    return save_tiny(cache / "models" / NAME / "model.safetensors").path


def refusal(path: str) -> tuple[str, str | None]:
    with pytest.raises(ModelError) as caught:
        resolve_model(Path(path))
    return caught.value.message, caught.value.hint


def test_name_stands_for_what_was_pulled(pulled: Path) -> None:
    assert resolve_model(NAME) == resolve_model(Path(NAME)) == pulled
    load_tokenizer(NAME)


def test_existing_path_wins_over_a_name(pulled: Path) -> None:
    mine = save_tiny(Path(NAME) / "model.safetensors", seed=1).path
    assert resolve_model(Path(NAME)) == mine
    mine.unlink()
    message, _ = refusal(NAME)
    assert message == f"{NAME!r} holds no model.safetensors"


def test_name_that_was_not_pulled_says_how() -> None:
    assert refusal(NAME) == (
        f"the published model {NAME!r} is not on this machine",
        f"vqgan models pull {NAME}",
    )


def test_near_miss_suggests_names_and_neighbours() -> None:
    message, hint = refusal("ldm-vqf4")
    assert message == "model 'ldm-vqf4' does not exist (did you mean 'ldm-vq-f4'?)"
    assert "vqgan models list" in (hint or "")
    Path("my-model").mkdir()
    assert refusal("my-modle")[0] == "model 'my-modle' does not exist (did you mean 'my-model'?)"


@pytest.mark.parametrize(
    "path", [f"runs/{NAME}", f"../models/{NAME}", "..", f"{NAME}/", f"models/../{NAME}", ""]
)
def test_path_is_no_name(path: str, pulled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leads out of the folder of the models, or past a folder that does not exist."""
    if path == f"{NAME}/":
        assert resolve_model(Path(path)) == pulled  # pathlib drops the slash
        return
    with pytest.raises(ModelError):
        resolve_model(Path(path))


def test_half_a_folder_is_not_a_model(cache: Path) -> None:
    """What an import leaves when it is killed has another name, see `staged_folder`."""
    save_tiny(cache / "models" / f".{NAME}.partial" / "model.safetensors")
    assert refusal(NAME)[1] == f"vqgan models pull {NAME}"
    assert "does not exist" in refusal(f".{NAME}.partial")[0]


def test_info_knows_names(pulled: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    done = vqgan("info", NAME)
    assert (done.code, str(pulled) in done.out) == (0, True)
    done = vqgan("info", "ldm-vq-f8")
    assert done.code == 1
    assert "hint: vqgan models pull ldm-vq-f8" in done.err
