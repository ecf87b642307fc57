"""``vqgan export`` as it is typed: what comes out goes back in, and what a format cannot hold is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import ROOT, RunVqgan
from tests.golden import state_dict
from tests.recipes.conftest import SavedTokenizer, Vqgan
from vqgan_cli.core.artifacts import load_tokenizer


@pytest.mark.parametrize("name", ["vqgan", "gumbel", "segmentation", "class", "unconditional", "segcond"])
def test_import_then_export_to_taming(name: str, shared: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the recorded checkpoint's tensors, bit for bit, but for those of the training loss and of colours."""
    file = shared / f"golden/taming/{name}.ckpt"
    assert vqgan("import", file, "-o", "it").code == 0
    done = vqgan("export", "it", "--to", "taming", "-o", "out")
    assert done.code == 0, done.err
    found = torch.load(tmp_path / "out/model.ckpt", weights_only=True)["state_dict"]
    found = {key: value for key, value in found.items() if not key.endswith("colorize")}
    expected = {
        key: value
        for key, value in state_dict(file).items()
        if not key.startswith(("loss.", "first_stage_model.loss.", "cond_stage_model.loss."))
        and not key.endswith("colorize")
    }
    assert found.keys() == expected.keys()
    last = expected["transformer.pos_emb"].shape[1] if "transformer.pos_emb" in expected else 0
    for key, value in expected.items():
        if key == "transformer.pos_emb" and not torch.equal(found[key], value):
            # The last position is behind every input; no model looks at it.
            assert torch.equal(found[key][:, : last - 1], value[:, : last - 1])
            continue
        assert torch.equal(found[key], value), key
    # And it comes back in.
    done = vqgan("import", "out/model.ckpt", "--config", "out/config.yaml", "-o", "back")
    assert done.code == 0, done.err


def test_diffusers_and_back(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the model that was exported: equal codes and pictures after export and import."""
    done = vqgan("export", tiny.path, "--to", "diffusers", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)
    assert vqgan("import", "out", "-o", "back", "--set", "data.size=32").code == 0
    back = load_tokenizer(tmp_path / "back")
    images = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32))
    codes = tiny.module.encode(images)
    assert torch.equal(back.encode(images), codes)
    assert torch.equal(back.decode(codes), tiny.module.decode(codes))


def test_what_is_there_stays(tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    command = ("export", tiny.path, "--to", "diffusers", "-o", "out")
    assert vqgan(*command).code == 0
    done = vqgan(*command)
    assert done.code == 1
    assert "--force" in done.err
    assert vqgan(*command, "--force").code == 0


def test_parts_of_a_transformer(shared: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """A target without transformers takes the tokenizers inside."""
    assert vqgan("import", shared / "golden/taming/segcond.ckpt", "-o", "it").code == 0
    done = vqgan("export", "it", "--to", "diffusers", "-o", "out")
    assert done.code == 1
    assert "--part tokenizer" in done.err
    assert not (tmp_path / "out").exists()
    assert vqgan("export", "it", "--part", "tokenizer", "--to", "diffusers", "-o", "out").code == 0
    done = vqgan("export", "it", "--part", "condition", "--to", "taming", "-o", "maps")
    assert done.code == 0, done.err
    assert "quantize.embedding.weight" in torch.load(tmp_path / "maps/model.ckpt")["state_dict"]


def test_wrong_usage(tiny: SavedTokenizer, vqgan: Vqgan) -> None:
    assert vqgan("export", tiny.path, "--to", "word", "-o", "out").code == 2
    assert vqgan("export", "absent", "--to", "taming", "-o", "out").code == 1
    done = vqgan("export", tiny.path, "--to", "onnx", "--opset", "3", "-o", "out")
    assert done.code == 2


def test_onnx_without_its_packages(tiny: SavedTokenizer, run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """One message with the command that installs them."""
    for name in ("onnx", "onnxscript"):
        (tmp_path / f"block/{name}").mkdir(parents=True)
        (tmp_path / f"block/{name}/__init__.py").write_text("raise ImportError('absent')")
    environment = {"PYTHONPATH": f"{tmp_path / 'block'}:{ROOT}"}
    done = run_vqgan("export", tiny.path, "--to", "onnx", "-o", "out", env=environment)
    assert done.returncode == 2
    assert "pip install 'vqgan[onnx]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
