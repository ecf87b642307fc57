"""A transformer trained by two processes on CPUs, as ``torchrun`` starts them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.recipes.conftest import SavedTokenizer
from tests.recipes.test_train_ae_processes import Launch, launch  # noqa: F401
from tests.recipes.test_train_transformer import TINY, coarse, pictures, train  # noqa: F401
from vqgan_cli.core.artifacts import load_transformer
from vqgan_cli.core.training.checkpoints import load_newest


def test_two_processes_train_one_model(
    launch: Launch,  # noqa: F811
    coarse: SavedTokenizer,  # noqa: F811
    pictures: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Invariant: the world has two processes, and their weights and averages are the same after every update."""
    command = train(coarse.path, "run", 6, "--data", pictures, train_transformer__accumulate=2)
    done = launch(*map(str, command), env={"VQGAN_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    facts = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert [fact["world"] for fact in facts] == [2, 2]
    assert facts[0]["weights"] == facts[1]["weights"]
    saved = load_newest(tmp_path / "run/checkpoints")[0]
    assert saved.facts["samples_seen"] == 6 * 2 * 2 * TINY["train_transformer__batch_size"]
    assert load_transformer(tmp_path / "run").prior.spec.grid == (4, 4)
