"""encode, decode, generate and upscale in two processes on CPUs, as ``torchrun`` starts them: they divide the work."""

from __future__ import annotations

import signal
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.launching import Launcher
from tests.recipes.test_generate import SavedTransformer, imagenet, pets  # noqa: F401
from tests.recipes.test_upscale import save_model
from tests.recipes.tiny_run import fault

PHOTOS = 7


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of 9x12 pixels, and a file that is none, which is the share of the second process."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(PHOTOS):
        noise = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    (folder / "5.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def enlarger(coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("enlarger") / "model.safetensors", coarse)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def encoding(photos: Path, ae: SavedTokenizer, out: str) -> list[str | Path]:
    return [
        "encode",
        photos,
        "--ae",
        ae.path,
        "--device",
        "cpu",
        "--batch-size",
        "2",
        "-o",
        f"{out}/codes.npy",
    ]


def drawing(model: SavedTransformer, out: str, *more: str | Path) -> list[str | Path]:
    command = ["generate", "--model", model.path, "--device", "cpu", "--max-batch", "2"]
    return [*command, "-o", f"{out}/samples", "--codes", f"{out}/drawn.npy", *more]


def test_two_processes_write_the_files_of_one(
    photos: Path,
    tiny: SavedTokenizer,
    pets: SavedTransformer,  # noqa: F811
    enlarger: Path,
    vqgan: Vqgan,
    launch: Launcher,
    tmp_path: Path,
) -> None:
    """Oracle: one process; all files are the same, byte for byte. Each has its share, and the first speaks for both.

    The first process is late: what the other could have written by then must not look as if it had been there before.
    """

    def commands(out: str) -> list[list[str | Path]]:
        codes = Path(f"{out}/codes.npy")
        decoding = ["decode", codes, "--ae", tiny.path, "--device", "cpu", "--batch-size", "2"]
        upscaling = ["upscale", photos, "--model", enlarger, "--device", "cpu", "-o", f"{out}/large"]
        return [
            encoding(photos, tiny, out),
            [*decoding, "-o", f"{out}/decoded"],
            [*decoding, "-o", f"{out}/sheet.png", "--grid"],
            drawing(pets, out, "-n", "5"),
            upscaling,
        ]

    words = list(chain.from_iterable([*command, "then"] for command in commands("two")))
    two = launch(*words, env={"LATE": "1"})
    one = [vqgan(*command) for command in commands("one")]
    codes = [3, 0, 0, 0, 3]
    assert [done.code for done in one] == codes
    assert [two.ranks[rank]["world"] for rank in (0, 1)] == [2, 2], two.err
    assert two.codes == {0: codes, 1: [0] * 5}, two.err
    assert two.out == "".join(done.out for done in one).replace("one", "two")
    assert "skipped '5.png'" in two.err
    assert two.err.count("large/4.png: 36x48") == 1
    expected = contents(tmp_path / "one")
    assert contents(tmp_path / "two") == expected

    def pictures(rank: int, kind: str, folder: Path) -> set[str]:
        return {path for path in two.ranks[rank][kind] if Path(path).parent == folder}

    for kind, folder in (
        ("opened", photos),
        ("written", Path("two/decoded")),
        ("written", Path("two/samples")),
        ("written", Path("two/large")),
    ):
        shares = [pictures(rank, kind, folder) for rank in (0, 1)]
        assert all(len(share) > 1 for share in shares), (folder, shares)
        assert not shares[0] & shares[1] - {"two/samples/sheet.png"}


@pytest.mark.slow
def test_two_processes_reject_as_one(
    imagenet: SavedTransformer,  # noqa: F811
    vqgan: Vqgan,
    launch: Launcher,
    shared: Path,
    tmp_path: Path,
) -> None:
    """Oracle: one process, byte for byte; each scores the candidates of its classes, and the scores come together."""
    weights = shared / "weights/squeezenet1_0.safetensors"
    if not weights.is_file():
        pytest.skip(f"no {weights}")
    rejecting = ("--class", "207,5,1", "-n", "2", "--keep", "0.25", "--scorer", weights)
    two = launch(*drawing(imagenet, "two", *rejecting))
    assert two.code == 0, two.err
    assert all(two.ranks[rank]["written"] for rank in (0, 1))
    one = vqgan(*drawing(imagenet, "one", *rejecting))
    assert one.code == 0, one.err
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize(
    "command",
    [
        pytest.param("encode", marks=pytest.mark.fault(7, "encode")),
        pytest.param("generate", marks=pytest.mark.fault(7, "generate")),
    ],
)
def test_one_process_is_stopped(
    command: str,
    number: signal.Signals,
    photos: Path,
    tiny: SavedTokenizer,
    pets: SavedTransformer,  # noqa: F811
    vqgan: Vqgan,
    launch: Launcher,
    tmp_path: Path,
) -> None:
    """Killed or terminated, it takes the other one with it; what is done is kept, and one process can go on.

    Oracle: one process that was never stopped, byte for byte.
    """

    def words(out: str) -> list[str | Path]:
        return encoding(photos, tiny, out) if command == "encode" else drawing(pets, out, "-n", "8")

    meets = ("open", "3.png") if command == "encode" else ("os.rename", "samples/.")
    stop = fault(*meets, number.name) | {"VQGAN_FAULT_RANK": "1"}
    stopped = launch(*words("cut"), env=stop)
    codes = stopped.codes
    assert codes.pop(0) in ([1], [143]), stopped.err  # as the launcher or the end of the other is first
    assert codes == ({} if number == signal.SIGKILL else {1: [143]})
    assert "internal error" not in stopped.err
    assert stopped.out == ""
    expected = 3 if command == "encode" else 0
    assert vqgan(*words("cut")).code == expected
    assert vqgan(*words("whole")).code == expected
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "reconstruction", "--ae", "x", "--data", "synthetic:faces"),
        ("evaluate", "samples", "--samples", "x", "--reference", "y"),
        ("evaluate", "statistics", "--data", "x", "-o", "y.npz"),
        ("evaluate", "likelihood", "--model", "x", "--data", "synthetic:faces"),
        ("study", "prior"),
        ("bench", "encode"),
    ],
    ids=" ".join,
)
def test_work_of_one_process_in_several(
    words: tuple[str, ...], vqgan: Vqgan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before anything is looked for: each process would do all of it."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = vqgan(*words)
    assert (done.code, done.out) == (2, "")
    assert "works in one process, and a launcher has started 2" in done.err
