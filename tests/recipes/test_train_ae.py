"""``vqgan train-ae`` as a user meets it; runs that end early are in ``test_train_resume.py`` and ``_faults.py``."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.conftest import RunVqgan
from tests.data.bad_images import OK, write_bad_images
from tests.recipes.conftest import Vqgan
from tests.recipes.tiny_run import log, settings, status, steps, tensors, train
from vqgan_cli.core.artifacts import load_tokenizer, read_model_info
from vqgan_cli.core.training.checkpoints import checkpoint_folders


def _photos(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number:02}.png")
    return folder


def test_what_a_run_leaves_behind(vqgan: Vqgan, tmp_path: Path) -> None:
    changes = settings(train_ae__keep_checkpoints=1, train_ae__sample_every=4, train_ae__ema_decay=0.5)
    done = vqgan(*train("out", 10), *changes)
    assert (done.code, done.out) == (0, "out/model.safetensors\n"), done.err
    run = tmp_path / "out"
    assert {p.name for p in run.iterdir() if not p.name.startswith(".")} == {
        "README.md", "best.safetensors", "checkpoints", "code_counts.json", "config.yaml", "environment.json",
        "log.jsonl", "model.safetensors", "report.html", "samples", "status.json",
    }  # fmt: skip
    assert (status(run)["state"], status(run)["step"]) == ("finished", 10)
    assert steps(run) == list(range(1, 11))
    assert [line["step"] for line in log(run) if "validation/loss" in line] == [4, 8, 10]
    assert [p.name for p in checkpoint_folders(run / "checkpoints")] == ["step-00000010"]
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        "step-00000004.png", "step-00000008.png", "step-00000010.png"
    ]  # fmt: skip
    for word in ("synthetic:faces", "16 x 16 pixels", "f = 2", "32 codes of 8 numbers", "--data"):
        assert word in done.err

    info = read_model_info(run)
    assert info.provenance["step"] == 10
    assert info.provenance["weights"] == "average"
    assert info.provenance["validation"] == status(run)["validation"]
    assert info.config.model_dump(mode="json") == yaml.safe_load((run / "config.yaml").read_text())
    average, _ = tensors(run / "checkpoints/step-00000010/average.safetensors")
    model, _ = tensors(run / "model.safetensors")
    assert all(torch.equal(average[name], model[name]) for name in model)
    last, _ = tensors(run / "checkpoints/step-00000010/tokenizer.safetensors")
    assert not torch.equal(last["encoder.conv_in.weight"], model["encoder.conv_in.weight"])


def test_best_model_is_that_of_the_best_validation(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the log. A rate that is too high makes the last validation worse than the first."""
    done = vqgan(*train("out", 12), *settings(train_ae__learning_rate=0.3, train_ae__adversarial__weight=0))
    assert done.code == 0, done.err
    losses = {
        line["step"]: line["validation/loss"] for line in log(tmp_path / "out") if "validation/loss" in line
    }
    provenance = read_model_info(tmp_path / "out" / "best.safetensors").provenance
    assert provenance["validation"]["loss"] == min(losses.values())
    assert losses[provenance["step"]] == min(losses.values())
    assert read_model_info(tmp_path / "out").provenance["step"] == 12


def test_training_reduces_the_loss(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: convergence on one picture, which a tokenizer with as many codes as cells can learn by heart."""
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "a.png")
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "b.png")
    changes = settings(train_ae__adversarial__weight=0, train_ae__learning_rate=2e-3, data__flip=0)
    done = vqgan(*train("out", 60), "--data", ".", *changes, *settings(train_ae__validate_every=0))
    assert done.code == 0, done.err
    losses = [line["loss/reconstruction"] for line in log(tmp_path / "out") if "loss/reconstruction" in line]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 3


def test_same_seed_same_model(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: determinism; bit by bit with the same seed, different with another one."""
    for out, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert vqgan(*train(out, 5), "--seed", seed).code == 0
    a, b, c = (tensors(tmp_path / out / "model.safetensors")[0] for out in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a if name.endswith("conv1.weight"))


def test_accumulated_batches_are_one_batch(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the whole batch at once, within rounding; two times four images are the same eight images."""
    changes = {
        "train_ae__adversarial__weight": 0,
        "tokenizer__quantizer__kind": "vq",
        "train_ae__clip_norm": 0,
    }
    whole = settings(train_ae__batch_size=8)
    parts = settings(train_ae__batch_size=4, train_ae__accumulate=2)
    assert vqgan(*train("whole", 1, **changes), *whole).code == 0
    assert vqgan(*train("parts", 1, **changes), *parts).code == 0
    gradients = [
        tensors(tmp_path / out / "checkpoints/step-00000001/optimizer.safetensors")[0]
        for out in ("whole", "parts")
    ]
    for name, moment in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], moment, atol=1e-7, rtol=1e-3)


def test_an_existing_run_is_not_overwritten(vqgan: Vqgan, tmp_path: Path) -> None:
    assert vqgan(*train("out", 1)).code == 0
    model = (tmp_path / "out/model.safetensors").read_bytes()
    done = vqgan(*train("out", 1), "--seed", "5")
    assert (done.code, done.out) == (1, "")
    assert "'out' exists and is not empty" in done.err
    assert "--force" in done.err
    assert (tmp_path / "out/model.safetensors").read_bytes() == model

    # A mistake in the new run costs nothing of the old one.
    done = vqgan(*train("out", 1), "--force", "--data", "nowhere")
    assert done.code == 1
    assert (tmp_path / "out/model.safetensors").read_bytes() == model

    done = vqgan(*train("out", 1), "--force", "--seed", "5")
    assert done.code == 0, done.err
    assert (tmp_path / "out/model.safetensors").read_bytes() != model


def test_default_run_folder_is_the_next_free_one(vqgan: Vqgan, tmp_path: Path) -> None:
    arguments = train("OUT", 1)
    place = arguments.index("--out")
    del arguments[place : place + 2]
    assert vqgan(*arguments).out == "runs/demo-ae/model.safetensors\n"
    assert vqgan(*arguments).out == "runs/demo-ae-2/model.safetensors\n"
    assert vqgan(*arguments, "--data", "nowhere").code == 1
    assert vqgan(*arguments).out == "runs/demo-ae-3/model.safetensors\n"


def test_start_from_another_model(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: with a learning rate of next to nothing, the weights that fit stay those of the start."""
    assert vqgan(*train("first", 2)).code == 0
    changes = settings(
        tokenizer__codebook_size=64, tokenizer__mid_attention="false", train_ae__learning_rate=1e-30
    )
    done = vqgan(*train("second", 1), "--init-from", "first", *changes)
    assert done.code == 0, done.err
    assert "started from 'first/model.safetensors'" in done.err
    assert "keeps its random value: quantizer.embedding (shape (32, 8) is not (64, 8))" in done.err
    assert "in the start but not used: encoder.mid.attn_1.q.weight" in done.err
    first, _ = tensors(tmp_path / "first/model.safetensors")
    second, _ = tensors(tmp_path / "second/model.safetensors")
    assert torch.equal(second["decoder.conv_in.weight"], first["decoder.conv_in.weight"])

    done = vqgan(*train("third", 1), "--init-from", "nowhere")
    assert (done.code, "'nowhere' does not exist" in done.err) == (1, True)
    assert vqgan(*train("third", 1)).code == 0  # nothing was in the way


@pytest.mark.fault(19, "train-ae")
@pytest.mark.fault(20, "train-ae")
@pytest.mark.fault(31, "train-ae")
def test_bad_images_are_skipped_and_named(vqgan: Vqgan, tmp_path: Path) -> None:
    """Row 19 of the fault table: the run trains on the rest, names each bad file once, and exits 3."""
    expected = write_bad_images(tmp_path / "mixed")
    _photos(tmp_path / "val", 4)
    done = vqgan(*train("out", 12), "--data", "mixed", "--val", "val", "--json")
    assert done.code == 3, done.err
    bad = {name: reason for name, reason in expected.items() if reason != OK}
    found = {Path(entry["path"]).name: entry["reason"] for entry in json.loads(done.out)["unreadable_files"]}
    assert found.keys() == bad.keys()
    for name, reason in bad.items():
        assert reason in found[name]
        assert name in done.err
    assert f"{len(bad)} files could not be read" in done.err
    run = tmp_path / "out"
    assert len(status(run)["unreadable_files"]) == len(bad)
    assert steps(run) == list(range(1, 13))
    load_tokenizer(run)


def test_no_image_can_be_read(vqgan: Vqgan, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "bad" / name).write_text("no picture")
    done = vqgan(*train("out", 2), "--data", "bad")
    assert done.code == 1
    assert "none of the" in done.err
    assert "Traceback" not in done.err


LABEL_MAPS = {
    "data__kind": "segmentation",
    "tokenizer__in_channels": 12,
    "tokenizer__out_channels": 12,
    "train_ae__adversarial__weight": 0,
}


@pytest.mark.parametrize("loss", ["cross-entropy", "bce"])
def test_label_maps(vqgan: Vqgan, tmp_path: Path, loss: str) -> None:
    done = vqgan(*train("out", 8, **LABEL_MAPS), *settings(train_ae__reconstruction=loss))
    assert done.code == 0, done.err
    validation = status(tmp_path / "out")["validation"]
    assert 0 < validation["accuracy"] <= 1
    assert validation["loss"] == validation["cross_entropy"]
    with Image.open(tmp_path / "out/samples/step-00000008.png") as picture:
        assert picture.mode == "RGB"
    assert load_tokenizer(tmp_path / "out").config.out_channels == 12


def test_classes_of_label_maps_are_counted(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the synthetic faces have 12 parts, of which a few pictures show all but seldom ones."""
    changes = LABEL_MAPS | {"tokenizer__in_channels": 4, "tokenizer__out_channels": 4}
    done = vqgan(*train("out", 8, **changes), *settings(train_ae__reconstruction="cross-entropy"))
    assert done.code == 0, done.err
    assert "12 classes found" in done.err
    config = load_tokenizer(tmp_path / "out").config
    assert (config.in_channels, config.out_channels) == (12, 12)


def test_fewer_classes_given_than_channels(vqgan: Vqgan) -> None:
    changes = LABEL_MAPS | {"data__maps__classes": 4}
    done = vqgan(*train("out", 8, **changes), *settings(train_ae__reconstruction="cross-entropy"))
    assert done.code == 2
    assert "is not the number of classes, 4" in done.err


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of weights on a machine that reaches no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    closed = "http://127.0.0.1:9"
    proxy = urllib.request.ProxyHandler({"https": closed, "http": closed})
    urllib.request.install_opener(urllib.request.build_opener(proxy))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    yield folder
    urllib.request.install_opener(urllib.request.build_opener())


LPIPS = settings(train_ae__perceptual__kind="lpips", train_ae__perceptual__weight=1.0)


@pytest.mark.fault(26, "train-ae")
def test_no_weights_for_the_perceptual_loss(vqgan: Vqgan, tmp_path: Path, offline: Path) -> None:
    """Row 26: one message with the fix for a user's images; built-in ones go on without, and say so."""
    _photos(tmp_path / "photos")
    done = vqgan(*train("out", 1), *LPIPS, "--data", "photos")
    assert (done.code, done.out) == (1, "")
    assert "vgg16-397923af.pth, which is not cached and cannot be downloaded" in done.err
    assert "--set train_ae.perceptual.kind=none" in done.err
    assert "Traceback" not in done.err
    assert done.err.count("error:") == 1
    assert not (tmp_path / "out/status.json").exists()

    done = vqgan(*train("out", 1), *LPIPS)
    assert done.code == 0, done.err
    assert "without the perceptual term" in done.err
    config = yaml.safe_load((tmp_path / "out/config.yaml").read_text())
    assert config["train_ae"]["perceptual"]["kind"] == "none"
    assert read_model_info(tmp_path / "out").config.train_ae.perceptual.kind == "none"
    assert "loss/perceptual" not in log(tmp_path / "out")[0]


@pytest.mark.fault(27, "train-ae")
def test_corrupt_weights_for_the_perceptual_loss(vqgan: Vqgan, tmp_path: Path, offline: Path) -> None:
    """Row 27: the file is named, with the hash that was expected."""
    file = offline / "vgg16-397923af.pth"
    file.write_bytes(b"half a download")
    _photos(tmp_path / "photos")
    done = vqgan(*train("out", 1), *LPIPS, "--data", "photos")
    assert done.code == 1
    found = hashlib.sha256(b"half a download").hexdigest()[:8]
    assert str(file) in done.err
    assert f"starts with {found}, expected 397923af" in done.err


@pytest.mark.fault(28, "train-ae")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train_ae.setps=5"], "train_ae.setps: unknown key (did you mean 'train_ae.steps'?)"),
        (["--set", "data.size=17"], "data.size 17 is not a multiple of the tokenizer's f = 2"),
        (["--set", "data.size=17"], "the nearest sizes are 16 and 18"),
        (["--set", "tokenizer.quantizer.kind=gumble"], "did you mean 'gumbel'"),
        (["--resume", "--init-from", "model"], "--init-from starts anew"),
        (["--set", "train_ae.adversarial.norm=sync-batch"], "sync-batch needs CUDA"),
    ],
)
def test_wrong_usage(vqgan: Vqgan, tmp_path: Path, arguments: list[str], message: str) -> None:
    """Exit 2, the nearest valid value, and no run folder that would be in the way."""
    done = vqgan(*train("out", 1), *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert vqgan(*train("out", 1)).code == 0


def test_several_problems_are_reported_together(vqgan: Vqgan) -> None:
    done = vqgan(*train("out", 1), "--set", "train_ae.batch_size=0", "--set", "tokenizer.chanels=32")
    assert done.code == 2
    assert "2 problems" in done.err


def test_preset_without_images(vqgan: Vqgan) -> None:
    done = vqgan("train-ae", "--preset", "vqvae", "--device", "cpu", "--out", "out")
    assert done.code == 2
    assert "--data FOLDER" in done.err


def test_streams_of_a_process(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    """One line on stdout, none with control characters on stderr, and nothing of either with --quiet but the data."""
    done = run_vqgan(*train("out", 3))
    assert (done.returncode, done.stdout) == (0, "out/model.safetensors\n")
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    quiet = run_vqgan(*train("quiet", 3), "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "quiet/model.safetensors\n", "")
