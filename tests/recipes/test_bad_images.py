"""Damaged, dangerous and odd picture files, given to every command that reads pictures.

``tests/data/test_images.py`` has the same files one by one, with the reader alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.bad_images import OK, Pixels, write_bad_images, write_odd_images, write_turned_images
from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.test_conditions import train as train_transformer
from tests.recipes.test_upscale import save_model
from tests.recipes.tiny_run import settings, tensors
from tests.recipes.tiny_run import train as train_ae
from vqgan_cli.core.data.codes import open_codes

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def enlarger(coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("enlarger") / "model.safetensors", coarse)


@pytest.fixture(scope="module")
def of_edges(coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer that draws by edges, which it computes from pictures."""
    return save_model(tmp_path_factory.mktemp("edges") / "model.safetensors", coarse, "edges")


@pytest.fixture
def bad(tmp_path: Path) -> dict[str, str]:
    """The corpus as ``mixed``; names of its bad files and what is wrong with them."""
    expected = write_bad_images(tmp_path / "mixed")
    return {name: reason for name, reason in expected.items() if reason != OK}


def assert_named(failed: Mapping[str, str], bad: Mapping[str, str], messages: str) -> None:
    """All bad files and no other, each with its reason, in the result and in the messages."""
    assert failed.keys() == bad.keys()
    for name, reason in bad.items():
        assert reason in failed[name]
        assert repr(name)[1:-1] in messages
    assert "internal error" not in messages


@pytest.mark.fault(19, "train-transformer")
@pytest.mark.fault(20, "train-transformer")
def test_train_transformer_skips_bad_pictures(
    bad: dict[str, str], coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the corpus says which files are bad. The rest are trained on."""
    write_turned_images(tmp_path / "good")
    data = ("--data", "mixed", "--val", "good", "--unconditional", "--json")
    done = vqgan(*train_transformer(coarse.path, "run", 1, *data, train_transformer__max_images=0))
    assert done.code == 3, done.err
    result = json.loads(done.out)
    assert_named({each["path"]: each["reason"] for each in result["unreadable_files"]}, bad, done.err)
    assert result["step"] == 1


@pytest.mark.fault(19, "upscale")
@pytest.mark.fault(20, "upscale")
@pytest.mark.fault(31, "upscale")
def test_upscale_skips_bad_pictures(
    bad: dict[str, str], enlarger: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the corpus. Odd names, and links, are enlarged under their own names; nothing else is written."""
    good = {path.name for path in (tmp_path / "mixed").iterdir() if path.is_file()} - bad.keys()
    done = vqgan("upscale", "mixed", "-o", "out", "-m", enlarger, "--tokenizer-only", "--json", *CPU)
    assert done.code == 3, done.err
    result = json.loads(done.out)
    assert_named({each["name"]: each["reason"] for each in result["failed"]}, bad, done.err)
    assert {image["source"] for image in result["images"]} == good
    written = {path.stem for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == {Path(name).stem for name in good}


@pytest.mark.fault(19, "generate")
@pytest.mark.fault(20, "generate")
def test_generate_skips_bad_pictures_of_a_folder(
    bad: dict[str, str], of_edges: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the corpus. An image is drawn for each of the others."""
    good = {path.name for path in (tmp_path / "mixed").iterdir() if path.is_file()} - bad.keys()
    done = vqgan("generate", "-m", of_edges, "--condition", "mixed", "--from-image", "--json", *CPU)
    assert done.code == 3, done.err
    result = json.loads(done.out)
    assert_named({each["name"]: each["reason"] for each in result["failed"]}, bad, done.err)
    assert len(result["images"]) == len(good)
    assert all((tmp_path / image).is_file() for image in result["images"])


@pytest.mark.fault(19, "generate")
@pytest.mark.fault(20, "generate")
@pytest.mark.parametrize(
    "use", [("--complete", "--known", "top:0.5"), ("--variations",), ("--condition", "--from-image")]
)
def test_generate_refuses_a_bad_photo(
    use: tuple[str, ...], bad: dict[str, str], of_edges: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the corpus. The one picture that was named is bad: exit 1, and nothing is drawn."""
    write_turned_images(tmp_path / "good")
    map_ = () if use[0] == "--condition" else ("--condition", "good/1.png", "--from-image", "--size", "32")
    for name, reason in bad.items():
        done = vqgan("generate", "-m", of_edges, use[0], f"mixed/{name}", *use[1:], *map_, *CPU)
        assert (done.code, done.out) == (1, "")
        assert reason in done.err or (use[0] == "--condition" and "no such file or folder" in done.err)
        assert f"mixed/{name}'" in done.err
        assert "internal error" not in done.err
    assert not list(tmp_path.glob("samples/*.png"))


# Pictures that only look odd


Form = Callable[[Path], dict[str, Pixels]]


def forms(command: str) -> pytest.MarkDecorator:
    """Both corpora for a command, as ``form``."""
    turned = pytest.param(write_turned_images, id="turned", marks=pytest.mark.fault(21, command))
    odd = pytest.param(write_odd_images, id="odd", marks=pytest.mark.fault(22, command))
    return pytest.mark.parametrize("form", [turned, odd])


def write_plain(folder: Path, expected: Mapping[str, Pixels], *, composited: bool) -> None:
    """The pictures as the plainest PNG there is, under the same names; transparent over white, or as if opaque."""
    folder.mkdir()
    for name, rgba in expected.items():
        colours = rgba[..., :3].astype(np.float64)
        if composited:
            opacity = rgba[..., 3:] / 255
            colours = np.floor(opacity * colours + (1 - opacity) * 255 + 0.5)
        Image.fromarray(colours.astype(np.uint8)).save(folder / name)


@forms("train-ae")
def test_odd_pictures_train_as_plain_ones(form: Form, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: training is deterministic, so that equal pixels, and no others, give the same weights bit for bit."""
    write_plain(tmp_path / "plain", form(tmp_path / "odd"), composited=True)
    models = []
    for folder in ("odd", "plain"):
        data = ("--data", folder, "--val", folder, *settings(data__workers=0, data__crop="center"))
        done = vqgan(*train_ae(folder + "-run", 2, train_ae__batch_size=16), *data)
        assert done.code == 0, done.err
        models.append(tensors(tmp_path / f"{folder}-run/model.safetensors")[0])
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


@forms("encode")
def test_odd_pictures_have_the_codes_of_plain_ones(
    form: Form, tiny: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the codes of the same pixels from plain files."""
    expected = form(tmp_path / "odd")
    write_plain(tmp_path / "plain", expected, composited=True)
    for folder in ("odd", "plain"):
        done = vqgan("encode", folder, "--ae", tiny.path, "-o", f"{folder}.npy", "--native", *CPU)
        assert done.code == 0, done.err
    odd, plain = (open_codes(tmp_path / f"{folder}.npy") for folder in ("odd", "plain"))
    assert odd.images == plain.images  # names, sizes, checksums of the codes
    assert len({image.crc32 for image in odd.images}) == len({rgba.tobytes() for rgba in expected.values()})


@forms("upscale")
def test_odd_pictures_are_enlarged_as_plain_ones(
    form: Form, enlarger: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the colours of the same pixels from plain files; ``test_upscale.py`` has what becomes of the opacity."""
    expected = form(tmp_path / "odd")
    write_plain(tmp_path / "plain", expected, composited=False)
    for folder in ("odd", "plain"):
        done = vqgan("upscale", folder, "-o", f"{folder}-out", "-m", enlarger, "--max-batch", "64", *CPU)
        assert done.code == 0, done.err
    for name, rgba in expected.items():
        odd, plain = (read(tmp_path / f"{folder}-out" / name) for folder in ("odd", "plain"))
        assert plain.shape == (48, 64, 3)
        assert np.array_equal(odd[..., :3], plain), name
        assert odd.shape[2] == (3 if rgba[..., 3].min() == 255 else 4)


def read(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)
