"""``vqgan info``: this machine, models, runs in every state, and codes files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import ROOT, RunVqgan
from tests.recipes.conftest import Vqgan
from vqgan_cli.core.artifacts import fingerprint, save_tokenizer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.codes_format import CodesMetadata
from vqgan_cli.core.data.codes_writer import CodesWriter
from vqgan_cli.core.models.priors.int8 import has_int8
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.models.torchvision_compat import torchvision_mismatch
from vqgan_cli.core.presets import dump
from vqgan_cli.core.pretrained import cached_weights
from vqgan_cli.core.recipes.train_ae import TrainAEOptions, train_ae
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.run_folder import RunFolder

CONFIG = ExperimentConfig.model_validate(
    {
        "name": "tiny",
        "data": {"source": "synthetic:faces", "size": 16, "validation_images": 2, "workers": 0},
        "tokenizer": {
            "channels": 32,
            "channel_multipliers": (1, 1),
            "res_blocks": 1,
            "attention_resolutions": (),
            "z_channels": 16,
            "codebook_size": 16,
            "codebook_dim": 4,
        },
        "train_ae": {
            "steps": 3,
            "batch_size": 2,
            "log_every": 1,
            "validate_every": 2,
            "checkpoint_every": 1,
            "perceptual": {"kind": "none"},
            "adversarial": {"weight": 0},
        },
    }
)

# A process that begins a run, says that it is running, and dies at once without a chance to clean up.
KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from vqgan_cli.core.training.run_folder import RunFolder

run = RunFolder(Path(sys.argv[1]), resume=True)
run.write_status("running", step=0, steps=3)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps."""
    folder = tmp_path_factory.mktemp("runs") / "tiny-ae"
    train_ae(CONFIG, TrainAEOptions(out=folder, device="cpu"), Reporter())
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed; the command line works in its parent."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    """A tokenizer of random weights, saved as ``model.safetensors``."""
    torch.manual_seed(0)
    module = Tokenizer(CONFIG.tokenizer)
    provenance = {"version": "0.1.0", "step": 7, "data": "photos/", "images": 5, "validation": {"psnr": 21.5}}
    save_tokenizer(tmp_path / "model.safetensors", module.state_dict(), CONFIG, provenance)
    return module


def facts(vqgan: Vqgan, *arguments: str | Path) -> dict[str, Any]:
    done = vqgan("info", "--json", *arguments)
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def lines(vqgan: Vqgan, *arguments: str | Path) -> dict[str, str]:
    """Values by name of the plain text."""
    done = vqgan("info", *arguments)
    assert (done.code, done.err) == (0, "")
    rows = [line.split(maxsplit=1) for line in done.out.splitlines() if line.startswith("  ")]
    return {name: rest[0] if rest else "" for name, *rest in rows}


def record_status(path: Path, state: str, **details: Any) -> None:
    folder = RunFolder(path, resume=True)
    folder.write_status(state, **details)
    folder.close()


def test_this_machine(vqgan: Vqgan) -> None:
    """Oracles: the installed packages, the kernel's own figures, and torchvision's own state."""
    found = facts(vqgan)
    assert found["kind"] == "system"
    for name in ("torch", "accelerate", "lpips"):
        assert found["versions"][name] == importlib.metadata.version(name)
    cpu = found["devices"][0]
    assert (cpu["device"], cpu["precisions"]["bf16"]) == ("cpu", "yes")
    assert cpu["precisions"]["int8"] == ("in drawing" if has_int8() else "no")
    assert 1 <= cpu["cores"] <= (os.cpu_count() or 1)
    memory = Path("/proc/meminfo")
    if memory.is_file():
        assert cpu["memory"] == int(memory.read_text().split()[1]) * 1024
    assert len(found["devices"]) == 1 + torch.cuda.device_count() + torch.backends.mps.is_available()
    assert [w["network"] for w in found["weights"]] == [network for network, _ in cached_weights()]
    assert (torchvision_mismatch() in found["problems"]) or torchvision_mismatch() is None


def test_this_machine_as_text(vqgan: Vqgan) -> None:
    rows = lines(vqgan)
    assert rows["torch"] == importlib.metadata.version("torch")
    assert "RAM; fp32, bf16, fp16 not in training" in rows["cpu"]
    absent = [name for name in ("wandb", "tensorboard") if importlib.util.find_spec(name) is None]
    assert all(rows[name] == f"not installed: pip install 'vqgan[{name}]'" for name in absent)


def test_cached_weights_are_found(vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a file put where torch keeps its downloads, under the name that it is published by."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert {w["file"] for w in facts(vqgan)["weights"]} == {None}
    assert lines(vqgan)["squeeze"] == "not cached"
    file = tmp_path / "hub/checkpoints/squeezenet1_1-b8a52dc0.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(1500))
    assert {"network": "squeeze", "file": str(file), "bytes": 1500} in facts(vqgan)["weights"]
    assert lines(vqgan)["squeeze"] == f"{file} (1.5 kB)"


def test_torch_without_cuda_on_a_machine_with_its_driver(
    vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.backends.cuda.is_built():
        pytest.skip("this torch is built with CUDA")
    program = tmp_path / "nvidia-smi"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert any("built without CUDA" in problem for problem in facts(vqgan)["problems"])


def test_model(vqgan: Vqgan, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Oracles: the module that was saved, and arithmetic on its config: 16 pixels by f = 2 are 8 codes."""
    found = facts(vqgan, "model.safetensors")
    assert (found["kind"], found["format"], found["intact"]) == ("model", "vqgan-tokenizer/1", True)
    assert (found["downsampling"], found["grid"]) == (2, [8, 8])
    assert found["parameters"]["total"] == sum(p.numel() for p in tokenizer.parameters())
    assert found["parameters"]["quantizer"] == 16 * 4
    assert found["fingerprint"] == fingerprint(tokenizer.state_dict())
    assert found["bytes"] == (tmp_path / "model.safetensors").stat().st_size
    assert found["config"]["tokenizer"]["codebook_size"] == 16
    assert found["provenance"]["validation"] == {"psnr": 21.5}
    assert facts(vqgan, tmp_path) == {**found, "path": str(tmp_path / "model.safetensors")}


def test_model_as_text(vqgan: Vqgan, tokenizer: Tokenizer) -> None:
    rows = lines(vqgan, "model.safetensors")
    assert rows["tokens"] == "8 x 8 = 64 per image (f = 2)"
    assert rows["codebook"] == "16 codes of 4 numbers (vq)"
    assert (rows["data"], rows["images"]) == ("photos/", "5")
    assert (rows["step"], rows["validation"]) == ("7", "psnr 21.5")
    assert rows["parameters"].startswith("225 k (encoder ")


def test_damaged_weights_are_told(vqgan: Vqgan, tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert facts(vqgan, file)["intact"] is False
    assert "DAMAGED" in vqgan("info", file).out
    file.write_bytes(content[:-100])
    assert vqgan("info", file).code == 1


def test_foreign_weights_are_refused(vqgan: Vqgan, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "bare.safetensors")
    done = vqgan("info", "bare.safetensors")
    assert (done.code, done.out) == (1, "")
    assert "no vqgan config" in done.err
    metadata = {"format": "vqgan-other/9", "config": CONFIG.model_dump_json()}
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors", metadata)
    assert "is a vqgan-other/9 file" in vqgan("info", "other.safetensors").err


def test_finished_run(vqgan: Vqgan, run: Path) -> None:
    """Oracle: the status that the training wrote, and its settings: a checkpoint every step, the newest two kept."""
    found = facts(vqgan, run)
    status = json.loads((run / "status.json").read_text())
    assert (found["kind"], found["state"], found["step"], found["steps"]) == ("run", "finished", 3, 3)
    assert found["status"] == status
    assert found["validation"].items() >= status["validation"].items()
    assert found["validation"]["step"] == 3
    assert [(c["step"], c["problem"]) for c in found["checkpoints"]] == [(2, ""), (3, "")]
    assert [(Path(m["path"]).name, m["problem"]) for m in found["models"]] == [
        ("model.safetensors", ""),
        ("best.safetensors", ""),
    ]
    assert found["models"][0]["step"] == 3
    assert found["config"] == CONFIG.model_dump(mode="json")
    assert found["next"] == f"vqgan encode IMAGES -o codes.npy --ae {run}"
    assert found["problems"] == []
    rows = lines(vqgan, "run")
    assert rows["state"] == "finished: all steps done"
    assert rows["step"].startswith("3 of 3 at 20")
    assert "loss/total" in rows["training"]
    assert "psnr" in rows["validation"]
    assert rows["step-00000003"].endswith(" MB, good")
    assert rows["data"] == "synthetic:faces"
    assert rows["loss"] == "l1"


def test_damaged_checkpoint_and_model_of_a_run(vqgan: Vqgan, run: Path) -> None:
    """Oracle: the one file that was changed is named, and the older checkpoint is what a resumed run would take."""
    file = run / "checkpoints/step-00000003/tokenizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    (run / "best.safetensors").write_bytes(b"no weights")
    record_status(run, "stopped", reason="interrupted", step=3)
    found = facts(vqgan, run)
    assert [(c["step"], c["problem"]) for c in found["checkpoints"]] == [
        (2, ""),
        (3, "tokenizer.safetensors is damaged (checksum differs)"),
    ]
    assert "not a readable safetensors file" in found["models"][1]["problem"]
    assert found["next"] == f"vqgan train-ae --resume --out {run}"
    rows = lines(vqgan, run)
    assert rows["step-00000003"].endswith("tokenizer.safetensors is damaged (checksum differs)")
    assert rows["state"] == "stopped: interrupted"


def test_run_at_work(vqgan: Vqgan, run: Path) -> None:
    folder = RunFolder(run, resume=True)
    try:
        assert facts(vqgan, run)["state"] == "starting"
        folder.write_status("running", step=1, steps=3)
        folder.log(4, {"loss/total": 0.5})
        with (run / "log.jsonl").open("a") as log:
            log.write('{"step": 5, "loss/tot')  # a line that is being written
        found = facts(vqgan, run)
        assert (found["state"], found["step"], found["training"]["loss/total"]) == ("running", 4, 0.5)
        assert f"kill -TERM {os.getpid()}" in found["next"]
        folder.write_status("running")  # looking at a run does not take its lock away
    finally:
        folder.close()


@pytest.mark.parametrize("checkpoints", [True, False])
def test_killed_run(vqgan: Vqgan, run: Path, checkpoints: bool) -> None:
    """Oracle: a process that really dies by SIGKILL while its status says that it is running."""
    died = subprocess.run([sys.executable, "-c", KILLED_RUN, str(run)], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    if not checkpoints:
        shutil.rmtree(run / "checkpoints")
    found = facts(vqgan, run)
    assert (found["status"]["state"], found["state"]) == ("running", "killed")
    again = "--resume --out run" if checkpoints else "--preset run/config.yaml --out run --force"
    assert lines(vqgan, "run")["next"] == f"vqgan train-ae {again}"


def test_failed_run_with_nothing_saved(vqgan: Vqgan, tmp_path: Path) -> None:
    record_status(tmp_path / "run", "failed", reason="no images")
    found = facts(vqgan, "run")
    assert (found["state"], found["step"], found["checkpoints"], found["config"]) == ("failed", 0, [], None)
    assert lines(vqgan, "run")["state"] == "failed: no images"


def test_run_with_damaged_files(vqgan: Vqgan, run: Path) -> None:
    (run / "status.json").write_text('{"state": "fin')
    (run / "config.yaml").write_text(dump(CONFIG).replace("channels: 32", "chanels: 32"))
    found = facts(vqgan, run)
    assert len(found["problems"]) == 2
    assert "chanels" in found["problems"][0]
    assert "status.json" in found["problems"][1]
    assert found["step"] == 3


@pytest.mark.parametrize("native", [False, True])
def test_codes(vqgan: Vqgan, tmp_path: Path, native: bool) -> None:
    metadata = CodesMetadata(
        codebook_size=300,
        downsampling=2,
        fingerprint="abc",
        tokenizer="runs/a",
        sizing="native" if native else "crop",
        size=None if native else (8, 6),
        classes=("cat", "dog"),
    )
    writer = CodesWriter(tmp_path / "codes.npy", metadata, count=4, source_fingerprint="x")
    for index in range(3):
        grid = (5, 2) if native and index == 2 else (4, 3)
        writer.add(
            index, np.full(grid, index), name=f"{index}.png", size=(9, 9), resized=(9, 9), label=index % 2
        )
    writer.fail(3, "bad.png", "truncated")
    writer.finalise()

    found = facts(vqgan, "codes.npy")
    assert (found["kind"], found["images"], found["dtype"], found["failed"]) == ("codes", 3, "uint16", 1)
    assert found["grids"] == ([[[4, 3], 2], [[5, 2], 1]] if native else [[[4, 3], 3]])
    assert found["tokens"] == (34 if native else 36)
    assert found["classes"] == {"cat": 2, "dog": 1}
    assert (found["metadata"]["fingerprint"], found["metadata"]["codebook_size"]) == ("abc", 300)
    assert facts(vqgan, "codes.json") == found
    rows = lines(vqgan, "codes.npy")
    assert rows["grids"] == ("4 x 3 (2); 5 x 2 (1)" if native else "4 x 3")
    assert rows["classes"] == "cat (2); dog (1)"
    assert rows["codebook"] == "300 codes, f = 2"
    assert rows["failed"] == "1 of 4"


def test_codes_without_description(vqgan: Vqgan, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.zeros((2, 3, 4), np.int32))
    found = facts(vqgan, "mine.npy")
    assert (found["images"], found["grids"], found["metadata"]) == (2, [[[3, 4], 2]], None)
    assert "no mine.json" in lines(vqgan, "mine.npy")["metadata"]
    np.save(tmp_path / "floats.npy", np.zeros((2, 3, 4)))
    assert vqgan("info", "floats.npy").code == 1


def test_what_is_nothing_is_refused(vqgan: Vqgan, run: Path) -> None:
    (run.parent / "notes.txt").touch()
    (run.parent / "empty").mkdir()
    for name, message, hint in (
        ("notes.txt", "neither a model (.safetensors) nor a codes file (.npy)", "its folder"),
        ("empty", "(no status.json) nor a model (no model.safetensors)", "name a run folder"),
        ("rum", "does not exist (did you mean 'run'?)", "name a run folder"),
        (".", "neither a run", "in it: vqgan info run"),
        ("run/checkpoints", "neither a run", f"the run it belongs to: vqgan info {run}"),
        ("run/checkpoints/step-00000003", "neither a run", f"the run it belongs to: vqgan info {run}"),
    ):
        done = vqgan("info", name)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert hint in done.err


def test_many_classes_are_cut_short(vqgan: Vqgan, tmp_path: Path) -> None:
    state = Tokenizer(CONFIG.tokenizer).state_dict()
    names = [f"class {number}" for number in range(12)]
    save_tokenizer(tmp_path / "model.safetensors", state, CONFIG, {"classes": names})
    assert lines(vqgan, "model.safetensors")["classes"].startswith("12: class 0; class 1;")
    assert lines(vqgan, "model.safetensors")["classes"].endswith("class 9; and 2 more")


def test_table_on_a_terminal(tokenizer: Tokenizer, tmp_path: Path) -> None:
    import pty

    parent, child = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "vqgan_cli", "info", "model.safetensors"],
        stdout=child,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm"},
        check=False,
    )
    os.close(child)
    shown = os.read(parent, 100_000).decode()
    os.close(parent)
    assert done.returncode == 0
    assert "──" in shown
    assert "8 x 8 = 64 per image (f = 2)" in shown


def test_quiet_keeps_the_data(run_vqgan: RunVqgan) -> None:
    """As a user runs it: the facts are data, so they are on stdout whatever is silenced."""
    done = run_vqgan("info", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "torch " in done.stdout
