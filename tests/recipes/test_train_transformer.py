"""``vqgan train-transformer`` as a user meets it; runs that end early are in ``test_train_resume.py``."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from tests.recipes.conftest import SavedTokenizer, Vqgan, save_tiny
from tests.recipes.tiny_run import TINY_TRANSFORMER, assert_plain, log, settings, status
from vqgan_cli.core.artifacts import load_transformer
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw
from vqgan_cli.core.training.checkpoints import load_newest

TINY = {key.replace(".", "__"): value for key, value in TINY_TRANSFORMER.items()}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures in each of two classes."""
    rng = np.random.default_rng(0)
    for name in ("n01_black_cat", "n02_white_dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(6):
            noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((40, 32)).save(tmp_path / f"pictures/{name}/{index}.png")
    return tmp_path / "pictures"


def train(ae: Path, out: str, steps: int, *more: str | Path, **changes: object) -> list[str | Path]:
    words: list[str | Path] = ["train-transformer", "--preset", "demo", "--device", "cpu", "--ae", ae]
    return [*words, "--out", out, "--steps", str(steps), *more, *settings(**(TINY | changes))]


@pytest.mark.parametrize("kind", ["gpt", "llama", "pixelcnn", "pixelsnail"])
def test_learns_its_images_by_heart(kind: str, coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan) -> None:
    """Oracle: few images, seen often, cost almost nothing, and sampling gives their very codes, by class."""
    command = train(
        coarse.path,
        "run",
        250,
        "--data",
        pictures,
        "--val",
        pictures,
        transformer__kind=kind,
        transformer__width=64,
        transformer__kernel_size=3,
        transformer__block_convolutions=1,
        transformer__embedding_dropout=0,
        transformer__residual_dropout=0,
        train_transformer__learning_rate=5e-3,
        train_transformer__ema_decay=0,
        train_transformer__batch_size=12,
        train_transformer__validate_every=0,
        train_transformer__log_every=50,
        train_transformer__checkpoint_every=0,
        condition__dropout=0.1,
    )
    done = vqgan(*command)
    assert done.code == 0, done.err
    result = log(Path("run"))[-1]
    # Which of six pictures it is must be guessed at the first codes: ln(6) nats in 16 codes, and no less.
    assert math.log(6) / 16 * 0.9 < result["validation/loss"] < 0.3
    pixels = 8 * 8
    assert result["validation/bits_per_pixel"] == pytest.approx(
        result["validation/loss"] / math.log(2) / pixels
    )
    model = load_transformer(Path("run"))
    assert model.classes == ("n01_black_cat", "n02_white_dog")
    assert model.prior.spec.null_condition
    assert list(Path("run/samples").iterdir())
    labels = torch.tensor([[0]] * 4 + [[1]] * 4)
    drawn = draw(model.prior, labels, (4, 4), SamplingSettings(temperature=0.1))
    known = [
        [encoded(coarse, path) for path in sorted(folder.iterdir())] for folder in sorted(pictures.iterdir())
    ]
    for codes, (label,) in zip(drawn, labels.tolist(), strict=True):
        assert any(torch.equal(codes, other) for other in known[label])


def encoded(tokenizer: SavedTokenizer, path: Path) -> torch.Tensor:
    """Codes of the central square, by the tokenizer itself."""
    pixels = np.asarray(Image.open(path))[:, 4:36]
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 127.5 - 1
    return tokenizer.module.encode(image[None])[0]


def test_a_run_depends_on_no_other(
    coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """The tokenizer is gone when the run goes on, from a copy of its own."""
    copied = shutil.copy(coarse.path, tmp_path / "copied.safetensors")
    assert vqgan(*train(copied, "run", 1, "--data", pictures)).code == 0
    copied.unlink()
    done = vqgan("train-transformer", "--resume", "--out", "run", "--device", "cpu", "--steps", "2")
    assert done.code == 0, done.err
    assert status(tmp_path / "run")["step"] == 2


@pytest.mark.parametrize("checkpointing", [False, True])
def test_accumulated_batches_are_one_batch(
    checkpointing: bool, coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Oracle: the whole batch at once, within rounding; two times four images are the same eight images."""
    still = {"embedding_dropout": 0, "residual_dropout": 0, "gradient_checkpointing": checkpointing}
    changes = {f"transformer__{name}": value for name, value in still.items()}
    changes |= {"condition__dropout": 0, "train_transformer__clip_norm": 0}
    for out, size, accumulate in (("whole", 8, 1), ("parts", 4, 2)):
        command = train(
            coarse.path, out, 1, "--data", pictures, **changes,
            train_transformer__batch_size=size, train_transformer__accumulate=accumulate,
        )  # fmt: skip
        assert vqgan(*command).code == 0
    whole, parts = (
        load_newest(tmp_path / out / "checkpoints")[0].tensors["optimizer"] for out in ("whole", "parts")
    )
    assert whole
    for name, moment in whole.items():
        torch.testing.assert_close(parts[name], moment, atol=1e-7, rtol=1e-3)


@pytest.fixture
def forget_precision() -> Iterator[Callable[[], None]]:
    """accelerate has one precision for a whole process: call this before there is another."""

    def forget() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)

    forget()
    yield forget
    forget()


def test_bf16_trains_weights_of_float32(
    forget_precision: Callable[[], None], coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """Invariant: the first gradients are near those in full precision, and what is trained stays in float32."""
    still = {"embedding_dropout": 0, "residual_dropout": 0}
    changes = {f"transformer__{name}": value for name, value in still.items()}
    for precision in ("fp32", "bf16"):
        command = train(
            coarse.path, precision, 1, "--data", pictures, **changes, condition__dropout=0,
            train_transformer__precision=precision,
        )  # fmt: skip
        forget_precision()
        assert vqgan(*command).code == 0
    exact, rounded = (load_newest(tmp_path / out / "checkpoints")[0] for out in ("fp32", "bf16"))
    assert {each.dtype for each in rounded.tensors["prior"].values()} == {torch.float32}
    gradients = [
        torch.cat(
            [each.flatten() for name, each in saved.tensors["optimizer"].items() if name.endswith(".exp_avg")]
        )
        for saved in (exact, rounded)
    ]
    difference = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert 0 < difference < 0.03


def test_codes_are_computed_once(coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan) -> None:
    (pictures / "n01_black_cat/broken.png").write_bytes(b"no picture")
    first = vqgan(*train(coarse.path, "a", 2, "--data", pictures))
    assert first.code == 3
    assert "broken.png" in first.err
    second = vqgan(*train(coarse.path, "b", 2, "--data", pictures))
    assert second.code == 3
    assert "from the cache" in second.err
    assert log(Path("a")) == log(Path("b"))


def test_trains_on_a_codes_file(coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan) -> None:
    """Invariant: the classes of the codes file are those of the model."""
    assert vqgan("encode", pictures, "-o", "codes.npy", "--ae", coarse.path, "--device", "cpu").code == 0
    done = vqgan(*train(coarse.path, "run", 2, "--codes", "codes.npy"), "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["step"] == 2
    assert load_transformer(Path("run")).classes == ("n01_black_cat", "n02_white_dog")


def test_what_cannot_be_trained_on(
    coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    flat = pictures / "n01_black_cat"
    done = vqgan(*train(coarse.path, "run", 2, "--data", flat))
    assert done.code == 2
    assert "no classes" in done.err
    assert "--unconditional" in done.err
    assert not (tmp_path / "run/config.yaml").exists()

    done = vqgan("train-transformer", "--preset", "demo", "--data", flat)
    assert done.code == 1
    assert "vqgan train-ae --preset demo" in done.err

    other = save_tiny(tmp_path / "other.safetensors", seed=5, channel_multipliers=(1, 1, 1, 1))  # type: ignore[arg-type]
    assert vqgan("encode", pictures, "-o", "codes.npy", "--ae", other.path, "--device", "cpu").code == 0
    done = vqgan(*train(coarse.path, "run", 2, "--codes", "codes.npy"))
    assert done.code == 1
    assert "another tokenizer" in done.err
    done = vqgan(*train(coarse.path, "run", 2, "--codes", "codes.npy", "--data", flat))
    assert done.code == 2


def test_unconditional(coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan) -> None:
    done = vqgan(*train(coarse.path, "run", 2, "--data", pictures / "n01_black_cat", "--unconditional"))
    assert done.code == 0, done.err
    model = load_transformer(Path("run"))
    assert model.classes == ()
    assert model.prior.spec.condition == "none"
    assert not model.prior.spec.null_condition


def test_labels_from_a_file(coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan) -> None:
    flat = pictures / "n01_black_cat"
    lines = [f"{number}.png,{('even', 'odd')[number % 2]}" for number in range(6)]
    Path("labels.csv").write_text("\n".join(["name,class", *lines]))
    done = vqgan(*train(coarse.path, "run", 2, "--data", flat, "--labels", "labels.csv"))
    assert done.code == 0, done.err
    assert load_transformer(Path("run")).classes == ("even", "odd")
    Path("labels.json").write_text('{"0": "a"}')
    done = vqgan(*train(coarse.path, "other", 2, "--data", flat, "--labels", "labels.json"))
    assert done.code == 1
    assert "5 of 6 images have no class" in done.err


def test_stops_when_validation_no_longer_improves(
    coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan
) -> None:
    """Oracle: with a learning rate of almost zero no validation is better than the first, so two more end the run."""
    changes = {
        "train_transformer__learning_rate": 1e-30,
        "train_transformer__patience": 2,
        "train_transformer__weight_decay": 0,
        "train_transformer__ema_decay": 0,
    }
    done = vqgan(*train(coarse.path, "run", 100, "--data", pictures, **changes))
    assert done.code == 0, done.err
    assert (status(Path("run"))["state"], status(Path("run"))["step"]) == ("finished", 12)
    assert status(Path("run"))["reason"] == "no improvement"
    described = vqgan("info", "run")
    assert described.code == 0
    assert "vqgan generate --model run" in described.out + described.err


@pytest.mark.fault(28, "train-transformer")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "transformer.layer=2"],
            "transformer.layer: unknown key (did you mean 'transformer.layers'?)",
        ),
        (["--set", "transformer.kind=lama"], "did you mean 'llama'"),
        (["--set", "transformer.width=33"], "width 33 is not a multiple of heads 2"),
        (["--set", "condition.kind=clas"], "did you mean 'class'"),
        (["--set", "condition.kind=lowress"], "did you mean 'lowres'"),
        (["--set", "train_transformer.augmentation=flop"], "did you mean 'flip'"),
        (["--codes", "codes.npy"], "--codes replaces images and labels"),
        (["--unconditional", "--labels", "labels.csv"], "--unconditional needs no --labels"),
        (["--resume"], "--resume goes on with a run, --ae starts anew"),
    ],
)
def test_wrong_usage(
    coarse: SavedTokenizer, vqgan: Vqgan, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Exit 2 before images are encoded, the nearest valid value, and nothing that would be in the way."""
    done = vqgan(*train(coarse.path, "run", 1, "--data", "synthetic:faces"), *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "encoding" not in done.err
    assert_plain(done.err)
    assert {path.name for path in tmp_path.glob("run/*")} <= {".lock"}


def test_the_size_is_that_of_the_tokenizer_unless_somebody_asks(
    coarse: SavedTokenizer, pictures: Path, vqgan: Vqgan, tmp_path: Path
) -> None:
    """The tokenizer was trained at 32x32, the preset demo says 64. Oracle: the model, what it draws, and one line."""

    def trained(out: str, *more: str | Path, **changes: object) -> tuple[tuple[int, int], str]:
        done = vqgan(*train(coarse.path, out, 1, "--data", pictures, *more, **changes))
        assert done.code == 0, done.err
        return load_transformer(tmp_path / out).prior.spec.grid, done.err

    grid, said = trained("theirs")
    assert grid == (4, 4)
    assert "training at 32x32, as the tokenizer was; the preset says data.size 64" in said
    assert "--set data.size=64" in said
    grid, said = trained("same", data__size=32)
    assert grid == (4, 4)
    assert "training at" not in said
    grid, said = trained("asked", "--set", "data={size: 48}")
    assert grid == (6, 6)
    assert "training at 48x48, as asked; the tokenizer was trained at 32x32" in said
    assert vqgan("generate", "-m", "asked", "-n", "1", "--device", "cpu").code == 0
    with Image.open(next((tmp_path / "samples").glob("*-0000.png"))) as drawn:
        assert drawn.size == (48, 48)

    resume = ["train-transformer", "--resume", "--out", "asked", "--device", "cpu", "--steps", "2"]
    done = vqgan(*resume, "--set", "data.size=32")
    assert done.code == 2
    assert "grid: [6, 6] in the checkpoint, [4, 4] now" in done.err
    done = vqgan(*resume)
    assert done.code == 0, done.err
    assert load_transformer(tmp_path / "asked").prior.spec.grid == (6, 6)


def test_a_size_that_cannot_be_had_is_refused(pictures: Path, vqgan: Vqgan, tmp_path: Path) -> None:
    """No codes of the tokenizer make such an image, or the codes are there already, of another one."""
    deep = save_tiny(tmp_path / "deep.safetensors", channel_multipliers=(1, 1, 1, 1, 1))  # type: ignore[arg-type]
    done = vqgan(*train(deep.path, "run", 1, "--data", pictures, data__size=40))
    assert done.code == 2
    assert "data.size 40 is not a multiple of f = 16 of the tokenizer" in done.err
    assert "the nearest sizes are 32 and 48" in done.err
    for size in ("32", "32x48"):
        assert vqgan("encode", pictures, "--ae", deep.path, "--size", size, "-o", f"{size}.npy").code == 0
        command = train(deep.path, f"run-{size}", 1, "--codes", f"{size}.npy")
        done = vqgan(*command, *settings(data__size=64))
        assert done.code == 2
        assert f"data.size is 64, and the codes are of {size if 'x' in size else '32x32'} images" in done.err
        done = vqgan(*command)  # nothing is in its way
        assert done.code == 0, done.err
        assert "data.size" not in done.err
        done = vqgan(
            "train-transformer", "--resume", "--out", f"run-{size}", "--device", "cpu", "--steps", "2"
        )
        assert done.code == 0, done.err
