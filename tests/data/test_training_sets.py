"""Which images are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vqgan_cli.core.config import DataConfig
from vqgan_cli.core.data.training_sets import divide_source


def test_runs_of_several_seeds_can_be_judged_by_the_same_images(tmp_path: Path) -> None:
    """Invariant: with a seed of its own the split does not depend on the run's; without, it is that of the run."""
    for number in range(40):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"{number}.png")

    def held_out(split_seed: int | None, seed: int) -> list[int]:
        config = DataConfig(source=str(tmp_path), size=8, validation_fraction=0.3, split_seed=split_seed)
        return divide_source(config, seed=seed).validation_indices.tolist()

    assert held_out(0, 0) == held_out(0, 1) == held_out(None, 0)
    assert held_out(None, 1) == held_out(1, 0) != held_out(None, 0)
