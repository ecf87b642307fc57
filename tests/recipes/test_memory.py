"""How much memory commands take, whatever the number of inputs and the size of pictures; what is said when it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.recipes.conftest import SavedTokenizer, Vqgan, save_tiny
from tests.recipes.forked import Forked
from tests.recipes.test_generate import save_transformer_of
from tests.recipes.test_upscale import save_model
from tests.recipes.tiny_run import Trainer, assert_plain, fault, newest_step, status, trainers
from vqgan_cli.core.artifacts import load_tokenizer, load_transformer
from vqgan_cli.core.training.checkpoints import checkpoint_folders, verify

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux says how much memory a process takes"
)

# The real program, which at its end says how much memory it had at most.
MEASURED = """
import sys
from vqgan_cli.cli.app import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(*(line.split()[1] for line in status if line.startswith("VmHWM:")), file=sys.stderr)
"""


def peak(program: str, *arguments: str | Path, cwd: Path) -> int:
    """The number of bytes that a program says, given in kB in its last line on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments), "--device", "cpu", "--quiet"],
        cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return 1024 * int(done.stderr.splitlines()[-1])


def write_photos(folder: Path, count: int, side: int = 8) -> None:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.png")


def save_thin(path: Path, levels: int) -> SavedTokenizer:
    """f = 2^(levels - 1), with as few layers as there can be."""
    few = {"decoder_res_blocks": 1, "mid_attention": False, "downsample": "average"}
    return save_tiny(path, channel_multipliers=(1,) * levels, **few)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["encode", "decode", "generate", "generate by maps", "upscale"])
def test_memory_is_flat_in_the_number_of_inputs(command: str, tiny: SavedTokenizer, tmp_path: Path) -> None:
    """Invariant: the peak at 10,000 inputs is within a tenth of that at 100."""
    for count in (100, 10_000):
        if command == "decode":
            codes = np.random.default_rng(0).integers(0, 300, (count, 2, 2), np.uint16)
            np.save(tmp_path / f"codes{count}.npy", codes)
        elif command != "generate":
            write_photos(tmp_path / f"photos{count}", count, side=64 if command == "generate by maps" else 8)
    f16, f32 = (save_thin(tmp_path / f"f{2**levels}.safetensors", levels + 1) for levels in (4, 5))
    enlarger = save_model(tmp_path / "lowres.safetensors", f16, grid=(2, 2))
    by_maps = save_model(tmp_path / "edges.safetensors", f32, "edges", grid=(2, 2))
    generator = save_transformer_of(tmp_path / "classes").path
    words: Callable[[int], Sequence[str | Path]] = {
        "encode": lambda count: (
            "encode", f"photos{count}", "--ae", tiny.path, "--size", "8", "--batch-size", "64", "-o", f"{count}.npy"
        ),
        "decode": lambda count: (
            "decode", f"codes{count}.npy", "--ae", tiny.path, "--batch-size", "64", "-o", f"{count}"
        ),
        "generate": lambda count: (
            "generate", "-m", generator, "-n", f"{count}", "--max-batch", "64", "-o", f"{count}"
        ),
        "generate by maps": lambda count: (
            "generate", "-m", by_maps, "--condition", f"photos{count}", "-o", f"{count}"
        ),
        "upscale": lambda count: ("upscale", f"photos{count}", "-m", enlarger, "-o", f"{count}"),
    }[command]  # fmt: skip
    few, many = (peak(MEASURED, *words(count), cwd=tmp_path) for count in (100, 10_000))
    assert abs(many / few - 1) < 0.1


# The real program with pictures on disk from 4 MB on, not from 100 MB, as a picture of 100 MB takes many minutes; and
# with small tiles, beside which a copy of a picture shows. What lies in files that are mapped is left out: the kernel
# takes it away when memory is short.
WITHOUT_FILES = """
import functools, sys, threading, time
from vqgan_cli.cli.app import run
from vqgan_cli.core import tiled_encoding
from vqgan_cli.core.upscaling import scratch, upscaler

scratch.MAX_IN_MEMORY = 2**22
tiled_encoding._TILE, tiled_encoding._MARGIN = 512, 64
upscaler.decode_in_tiles = functools.partial(upscaler.decode_in_tiles, max_activations=2**22, max_cells=2**14)
peak = 0

def watch():
    global peak
    while True:
        with open("/proc/self/status") as status:
            peak = max(peak, *(int(line.split()[1]) for line in status if line.startswith("RssAnon:")))
        time.sleep(0.01)

threading.Thread(target=watch, daemon=True).start()
code = run(sys.argv[1:])
print(peak, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
def test_memory_of_upscale_is_flat_in_the_size_of_the_picture(tmp_path: Path) -> None:
    """Invariant: four times as many pixels, beyond what is held in memory, take no more; a copy of them takes 44 MB."""
    model = save_model(tmp_path / "model.safetensors", save_thin(tmp_path / "f8.safetensors", levels=4))
    words = ("-m", model, "--tokenizer-only", "--consistent")
    found = []
    for side in (560, 1120):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 70, 3), np.uint8))
        noise.resize((side, side), Image.Resampling.BICUBIC).save(tmp_path / f"{side}.png")
        found.append(
            peak(WITHOUT_FILES, "upscale", f"{side}.png", "-o", f"{side}-out.png", *words, cwd=tmp_path)
        )
    assert found[1] - found[0] < 30e6


SHORT = {
    # Command line, the file that is opened when memory becomes short, how many MB are left, and the flag to change.
    "encode": (
        ["encode", "photos", "--size", "128", "--batch-size", "16", "--ae", "TINY", "-o", "out.npy"],
        "photos/00000.png", 100, "--batch-size",
    ),
    "decode": (
        ["decode", "codes.npy", "--batch-size", "32", "--ae", "TINY", "-o", "out"],
        ".decoding.json", 150, "--batch-size",
    ),
    "generate": (
        ["generate", "-n", "3000", "--max-batch", "3000", "-m", "GENERATOR", "-o", "out"],
        "samples.json", 30, "--max-batch",
    ),
    "upscale": (
        ["upscale", "photos", "--max-batch", "16", "-m", "ENLARGER", "-o", "out"],
        "photos/00016.png", 10, "--max-batch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", [pytest.param(name, marks=pytest.mark.fault(32, name)) for name in SHORT])
def test_out_of_memory(
    command: str,
    tiny: SavedTokenizer,
    coarse: SavedTokenizer,
    fork: Callable[..., Forked],
    vqgan: Vqgan,
    tmp_path: Path,
) -> None:
    """One message with the flag and a smaller number, with which the same command goes on from what is there.

    A batch that is said to fit does so: half of it, as what else takes memory is not the same each time, is enough for
    the command to end under the same limit.
    """
    write_photos(tmp_path / "photos", 16, side=12)
    write_photos(tmp_path / "large", 1, side=160)  # is more than is left
    (tmp_path / "large/00000.png").rename(tmp_path / "photos/00016.png")
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).integers(0, 300, (17, 64, 64), np.uint16))
    models = {"TINY": str(tiny.path)}
    if command == "generate":
        models["GENERATOR"] = str(save_transformer_of(tmp_path / "classes").path)
    elif command == "upscale":
        models["ENLARGER"] = str(save_model(tmp_path / "lowres.safetensors", coarse))
    words, part, left, flag = SHORT[command]
    line = [*(models.get(word, word) for word in words), "--device", "cpu"]
    short = fault("open", part, f"MEMORY_FULL:{left}")
    code, output, errors = fork(*line, env=short).wait()
    assert (code, output) == (1, ""), errors
    assert_plain(errors)
    assert errors.count("error: out of memory on cpu with ") == 1
    smaller = re.search(rf"hint: .*{flag} (\d+)", errors)
    assert smaller is not None, errors
    assert 0 < int(smaller[1]) < int(line[line.index(flag) + 1])
    line[line.index(flag) + 1] = str(max(1, int(smaller[1]) // 2))
    if command in ("encode", "decode"):
        code, output, errors = fork(*line, env=short).wait()
        assert code == 0, errors
    else:
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*.png")}
        assert len(kept) == (16 if command == "upscale" else 0)
        done = vqgan(*line)
        assert done.code == 0, done.err
        assert {path: path.stat().st_mtime_ns for path in kept} == kept


@trainers(32)
def test_training_out_of_memory(
    trainer: Trainer, fork: Callable[..., Forked], vqgan: Vqgan, tmp_path: Path
) -> None:
    """One message with flags that make the same step of smaller parts; the checkpoint before is whole and goes on."""
    assert vqgan(*trainer.train("run", 4)).code == 0
    run = tmp_path / "run"
    size = {"train-ae": 128, "train-transformer": 4096}[trainer.command]
    larger = trainer.resume("run", "--steps", "8", "--batch-size", str(size), "--allow-change")
    code, output, errors = fork(*larger, env=fault("open", "run/.config.yaml", "MEMORY_FULL:30")).wait()
    assert (code, output) == (1, ""), errors
    assert_plain(errors)
    assert errors.count(f"error: out of memory on cpu after step 4, with --batch-size {size}\n") == 1
    assert f"--batch-size {size // 2} --set {trainer.section}.accumulate=2" in errors
    assert (status(run)["state"], newest_step(run)) == ("failed", 4)
    assert not any(verify(folder) for folder in checkpoint_folders(run / "checkpoints"))
    load = load_tokenizer if trainer.command == "train-ae" else load_transformer
    load(run)
    done = vqgan(*trainer.resume("run", "--steps", "5", "--batch-size", "4"))
    assert done.code == 0, done.err
    assert newest_step(run) == 5
