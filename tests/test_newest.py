"""Which model a command takes when nobody names one. A model's weights play no part, so these are of one number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vqgan_cli.core.artifacts import save_tokenizer, save_transformer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.models.priors import PriorSpec
from vqgan_cli.core.newest import newest_tokenizer, newest_transformer

WEIGHTS = {"a": torch.zeros(1)}
LABELS = {
    "data": {"kind": "segmentation"},
    "tokenizer": {"in_channels": 12, "out_channels": 12},
    "train_ae": {"reconstruction": "cross-entropy", "perceptual": {"kind": "none"}},
}


def tokenizer(path: Path, age: int, config: dict[str, object] | None = None) -> Path:
    path.parent.mkdir(parents=True)
    save_tokenizer(path, WEIGHTS, ExperimentConfig.model_validate(config or {}), {})
    os.utime(path, (2e9 + age, 2e9 + age))
    return path


def transformer(path: Path, age: int, kind: str) -> Path:
    path.parent.mkdir(parents=True)
    config = ExperimentConfig.model_validate({"condition": {"kind": kind}})
    save_transformer(path, {"a": torch.zeros(1)}, WEIGHTS, config, PriorSpec(2, (1, 1)), (), {})
    os.utime(path, (2e9 + age, 2e9 + age))
    return path


def test_the_newest_file_wins_whatever_its_name(tmp_path: Path) -> None:
    """What is no tokenizer does not count: foreign and damaged files, transformers, dangling links."""
    tokenizer(tmp_path / "zebra/model.safetensors", 0)
    newest = tokenizer(tmp_path / "aardvark/model.safetensors", 1)
    transformer(tmp_path / "prior/model.safetensors", 2, "class")
    for number, name in enumerate(("foreign", "broken", "linked")):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "model.safetensors"
        if name == "foreign":
            save_file(WEIGHTS, path)
        elif name == "broken":
            path.write_bytes(b"")
        else:
            path.symlink_to("nowhere")
            continue
        os.utime(path, (3e9 + number, 3e9 + number))
    assert newest_tokenizer(tmp_path) == newest


def test_runs_in_a_folder_of_their_own(tmp_path: Path) -> None:
    """As those of `make demo`; what lies deeper belongs to a run."""
    newest = tokenizer(tmp_path / "demo/ae/model.safetensors", 1)
    tokenizer(tmp_path / "other/model.safetensors", 0)
    tokenizer(tmp_path / "demo/ae/checkpoints/model.safetensors", 2)
    assert newest_tokenizer(tmp_path) == newest


def test_of_a_kind_and_of_a_preset(tmp_path: Path) -> None:
    pictures = tokenizer(tmp_path / "a/model.safetensors", 0, {"name": "mine"})
    maps = tokenizer(tmp_path / "b/model.safetensors", 1, LABELS)
    other = tokenizer(tmp_path / "c/model.safetensors", 2)
    edges = transformer(tmp_path / "d/model.safetensors", 3, "edges")
    lowres = transformer(tmp_path / "e/model.safetensors", 2, "lowres")
    assert newest_tokenizer(tmp_path) == other
    assert newest_tokenizer(tmp_path, preset="mine") == pictures
    assert newest_tokenizer(tmp_path, kind="segmentation") == maps
    assert newest_transformer(tmp_path) == edges
    assert newest_transformer(tmp_path, kind="lowres") == lowres


def test_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trained tokenizer under") as caught:
        newest_tokenizer(tmp_path)
    assert "vqgan train-ae --preset demo" in str(caught.value.hint)
    with pytest.raises(ModelError, match="no trained tokenizer of depth maps of preset 'mine'") as caught:
        newest_tokenizer(tmp_path, preset="mine", kind="depth")
    assert "--target condition" in str(caught.value.hint)
    with pytest.raises(ModelError, match="of condition 'lowres'") as caught:
        newest_transformer(tmp_path, kind="lowres")
    assert "--preset superres" in str(caught.value.hint)
