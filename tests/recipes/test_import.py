"""``vqgan import``: recorded checkpoints of other projects become models that give what was recorded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from tests.golden import state_dict
from tests.recipes.conftest import SavedTokenizer, Vqgan
from vqgan_cli.core.artifacts import load_tokenizer, load_transformer, read_model_info
from vqgan_cli.core.config import ExperimentConfig

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden"


def recorded(golden: Path, name: str) -> dict[str, Tensor]:
    return load_file(golden / f"{name}_io.safetensors")


def write_codes(path: Path, codes: Tensor) -> None:
    np.save(path, codes.numpy().astype(np.uint8))


def read_pictures(folder: Path) -> Tensor:
    """The images of a folder in order, float [B, 3, H, W] in [-1, 1]."""
    arrays = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1


def read_samples(folder: Path) -> Tensor:
    """The images that samples.json names."""
    files = [image["file"] for image in json.loads((folder / "samples.json").read_text())["images"]]
    arrays = [np.asarray(Image.open(folder / file)) for file in files]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.mark.parametrize(
    ("file", "outputs"),
    [
        ("taming/vqgan.ckpt", "taming/vqgan"),
        ("taming/gumbel.ckpt", "taming/gumbel"),
        ("llamagen/vq.pt", "llamagen/vq"),
        ("diffusers/vqmodel", "diffusers/vqmodel"),
    ],
)
def test_tokenizers(file: str, outputs: str, golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: recorded codes (equal) and reconstructions (1e-4; as files within half a step of 8 bits)."""
    done = vqgan("import", golden / file, "-o", "models/it", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["check"]["tokenizer"]["distinct"] > 1
    io = recorded(golden, outputs)
    tokenizer = load_tokenizer(tmp_path / "models/it")
    assert torch.equal(tokenizer.encode(io["x"]), io["indices"])
    expected = io["reconstruction"].clamp(-1, 1)
    torch.testing.assert_close(tokenizer.decode(io["indices"]), expected, **CLOSE)

    write_codes(tmp_path / "codes.npy", io["indices"])
    done = vqgan("decode", "codes.npy", "-o", "out", "--ae", "models/it", "--device", "cpu")
    assert done.code == 0, done.err
    assert (read_pictures(tmp_path / "out") - expected).abs().max() <= 0.5 / 127.5 + 1e-4
    # And through files once more: the codes of the 8-bit pictures, by the module.
    done = vqgan("encode", "out", "-o", "again.npy", "--ae", "models/it", "--native", "--device", "cpu")
    assert done.code == 0, done.err
    again = np.load(tmp_path / "again.npy").reshape(io["indices"].shape)
    assert np.array_equal(again, tokenizer.encode(read_pictures(tmp_path / "out")).numpy())


def test_tokenizer_of_label_maps(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: recorded codes of the recorded maps, written as files, and the labels of the recorded logits."""
    done = vqgan("import", golden / "taming/segmentation.ckpt", "-o", "maps")
    assert done.code == 0, done.err
    info = read_model_info(tmp_path / "maps")
    assert info.config.data.kind == "segmentation"
    assert info.config.train_ae.reconstruction == "bce"
    io = recorded(golden, "taming/segmentation")
    (tmp_path / "labels").mkdir()
    for number, labels in enumerate(io["labels"]):
        Image.fromarray(labels.numpy().astype(np.uint8)).save(tmp_path / f"labels/{number}.png")
    done = vqgan("encode", "labels", "-o", "codes.npy", "--ae", "maps", "--device", "cpu")
    assert done.code == 0, done.err
    assert np.array_equal(np.load(tmp_path / "codes.npy"), io["indices"].numpy())
    assert vqgan("decode", "codes.npy", "-o", "out", "--ae", "maps", "--device", "cpu").code == 0
    found = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").glob("*.png"))]
    assert np.array_equal(np.stack(found), io["logits"].argmax(1).numpy())


def greedy_codes(vqgan: Vqgan, tmp_path: Path, *more: str) -> Any:
    done = vqgan(
        "generate", "-m", "models/it", "--greedy", "--codes", "drawn.npy", "--force", "--device", "cpu", *more
    )
    assert done.code == 0, done.err
    return np.load(tmp_path / "drawn.npy")


def logits(path: Path, codes: Tensor, condition: Tensor) -> Tensor:
    with torch.inference_mode():
        return load_transformer(path).prior(codes[:, :-1], condition)


def test_class_transformer(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: recorded logits (1e-4), greedy codes (equal) and the greedy picture."""
    done = vqgan("import", golden / "taming/class.ckpt", "-o", "models/it")
    assert done.code == 0, done.err
    io = recorded(golden, "taming/class")
    found = logits(tmp_path / "models/it", io["codes"], io["classes"])
    torch.testing.assert_close(found, io["logits"], **CLOSE)
    assert np.array_equal(greedy_codes(vqgan, tmp_path, "--class", "3,7", "-n", "1"), io["greedy"].numpy())
    pictures = read_samples(tmp_path / "samples")
    assert (pictures - io["greedy_image"].clamp(-1, 1)).abs().max() <= 0.5 / 127.5 + 1e-4


def test_unconditional_transformer(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: recorded logits (1e-4) and greedy codes (equal)."""
    done = vqgan("import", golden / "taming/unconditional.ckpt", "-o", "models/it")
    assert done.code == 0, done.err
    io = recorded(golden, "taming/unconditional")
    start = torch.zeros(len(io["codes"]), 1, dtype=torch.int64)
    found = logits(tmp_path / "models/it", io["codes"], start)
    torch.testing.assert_close(found, io["logits"], **CLOSE)
    assert np.array_equal(greedy_codes(vqgan, tmp_path, "-n", "2"), io["greedy"].numpy())


def test_transformer_of_label_maps(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: recorded codes of the maps (equal), logits (1e-4), greedy codes of maps given as files (equal)."""
    done = vqgan("import", golden / "taming/segcond.ckpt", "-o", "models/it")
    assert done.code == 0, done.err
    names = {path.name for path in (tmp_path / "models/it").iterdir()}
    models = {"model.safetensors", "tokenizer.safetensors", "condition.safetensors"}
    assert names == {*models, "import.json", "README.md"}
    io = recorded(golden, "taming/segcond")
    found = logits(tmp_path / "models/it", io["codes"], io["cond_codes"])
    torch.testing.assert_close(found, io["logits"], **CLOSE)
    (tmp_path / "maps").mkdir()
    for number, labels in enumerate(io["labels"]):
        Image.fromarray(labels.numpy().astype(np.uint8)).save(tmp_path / f"maps/{number}.png")
    assert np.array_equal(greedy_codes(vqgan, tmp_path, "--condition", "maps"), io["greedy"].numpy())
    # Each tokenizer is a model of its own.
    images = load_tokenizer(tmp_path / "models/it/tokenizer.safetensors")
    assert torch.equal(images.encode(io["x"]).flatten(1), io["codes"])
    done = vqgan(
        "encode", "maps", "-o", "m.npy", "--ae", "models/it/condition.safetensors", "--device", "cpu"
    )
    assert done.code == 0, done.err
    assert np.array_equal(np.load(tmp_path / "m.npy").reshape(2, -1), io["cond_codes"].numpy())
    # The codes of maps are as good as the maps.
    assert np.array_equal(greedy_codes(vqgan, tmp_path, "--condition", "m.npy"), io["greedy"].numpy())


def test_llamagen_generator(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: recorded logits (1e-4) and greedy codes, without guidance and with."""
    file = golden / "llamagen/gpt.pt"
    done = vqgan("import", file, "-o", "models/it")
    assert done.code == 2
    assert "without the tokenizer" in done.err
    assert not (tmp_path / "models/it").exists()
    assert vqgan("import", golden / "llamagen/vq.pt", "-o", "models/vq").code == 0
    done = vqgan("import", file, "--ae", "models/vq", "-o", "models/it")
    assert done.code == 0, done.err
    io = recorded(golden, "llamagen/gpt")
    found = logits(tmp_path / "models/it", io["codes"], io["classes"][:, None])
    torch.testing.assert_close(found, io["logits"], **CLOSE)
    drawn = greedy_codes(vqgan, tmp_path, "--class", "3,7", "-n", "1", "--cfg", "1")
    assert np.array_equal(drawn, io["greedy"].numpy())
    drawn = greedy_codes(vqgan, tmp_path, "--class", "3,7", "-n", "1", "--cfg", "2.5")
    assert np.array_equal(drawn, io["greedy_cfg2p5"].numpy())
    # The size that the user names counts in pixels of the tokenizer that the user names.
    done = vqgan("import", file, "--ae", "models/vq", "-o", "models/small", "--set", "data.size=16")
    assert done.code == 0, done.err
    assert read_model_info(tmp_path / "models/small").prior["grid"] == [4, 4]
    assert vqgan("import", file, "--ae", "models/vq", "-o", "models/odd", "--set", "data.size=18").code == 2
    # Codes of its tokenizer and codes that it draws belong together.
    tokenizer = read_model_info(tmp_path / "models/vq")
    assert read_model_info(tmp_path / "models/it").prior["tokenizer_fingerprint"] == tokenizer.fingerprint


def test_report_accounts_for_every_tensor(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: used and dropped together are the tensors of the file; the provenance is that of the file."""
    file = golden / "taming/vqgan.ckpt"
    assert vqgan("import", file, "-o", "it").code == 0
    report = json.loads((tmp_path / "it/import.json").read_text())
    assert len(report["used"]) + sum(map(len, report["dropped"].values())) == 199
    made = read_model_info(tmp_path / "it").provenance["imported"]
    assert made["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (made["file"], made["config"]) == ("vqgan.ckpt", "vqgan.yaml")
    assert ExperimentConfig.model_validate(read_model_info(tmp_path / "it").config.model_dump()).name == "it"
    done = vqgan("info", "it")
    assert "vqgan.ckpt" in done.out


def test_nothing_is_left_of_an_import_that_fails(
    golden: Path, tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    def refused(*words: str | Path, code: int = 1) -> str:
        done = vqgan("import", *words, "-o", "out/it")
        assert done.code == code, done.err
        assert "Traceback" not in done.err
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
        return done.err

    assert "absent.ckpt" in refused("absent.ckpt")
    assert "needs no import" in refused(tiny.path)
    (tmp_path / "text.ckpt").write_text("hello")
    refused("text.ckpt")
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "other.ckpt")
    assert "in no layout that is known" in refused("other.ckpt")
    changed = "--set=tokenizer.codebook_size=97"
    assert "another architecture" in refused(golden / "taming/vqgan.ckpt", changed)
    assert "did you mean" in refused(golden / "taming/vqgan.ckpt", "--set=tokenizer.codebok_size=9", code=2)
    assert "--ae" in refused(golden / "taming/vqgan.ckpt", "--ae", tiny.path, code=2)


def test_weights_that_are_not_finite(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: one NaN in the last layer of a recorded model."""
    weights = state_dict(golden / "taming/vqgan.ckpt")
    weights = {name: tensor.clone() for name, tensor in weights.items() if not name.startswith("loss.")}
    weights["decoder.conv_out.bias"][0] = float("nan")
    torch.save({"state_dict": weights}, tmp_path / "nan.ckpt")
    done = vqgan("import", "nan.ckpt", "-o", "it", "--set", "data.size=64")
    assert done.code == 1
    assert "the decoder's output of the imported model is not finite" in done.err
    assert not (tmp_path / "it").exists()


def test_one_model_does_not_replace_another_by_itself(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    file = golden / "taming/vqgan.ckpt"
    assert vqgan("import", file, "-o", "it").code == 0
    before = (tmp_path / "it/model.safetensors").stat().st_mtime_ns
    done = vqgan("import", file, "-o", "it")
    assert done.code == 1
    assert "--force" in done.err
    assert (tmp_path / "it/model.safetensors").stat().st_mtime_ns == before
    assert vqgan("import", file, "-o", "it", "--force").code == 0
    # A folder of something else is never deleted.
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    done = vqgan("import", file, "-o", "photos", "--force")
    assert done.code == 1
    assert (tmp_path / "photos/a.jpg").exists()


def test_half_precision_becomes_float32(golden: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the weights rounded to bfloat16."""
    weights = state_dict(golden / "taming/vqgan.ckpt")
    weights = {n: t.bfloat16() for n, t in weights.items() if not n.startswith("loss.")}
    torch.save(weights, tmp_path / "half.ckpt")
    done = vqgan("import", "half.ckpt", "-o", "it")
    assert done.code == 0, done.err
    assert f"{len(weights)} tensors of other precision became float32" in done.err
    found = load_tokenizer(tmp_path / "it").state_dict()
    assert torch.equal(found["encoder.conv_in.weight"], weights["encoder.conv_in.weight"].float())
