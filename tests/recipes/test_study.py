"""``vqgan study``, from the command line."""

from __future__ import annotations

import json
import math
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import Fork, SavedTokenizer, Vqgan
from tests.recipes.tiny_run import TINY, TINY_TRANSFORMER, contents, fault, log, settings, status

SMALL = settings(
    **TINY | TINY_TRANSFORMER, train_transformer__max_images=8, transformer__layers=1, transformer__width=16
)  # fmt: skip


def study(name: str, *more: str | Path) -> list[str | Path]:
    return ["study", name, "--preset", "demo", "--device", "cpu", "-o", "study", *SMALL, *more]


def results(folder: str = "study") -> dict[str, Any]:
    return json.loads((Path(folder) / "results.json").read_text())


def arm(name: str) -> dict[str, Any]:
    (found,) = [each for each in results()["arms"] if each["arm"] == name]
    return found


PRIOR = ("--steps", "2", "--seeds", "2", "--arm", "gpt", "--arm", "pixelsnail")


def test_priors_on_the_same_codes(coarse: SavedTokenizer, vqgan: Vqgan) -> None:
    """Oracle: the runs' own logs. Finished runs are not made again, and one that is gone comes back the same."""
    command = study("prior", "--ae", coarse.path, *PRIOR)
    done = vqgan(*command)
    assert done.code == 0, done.err
    assert done.out.split() == ["study/results.json", "study/table.md", "study/plot.svg"]
    assert "PixelSNAIL at equal time" in done.err
    runs = [Path(f"study/arms/gpt-{seed}") for seed in (0, 1)]
    found = results()
    assert (found["seeds"], found["steps"], found["budget_seconds"]) == (2, 2, None)
    losses = [status(run)["validation"]["loss"] for run in runs]
    assert losses[0] != losses[1]
    at_equal_steps = arm("gpt")["nats_per_code_at_equal_steps"]
    assert at_equal_steps["values"] == pytest.approx(losses)
    assert at_equal_steps["mean"] == pytest.approx(sum(losses) / 2)
    assert at_equal_steps["standard_deviation"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    # The run that took least time is where all are compared: at its end.
    seconds = {
        (each["arm"], seed): s
        for each in found["arms"]
        for seed, s in enumerate(each["training_seconds"]["values"])
    }
    name, seed = min(seconds, key=lambda key: seconds[key])
    quickest = status(Path(f"study/arms/{name}-{seed}"))["validation"]["loss"]
    assert arm(name)["nats_per_code_at_equal_time"]["values"][seed] == pytest.approx(quickest)
    titles = [each.text for each in ET.parse("study/plot.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {found["question"], "gpt", "pixelsnail", "seconds of training"} <= set(titles)
    assert "| gpt | " in Path("study/table.md").read_text()

    finished = contents(runs[0])
    shutil.rmtree(runs[1])
    again = vqgan(*command, "--json")
    assert again.code == 0, again.err
    assert "gpt-0 is there already" in again.err
    assert contents(runs[0]) == finished
    assert json.loads(again.out) == results()
    assert arm("gpt")["nats_per_code_at_equal_steps"] == at_equal_steps

    other = vqgan(
        *study("prior", "--ae", coarse.path, *PRIOR, "--set", "train_transformer.learning_rate=2e-3")
    )
    assert other.code == 2
    assert "a study of another config" in other.err


def test_a_study_that_is_stopped_goes_on(
    coarse: SavedTokenizer, photos: Path, fork: Fork, vqgan: Vqgan
) -> None:
    """Oracle: the log of the same run in a study that was never stopped."""
    command = study(
        "order",
        "--data",
        photos / "train",
        "--ae",
        coarse.path,
        "--steps",
        "4",
        "--seeds",
        "1",
        "--arm",
        "row",
    )
    code, _, error = fork(*command, env=fault("open", "arms/row-0/log.jsonl", "SIGINT")).wait()
    assert code == 130, error
    assert "go on with: the same vqgan study" in error
    assert status(Path("study/arms/row-0"))["state"] == "stopped"
    done = vqgan(*command)
    assert done.code == 0, done.err
    loss = status(Path("study/arms/row-0"))["validation"]["loss"]
    assert arm("row")["nats_per_code"]["mean"] == pytest.approx(loss)
    assert vqgan(*command, "-o", "whole").code == 0
    assert log(Path("study/arms/row-0")) == log(Path("whole/arms/row-0"))


def test_a_budget_is_turned_into_steps(vqgan: Vqgan, shared: Path) -> None:
    """Oracle: the steps that were measured are those that are run, and kept. The perceptual network of the config
    measures the arm without its term too.
    """
    perceptual = settings(
        train_ae__perceptual__kind="features",
        train_ae__perceptual__network="squeezenet1_0",
        train_ae__perceptual__weights=shared / "weights/squeezenet1_0.safetensors",
        train_ae__perceptual__weight=0.1,
        data__size=32,
        data__validation_images=2,
    )
    done = vqgan(*study("loss", "--budget", "2s", "--seeds", "1", "--arm", "vq-vae", *perceptual))
    assert done.code == 0, done.err
    measured = json.loads(Path("study/study.json").read_text())["measured_steps"]
    assert status(Path("study/arms/vq-vae-0"))["step"] == measured["vq-vae"] >= 1
    assert [path.name for path in Path("study/arms").iterdir()] == ["vq-vae-0"]
    assert results()["budget_seconds"] == 2
    lines = log(Path("study/arms/vq-vae-0"))
    assert any("validation/perceptual" in line for line in lines)
    assert not any("loss/perceptual" in line for line in lines)
    assert arm("vq-vae")["perceptual_distance"]["mean"] == pytest.approx(lines[-1]["validation/perceptual"])


def test_codes_against_pixels(photos: Path, vqgan: Vqgan) -> None:
    """Oracle: what the runs say, of which each f has its own tokenizer, transformer and samples."""
    arms = ("--arm", "f=1", "--arm", "f=8", "--samples", "2")
    done = vqgan(*study("compression", "--data", photos / "train", "--steps", "1", "--seeds", "1", *arms))
    assert done.code == 0, done.err
    for f, cells in ((1, 256), (8, 4)):
        found = arm(f"f={f}")
        transformer = status(Path(f"study/arms/f={f}-transformer-0"))["validation"]
        assert found["bits_per_pixel"]["mean"] == transformer["bits_per_pixel"]
        assert transformer["bits_per_pixel"] == pytest.approx(
            transformer["loss"] / math.log(2) * cells / 16**2
        )
        assert found["psnr"]["mean"] == status(Path(f"study/arms/f={f}-tokenizer-0"))["validation"]["psnr"]
        assert len(list(Path(f"study/arms/f={f}-0").glob("*-0*.png"))) == 2
        assert "frechet_distance" not in found  # no network was named
    pixels, codes = arm("f=1"), arm("f=8")
    assert pixels["speedup"]["mean"] == 1
    seconds = pixels["seconds_per_image"]["mean"], codes["seconds_per_image"]["mean"]
    assert codes["speedup"]["mean"] == pytest.approx(seconds[0] / seconds[1])


def test_ways_of_drawing(photos: Path, shared: Path, vqgan: Vqgan) -> None:
    """Oracle: `vqgan evaluate samples` of the same folder; and that the likeliest codes alone are less varied.

    Tokenizer and transformer are trained once, for the steps of the config.
    """
    weights = shared / "weights/squeezenet1_0.safetensors"
    features = ("--features", "torchvision:squeezenet1_0", "--weights", weights)
    trained = settings(train_ae__steps=1, train_transformer__steps=2)
    arms = ("--arm", "plain", "--arm", "k=1", "--samples", "6", "--seeds", "1", *trained)
    command = study("sampling", "--data", photos / "train", *arms)
    refused = vqgan(*command)
    assert (refused.code, "needs --features" in refused.err) == (2, True)
    done = vqgan(*command, *features)
    assert done.code == 0, done.err
    assert (status(Path("study/arms/tokenizer"))["step"], status(Path("study/arms/transformer"))["step"]) == (
        1,
        2,
    )
    assert results()["labels"]["frechet_distance"] == "Frechet distance (squeezenet1_0)"
    plain, greedy = Path("study/arms/plain-0"), Path("study/arms/k=1-0")
    assert len({path.read_bytes() for path in plain.glob("*-0*.png")}) == 6
    assert len({path.read_bytes() for path in greedy.glob("*-0*.png")}) == 2  # one of each class
    compared = vqgan(
        *(
            "evaluate",
            "samples",
            "-s",
            plain,
            "-r",
            photos / "train",
            "--reference-limit",
            "6",
            "--neighbours",
            "0",
        ),
        *("--resamples", "0", *features, "--device", "cpu", "--json"),
    )
    assert compared.code == 0, compared.err
    expected = json.loads(compared.out)
    for key in ("frechet_distance", "precision", "recall"):
        assert arm("plain")[key]["mean"] == pytest.approx(figure(expected, key), rel=1e-4)
    # Without a preset: the experiment, data and all, of the model that is named.
    once = ("--steps", "1", "--seeds", "1", "--arm", "row", "-o", "second", "--device", "cpu")
    again = vqgan("study", "order", "--ae", "study/arms/tokenizer", *once)
    assert again.code == 0, again.err
    second = json.loads(Path("second/results.json").read_text())
    assert second["data"] == str(photos / "train")
    assert status(Path("second/arms/row-0"))["step"] == 1


def figure(report: dict[str, Any], key: str) -> float:
    """A figure of `vqgan evaluate samples --json`, wherever it stands."""
    if key in report:
        return report[key]["value"]
    return next(figure(value, key) for value in report.values() if isinstance(value, dict))


def test_what_makes_no_study(vqgan: Vqgan, tmp_path: Path) -> None:
    assert vqgan(*study("prior", "--arm", "gtp")).code == 2
    refused = {
        "no use for --model": study("prior", "--model", "runs"),
        "both say how long": study("prior", "--steps", "2", "--budget", "2s"),
        "add --features": study("loss", "--weights", "file"),
        "by class or by nothing": study(
            "order", "--set", "condition.kind=edges", "--set", "condition.tokenizer=same"
        ),
        "no adversarial term": study("loss", "--set", "train_ae.adversarial.weight=0"),
        "not a multiple of 16": study("compression", "--set", "data.size=24"),
        "--budget 'soon' is no duration": study("prior", "--budget", "soon"),
        "no such arm": study("sampling", "--arm", "keep=0.1", "--features", "fid"),  # which needs --scorer
    }
    for reason, command in refused.items():
        done = vqgan(*command)
        assert (done.code, done.out) == (2, "")
        assert reason in done.err
    (tmp_path / "study").mkdir()
    (tmp_path / "study/letters.txt").write_text("mine")
    done = vqgan(*study("prior"))
    assert done.code == 1
    assert "is not empty and no study" in done.err
    assert contents(tmp_path / "study") == {tmp_path / "study/letters.txt": b"mine"}
