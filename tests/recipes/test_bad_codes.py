"""Damaged, dangerous and foreign codes files, given to every command that reads codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.data.bad_codes import BAD_CODES, CANARY, of_image
from tests.data.bad_images import write_turned_images
from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_bad_images import CPU
from tests.recipes.test_conditions import train as train_transformer
from vqgan_cli.core.data.codes import open_codes

COMMANDS = ("decode", "train-transformer", "generate")

Lines = dict[str, list[str | Path]]


@pytest.fixture(scope="module")
def encoded(coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good codes file of eight images in one class."""
    from vqgan_cli.cli.app import run

    folder = tmp_path_factory.mktemp("encoded")
    write_turned_images(folder / "photos/all")
    target = folder / "codes/codes.npy"
    words = ["encode", folder / "photos", "--ae", coarse.path, "--size", "32", "-o", target, *CPU]
    assert run([str(word) for word in words]) == 0
    return target


@pytest.fixture
def codes(encoded: Path, tmp_path: Path) -> Path:
    """A copy of them as ``codes.npy`` in the folder in which the commands are started."""
    shutil.copytree(encoded.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "codes.npy"


@pytest.fixture(scope="module")
def lines(coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """The command lines that read ``codes.npy``; generate draws by them as codes of maps."""
    from vqgan_cli.cli.app import run

    model = tmp_path_factory.mktemp("model") / "run"
    by_edges = {"condition__kind": "edges", "condition__tokenizer": "same"}
    assert run([str(word) for word in train_transformer(coarse.path, str(model), 1, **by_edges)]) == 0
    return {
        "decode": ["decode", "codes.npy", "-o", "out", "--ae", coarse.path, *CPU],
        "train-transformer": train_transformer(coarse.path, "run", 1, "--codes", "codes.npy"),
        "generate": ["generate", "-m", model, "--condition", "codes.npy", "-o", "out", *CPU],
    }


def tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "run" not in path.relative_to(folder).parts}


@pytest.mark.parametrize("name", COMMANDS)
def test_good_codes_are_read(name: str, codes: Path, lines: Lines, vqgan: Vqgan) -> None:
    """Oracle: the tests below fail for what they change, and for nothing else."""
    assert vqgan(*lines[name]).code == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[pytest.mark.fault(bad.row, name)] if bad.row else [])
        for name in COMMANDS
        for kind, bad in BAD_CODES.items()
    ],
)
def test_bad_codes_are_refused(
    name: str, kind: str, codes: Path, lines: Lines, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the corpus. One message with the reason, nothing executed, nothing made, neither here nor elsewhere."""
    bad = BAD_CODES[kind]
    bad.spoil(codes)
    before = tree(tmp_path)
    done = vqgan(*lines[name])
    assert (done.code, done.out) == (1, "")
    assert bad.complaint in done.err
    assert "codes." in done.err
    assert "internal error" not in done.err
    assert done.err.count("error:") == 1
    assert not Path(CANARY).exists()
    assert tree(tmp_path) - before <= {tmp_path / "out"}
    assert not list(tmp_path.glob("out/*"))
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.parametrize("name", [pytest.param(each, marks=pytest.mark.fault(24, each)) for each in COMMANDS])
def test_a_code_outside_is_located(name: str, codes: Path, lines: Lines, vqgan: Vqgan) -> None:
    """Closed form: image, name, row, column, value and codebook, as they were spoilt."""
    BAD_CODES["outside the codebook"].spoil(codes)
    message = (
        "image 1 ('all/2.png') has the code 300 at row 2, column 3, outside the codebook of 300 (0 to 299)"
    )
    assert message in vqgan(*lines[name]).err


@pytest.mark.fault(25, "decode")
def test_codes_of_another_tokenizer_by_force(codes: Path, lines: Lines, vqgan: Vqgan) -> None:
    """Invariant: the way out that the message names is one; the images are those of the codes."""
    assert vqgan(*lines["decode"], "-o", "good").code == 0
    BAD_CODES["of another tokenizer"].spoil(codes)
    done = vqgan(*lines["decode"])
    assert "decode all the same with --force" in done.err
    assert vqgan(*lines["decode"], "--force").code == 0
    for image in Path("good/all").iterdir():
        assert image.read_bytes() == Path("out/all", image.name).read_bytes()


def test_an_original_as_large_as_one_likes(codes: Path, lines: Lines, vqgan: Vqgan) -> None:
    """Invariant: no size in a description asks for more memory than images may take; without it the codes decode."""
    of_image(size=[200_000, 200_000], resized=[32, 32])(codes)
    done = vqgan(*lines["decode"])
    assert done.code == 1
    assert "image 1 ('all/2.png') has an original of 200000x200000 (height x width)" in done.err
    assert vqgan(*lines["decode"], "--keep-size").code == 0


def test_names_that_no_file_can_have(codes: Path, lines: Lines, vqgan: Vqgan) -> None:
    """Invariant: one message; the codes themselves are good."""
    of_image(name="x" * 5000)(codes)
    done = vqgan(*lines["decode"])
    assert done.code == 1
    assert done.err.startswith("error: cannot write 'out/xxx")
    assert "File name too long" in done.err
    assert vqgan(*lines["decode"], "--grid").code == 0


@pytest.mark.parametrize("shape", [(2, 0, 4), (0, 4, 4), (2, 4, 0), (2, 2, 4, 4), ()])
def test_codes_of_nothing(shape: tuple[int, ...], lines: Lines, vqgan: Vqgan) -> None:
    """Oracle: closed form. Arrays without a description that hold no grid."""
    np.save("codes.npy", np.zeros(shape, np.uint16))
    done = vqgan(*lines["decode"])
    assert done.code == 1
    assert "codes.npy' ha" in done.err or "codes.npy' holds no images" in done.err


def test_the_corpus_spoils_a_good_file(codes: Path) -> None:
    """Oracle: the reader, which takes the pair before it is spoilt."""
    open_codes(codes).validate()
    assert {bad.row for bad in BAD_CODES.values()} == {0, 23, 24, 25}
