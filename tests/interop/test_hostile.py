"""Files that would run a program under Python's unpickler run none here, and are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.hostile import HOSTILE, registered_extension, run_by_torch
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading import read_foreign

REFUSED = "nothing of it was executed|nothing was executed|no pickle of a kind|not one that PyTorch writes"


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_run_nothing(tmp_path: Path, kind: str) -> None:
    """Oracle: a canary file, which an unrestricted reader creates from the same bytes."""
    path, canary = tmp_path / "model.ckpt", tmp_path / "canary"
    HOSTILE[kind](path, canary)
    assert not canary.exists()  # making the file ran nothing
    with registered_extension(), pytest.raises(ModelError, match=REFUSED):
        read_foreign(path)
    assert not canary.exists()
    run_by_torch(path)
    assert canary.exists()
