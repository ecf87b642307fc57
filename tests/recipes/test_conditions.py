"""From maps to images on the command line: tokenizers of maps, transformers that know them, generate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.tiny_run import TINY as TINY_AE
from tests.recipes.tiny_run import settings, tensors
from vqgan_cli.core.artifacts import load_transformer, read_model_info
from vqgan_cli.core.config import MapKindName, MapsConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS

FACES = SYNTHETIC_SETS["faces"]
TINY = {
    "transformer__layers": 1,
    "transformer__heads": 2,
    "transformer__width": 32,
    "train_transformer__batch_size": 4,
    "train_transformer__max_images": 16,
    "train_transformer__validate_every": 0,
    "train_transformer__sample_every": 0,
    "train_transformer__checkpoint_every": 2,
    "data__validation_images": 6,
}


def train(ae: Path, out: str, steps: int, *more: str | Path, **changes: object) -> list[str | Path]:
    words: list[str | Path] = ["train-transformer", "--preset", "demo", "--device", "cpu", "--ae", ae]
    return [*words, "--out", out, "--steps", str(steps), *more, *settings(**(TINY | changes))]


def write_maps(folder: Path, kind: MapKindName, count: int, height: int = 32, width: int = 32) -> list[Path]:
    """Maps of synthetic faces as files."""
    folder.mkdir(parents=True)
    map_kind = build_map_kind(kind, MapsConfig())
    paths = [folder / f"m{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        map_kind.write(path, map_kind.from_drawing(FACES.draw(5, number, height, width), FACES))
    return paths


def condition_tokenizer(out: str, kind: str, channels: int, **more: object) -> list[str]:
    """The command line that trains a tiny tokenizer of maps, f = 8, at 32x32."""
    stage = {
        key.replace(".", "__"): value
        for key, value in TINY_AE.items()
        if key.startswith(("tokenizer.", "train_ae."))
    }
    stage |= {
        "tokenizer__channels": 32,
        "tokenizer__in_channels": channels,
        "tokenizer__out_channels": channels,
        "tokenizer__channel_multipliers": "[1,1,1,1]",
        "tokenizer__resolution": 32,
        "train_ae__perceptual__kind": "none",
        "train_ae__adversarial__weight": 0,
        "train_ae__reconstruction": "cross-entropy" if kind == "segmentation" else "l1",
    }
    words = [
        "train-ae",
        "--preset",
        "demo",
        "--target",
        "condition",
        "--device",
        "cpu",
        "--out",
        out,
        "--steps",
        "6",
    ]
    own = {f"condition__first_stage__{key}": value for key, value in stage.items()}
    return words + settings(condition__kind=kind, data__size=32, data__validation_images=8, **own, **more)


@pytest.mark.parametrize(
    ("kind", "channels"), [("segmentation", 4), ("depth", 1), ("edges", 3), ("keypoints", 3)]
)
def test_maps_with_a_tokenizer_of_their_own(
    kind: MapKindName, channels: int, coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    """The whole way: tokenizer of maps, its codes and back, transformer, images of new maps; 12 classes are found."""
    done = vqgan(*condition_tokenizer("maps", kind, channels))
    assert done.code == 0, done.err
    assert read_model_info(tmp_path / "maps").config.data.kind == kind
    paths = write_maps(tmp_path / kind, kind, 3)
    assert vqgan("encode", kind, "-o", "codes.npy", "--ae", "maps", "--device", "cpu").code == 0
    assert np.load(tmp_path / "codes.npy").shape == (3, 4, 4)
    assert vqgan("decode", "codes.npy", "-o", "back", "--ae", "maps", "--device", "cpu").code == 0
    read = build_map_kind(kind, MapsConfig()).read
    assert read(tmp_path / "back/m0.png").dtype == read(paths[0]).dtype
    assert (
        vqgan("decode", "codes.npy", "-o", "sheet.png", "--grid", "--ae", "maps", "--device", "cpu").code == 0
    )

    done = vqgan(*train(coarse.path, "run", 3, "--condition-ae", "maps", condition__kind=kind))
    assert done.code == 0, done.err
    assert list((tmp_path / "run/samples").iterdir())
    assert (tmp_path / "run/condition.safetensors").exists()
    model = load_transformer(tmp_path / "run")
    assert model.map_encoder is not None
    assert model.prior.spec.condition_size == 32
    done = vqgan("generate", "-m", "run", "--condition", kind, "-n", "2", "--device", "cpu")
    assert done.code == 0, done.err
    described = json.loads((tmp_path / "samples/samples.json").read_text())["images"]
    assert [image["file"] for image in described] == [f"m{m}-{n:04}.png" for m in range(3) for n in range(2)]
    assert [image["source"] for image in described] == ["m0", "m0", "m1", "m1", "m2", "m2"]
    # The same images by the maps' codes.
    done = vqgan(
        "generate", "-m", "run", "--condition", "codes.npy", "-n", "2", "-o", "by-codes", "--device", "cpu"
    )
    assert done.code == 0, done.err
    for image in described:
        ours, theirs = (Image.open(tmp_path / folder / image["file"]) for folder in ("samples", "by-codes"))
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_label_maps_as_codes(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the condition is the label in the middle of each cell; the classes are counted."""
    done = vqgan(*train(coarse.path, "run", 2, condition__kind="segmentation", condition__tokenizer="none"))
    assert done.code == 0, done.err
    assert "12 classes found in the label maps" in done.err
    encoder = load_transformer(tmp_path / "run").map_encoder
    assert encoder is not None
    drawing = FACES.draw(5, 0, 32, 48)
    assert np.array_equal(encoder.encode([drawing.segmentation])[0], drawing.segmentation[4::8, 4::8])


def test_a_folder_of_pairs_and_names_that_would_be_alike(
    coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Of a folder of pairs the maps are taken; no image takes another's place, whatever the maps are called."""
    done = vqgan(*train(coarse.path, "run", 1, condition__kind="segmentation", condition__tokenizer="none"))
    assert done.code == 0, done.err
    [path] = write_maps(tmp_path / "set/segmentation", "segmentation", 1)
    for name in ("a b.png", "a-b.png", "a-b-2.png", "c.png", "c.tif"):
        Image.open(path).save(path.with_name(name))
    path.unlink()
    (tmp_path / "set/image").mkdir()
    (tmp_path / "set/image/c.jpg").write_bytes(b"never read")
    done = vqgan("generate", "-m", "run", "--condition", "set", "--device", "cpu")
    assert done.code == 0, done.err
    files = sorted(
        image["file"] for image in json.loads((tmp_path / "samples/samples.json").read_text())["images"]
    )
    assert files == [f"{name}-0000.png" for name in ("a-b", "a-b-2", "a-b-3", "c.png", "c.tif")]


def test_a_large_map_makes_a_large_image(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: the image has the size of its map, or the size asked for; sizes are rounded to multiples of f."""
    done = vqgan(*train(coarse.path, "run", 2, condition__kind="segmentation", condition__tokenizer="none"))
    assert done.code == 0, done.err
    write_maps(tmp_path / "large", "segmentation", 1, 45, 67)
    assert vqgan("generate", "-m", "run", "--condition", "large", "--device", "cpu").code == 0
    assert np.asarray(Image.open(tmp_path / "samples/m0-0000.png")).shape == (48, 64, 3)
    command = ["generate", "-m", "run", "--condition", "large/m0.png", "--device", "cpu", "-o", "asked"]
    assert vqgan(*command, "--size", "64x96").code == 0
    assert np.asarray(Image.open(tmp_path / "asked/m0-0000.png")).shape == (64, 96, 3)


def test_the_same_tokenizer_for_pictures_and_maps(
    coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Edges of photos by the tokenizer of the photos; --from-image computes them, an edge map is taken as it is."""
    done = vqgan(*train(coarse.path, "run", 2, condition__kind="edges", condition__tokenizer="same"))
    assert done.code == 0, done.err
    model = load_transformer(tmp_path / "run")
    assert model.map_encoder is not None
    assert model.map_encoder.tokenizer is model.tokenizer
    picture = FACES.draw(5, 0, 32, 32).image
    Image.fromarray(picture).save(tmp_path / "photo.png")
    kind = model.map_encoder.map_kind
    kind.write(tmp_path / "edges.png", kind.compute(picture))
    for name, *more in (("photo", "--from-image"), ("edges",)):
        done = vqgan(
            "generate", "-m", "run", "--condition", f"{name}.png", "-o", name, "--device", "cpu", *more
        )
        assert done.code == 0, done.err
    pictures = [np.asarray(Image.open(tmp_path / name / f"{name}-0000.png")) for name in ("photo", "edges")]
    assert np.array_equal(*pictures)


def test_pairs_in_folders_and_files_without_partner(
    coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    write_maps(tmp_path / "set/segmentation", "segmentation", 9)
    (tmp_path / "set/image").mkdir()
    for number in range(8):
        Image.fromarray(FACES.draw(5, number, 32, 32).image).save(tmp_path / f"set/image/m{number}.png")
    Image.new("L", (64, 32)).save(tmp_path / "set/segmentation/m3.png")
    kind = {"condition__kind": "segmentation", "condition__tokenizer": "none"}
    done = vqgan(*train(coarse.path, "run", 2, "--data", "set", data__validation_fraction=0.25, **kind))
    assert done.code == 3, done.err
    assert "1 files of 'set' have no partner, left out: 'segmentation/m8.png'" in done.err
    assert "skipped 'm3.png': its map is 32x64" in done.err


def test_resumed_as_never_stopped(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Determinism: the last checkpoint is the same, from the run folder alone."""
    assert vqgan(*condition_tokenizer("maps", "depth", 1)).code == 0
    for name, steps in (("whole", 4), ("part", 2)):
        arguments = train(
            coarse.path, name, steps, "--condition-ae", "maps", condition__kind="depth",
            train_transformer__schedule="constant",
        )  # fmt: skip
        assert vqgan(*arguments).code == 0
    (tmp_path / "maps/model.safetensors").unlink()
    assert (
        vqgan("train-transformer", "--resume", "--out", "part", "--steps", "4", "--device", "cpu").code == 0
    )
    for file in ("prior", "average", "optimizer"):
        whole, part = (
            tensors(tmp_path / name / f"checkpoints/step-00000004/{file}.safetensors")[0]
            for name in ("whole", "part")
        )
        assert whole.keys() == part.keys()
        assert all(torch.equal(whole[name], part[name]) for name in whole)


def test_guidance_by_maps(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: a scale of 0 draws without the condition, whatever it is."""
    kind = {"condition__kind": "segmentation", "condition__tokenizer": "none"}
    assert vqgan(*train(coarse.path, "run", 2, **kind)).code == 0
    write_maps(tmp_path / "given", "segmentation", 2)
    command = ["generate", "-m", "run", "--condition", "given", "--cfg", "0", "--greedy", "--device", "cpu"]
    assert vqgan(*command).code == 0
    first, second = (np.asarray(Image.open(tmp_path / f"samples/m{n}-0000.png")) for n in (0, 1))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--condition", "bad.png"], "has class 77; there are 12 classes"),
        (["--condition", "colour.png"], "has one channel of class indices"),
        (["--condition", "small.png"], "enlarge it, by the size 32x32"),
        (["--condition", "empty"], "no images in folder"),
        (["--condition", "given/m0.png", "--size", "32x96"], "would distort"),
        (["--condition", "given/m0.png", "--from-image"], "cannot be computed"),
        (["--condition", "other.npy"], "was made by another tokenizer"),
        ([], "draws by segmentation maps, and none is given"),
        (["--class", "3", "--condition", "given/m0.png"], "trained without classes"),
    ],
)
def test_wrong_conditions(
    arguments: list[str], reason: str, coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path
) -> None:
    kind = {"condition__kind": "segmentation", "condition__tokenizer": "none"}
    assert vqgan(*train(coarse.path, "run", 1, **kind)).code == 0
    write_maps(tmp_path / "given", "segmentation", 1)
    (tmp_path / "empty").mkdir()
    Image.new("L", (32, 32), 77).save(tmp_path / "bad.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "colour.png")
    Image.new("L", (16, 32)).save(tmp_path / "small.png")
    if "other.npy" in arguments:
        Image.fromarray(FACES.draw(5, 0, 32, 32).image).save(tmp_path / "photo.png")
        assert (
            vqgan("encode", "photo.png", "-o", "other.npy", "--ae", coarse.path, "--device", "cpu").code == 0
        )
    done = vqgan("generate", "-m", "run", "--device", "cpu", *arguments)
    assert done.code in (1, 2)
    assert reason in done.err


@pytest.mark.parametrize(
    ("changes", "more", "reason"),
    [
        (
            {"condition__kind": "depth", "condition__tokenizer": "same"},
            [],
            "a tokenizer of pictures cannot read depth",
        ),
        ({"condition__kind": "edges", "condition__tokenizer": "none"}, [], "only label maps can be codes"),
        ({"condition__kind": "edges"}, [], "no trained tokenizer of edges maps of preset 'demo'"),
        ({}, ["--condition-ae", "x"], "condition.kind class has no tokenizer of its own"),
        (
            {"condition__kind": "edges"},
            ["--condition-ae", "AE"],
            "is a tokenizer of 'image' data, not of edges",
        ),
        (
            {"condition__kind": "edges", "condition__tokenizer": "same"},
            ["--codes", "codes.npy"],
            "a codes file has no edges maps",
        ),
    ],
)
def test_wrong_training(
    changes: dict[str, object], more: list[str], reason: str, coarse: SavedTokenizer, vqgan: Vqgan
) -> None:
    more = [str(coarse.path) if word == "AE" else word for word in more]
    done = vqgan(*train(coarse.path, "run", 1, *more, **changes))
    assert done.code in (1, 2)
    assert reason in done.err


def test_a_target_that_is_not_there(vqgan: Vqgan) -> None:
    done = vqgan("train-ae", "--preset", "demo", "--target", "condition")
    assert done.code == 2
    assert "has no tokenizer of a condition (condition.kind is class)" in done.err


@pytest.fixture
def plain(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> Path:
    """A transformer without conditions, and a photo."""
    done = vqgan(*train(coarse.path, "plain", 2, "--unconditional"))
    assert done.code == 0, done.err
    Image.fromarray(FACES.draw(5, 0, 48, 64).image).save(tmp_path / "photo.png")
    return tmp_path / "plain"


def test_completion(plain: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariants: the known codes are those of the photo; with --blend known pixels are the photo's own."""
    command = [
        "generate",
        "-m",
        plain,
        "--complete",
        "photo.png",
        "--known",
        "top:0.5",
        "-n",
        "2",
        "--device",
        "cpu",
    ]
    done = vqgan(*command, "--codes", "drawn.npy")
    assert done.code == 0, done.err
    assert "50% of the codes are kept; 100% of them come before" in done.err
    model = load_transformer(plain)
    photo = np.asarray(Image.open(tmp_path / "photo.png"))
    ae = str(read_model_info(plain).path.parent / "tokenizer.safetensors")
    assert (
        vqgan("encode", "photo.png", "--native", "-o", "photo.npy", "--ae", ae, "--device", "cpu").code == 0
    )
    given = np.load(tmp_path / "photo.npy").reshape(6, 8)
    drawn = np.load(tmp_path / "drawn.npy")
    assert drawn.shape == (2, 6, 8)
    assert (drawn[:, :3] == given[:3]).all()
    assert (drawn[0, 3:] != drawn[1, 3:]).any()
    assert vqgan(*command, "--blend", "-o", "blended").code == 0
    blended = np.asarray(Image.open(tmp_path / "blended/photo-0000.png"))
    seam = model.tokenizer.downsampling
    assert np.array_equal(blended[: 24 - seam], photo[: 24 - seam])
    assert not np.array_equal(blended[24:], photo[24:])


def test_variations(plain: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariants: no strength gives the reconstruction; more strength keeps fewer codes."""
    kept = []
    for strength in ("0", "0.3", "1"):
        command = [
            "generate",
            "-m",
            plain,
            "--variations",
            "photo.png",
            "--strength",
            strength,
            "--device",
            "cpu",
        ]
        done = vqgan(*command, "-n", "1", "-o", f"out{strength}", "--codes", f"drawn{strength}.npy")
        assert done.code == 0, done.err
        kept.append((np.load(tmp_path / f"drawn{strength}.npy") == np.load(tmp_path / "drawn0.npy")).mean())
    assert kept[0] == 1
    assert kept[0] > kept[1] > kept[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--complete", "photo.png"], "--complete needs --known"),
        (["--known", "top:0.5"], "--known is for --complete"),
        (["--blend"], "--blend is for --complete"),
        (["--complete", "photo.png", "--known", "middle:0.5"], "no such form"),
        (["--complete", "absent.png", "--known", "top:0.5"], "does not exist"),
        (["--complete", "photo.png", "--known", "top:0.5", "--variations", "photo.png"], "one photo"),
        (["--from-image"], "--from-image is for --condition"),
        (["--condition", "photo.png"], "this model was trained without maps"),
    ],
)
def test_wrong_completion(arguments: list[str], reason: str, plain: Path, vqgan: Vqgan) -> None:
    done = vqgan("generate", "-m", plain, "--device", "cpu", *arguments)
    assert done.code in (1, 2)
    assert reason in done.err


def test_coordinates(coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Closed form: the mean place of the pixels of each cell, at every size; no map has to be given."""
    kind = {"condition__kind": "coordinates", "condition__tokenizer": "none", "data__resize": 64}
    kind |= {"train_transformer__augmentation": "ten-crop", "data__maps__coordinate_levels": 50}
    done = vqgan(*train(coarse.path, "run", 2, **kind))
    assert done.code == 0, done.err
    model = load_transformer(tmp_path / "run")
    assert model.prior.spec.condition_size == 50
    encoder = model.map_encoder
    assert encoder is not None
    codes = encoder.encode([encoder.map_kind.compute(np.zeros((64, 96, 3), np.uint8))])[0]
    rows, columns = np.mgrid[3.5:64:8, 3.5:96:8]
    assert np.array_equal(codes, np.rint((rows * 96 + columns) * 50 / (64 * 96)))
    done = vqgan("generate", "-m", "run", "--size", "64x96", "-n", "1", "--device", "cpu")
    assert done.code == 0, done.err
    assert np.asarray(Image.open(tmp_path / "samples/0000.png")).shape == (64, 96, 3)
    assert "needs no map" in vqgan("generate", "-m", "run", "--condition", "x.png", "--device", "cpu").err
