"""The page of a run and the one that compares several, without a browser."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_help import parse
from tests.evaluation.pages import Page
from tests.run_report.runs import page_data, write_log, write_run
from vqgan_cli.core import run_report
from vqgan_cli.core.pages.document import data_block, document
from vqgan_cli.core.presets import resolve
from vqgan_cli.core.run_report.codebook import codebook_picture
from vqgan_cli.core.run_report.commands import next_commands
from vqgan_cli.core.run_report.comparison import comparison
from vqgan_cli.core.run_report.configuration import changed_keys, config_html, differing_keys
from vqgan_cli.core.run_report.page import duration, page
from vqgan_cli.core.run_report.pictures import FrameReader, spread
from vqgan_cli.core.run_report.reading import read_run

VENDOR = Path(run_report.__file__).parent / "vendor"
HOSTILE = """a "b' <img src=x onerror=alert(1)> & </script><script>alert(2)</script> é"""


def test_vendored_files_are_those_of_the_published_package() -> None:
    """Oracle: the sums beside them, taken from ``npm pack uplot@1.6.32``."""
    recorded = re.findall(r"^\| `([\w.]+)` +\|.*`([0-9a-f]{64})`", (VENDOR / "README.md").read_text(), re.M)
    assert {name for name, _ in recorded} == {path.name for path in VENDOR.iterdir()} - {"README.md"}
    for name, digest in recorded:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    assert "uPlot (v1.6.32)" in (VENDOR / "uPlot.iife.min.js").read_text("utf-8")[:100]


def test_page_has_what_the_folder_has(tmp_path: Path) -> None:
    """Oracle: the figures, settings and pictures that were written."""
    run = write_run(tmp_path / "my-run", tokenizer__codebook_size=300)
    text = page(read_run(run))
    shown = parsed(text, tmp_path).text
    for words in ("my-run", "done", "step 100 of 100", "50 s of training", "26", "preset: 256", "1.2.3"):
        assert words in shown, words
    assert "288 of 300 codes were used, 12 never" in shown
    assert text.count('class="frame"') == 5
    charts = {chart["key"]: chart for chart in page_data(text)["charts"]}
    assert {
        "loss",
        "pixels",
        "psnr",
        "usage",
        "perplexity",
        "gan",
        "logits",
        "lambda",
        "rate",
        "speed",
    } <= set(charts)
    training, validation = charts["loss"]["curves"]
    assert (training["x"], validation["x"]) == (list(range(10, 101, 10)), [50, 100])
    assert (training["validation"], validation["validation"]) == (False, True)
    assert charts["usage"]["curves"][0]["y"][0] == 90.0  # percent


def parsed(text: str, tmp_path: Path) -> Page:
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    return Page(tmp_path / "page.html")


def test_page_of_a_transformer(tmp_path: Path) -> None:
    text = page(read_run(write_run(tmp_path / "prior", prior=True)))
    charts = {chart["key"]: chart for chart in page_data(text)["charts"]}
    assert {"nll", "bits", "accuracy", "gradient", "code-speed"} <= set(charts)
    assert not {"loss", "pixels", "codebook"} & set(charts)
    assert [curve["label"] for curve in charts["bits"]["curves"]] == ["training", "validation"]
    assert "vqgan generate --model" in text
    assert "Drawn by the model" in text


@pytest.mark.parametrize(
    ("state", "reason", "word", "sentence"),
    [
        ("stopped", "time limit", "time limit reached", "stopped at the time limit that was asked for"),
        ("stopped", "interrupted", "interrupted", "Ctrl-C has stopped it"),
        ("stopped", "terminated", "interrupted", "SIGTERM has stopped it"),
        ("stopped", "hung up", "interrupted", "its terminal was closed"),
        ("stopped", "a new reason", "interrupted", "interrupted: a new reason."),
        ("failed", "disk full", "failed", "failed: disk full."),
        ("finished", "no improvement", "done", "ended early: no improvement."),
    ],
)
def test_page_says_why_a_run_ended(state: str, reason: str, word: str, sentence: str, tmp_path: Path) -> None:
    """Oracle: what the run has written into its status, and what was typed: a limit that was asked for is no
    interruption. The command that goes on is there as the run has named it.
    """
    run = write_run(tmp_path / "run", state=state)
    ended = json.loads((run / "status.json").read_text())
    ended |= {"reason": reason, "resume": "vqgan train-ae --resume --out 'my run'"}
    (run / "status.json").write_text(json.dumps(ended))
    record = read_run(run)
    text = page(record)
    assert re.search(rf'<span class="state \w+">{word}</span>', text)
    assert f">{word}</span>" in comparison([record, record])
    shown = parsed(text, tmp_path).text
    assert sentence in shown
    assert "Go on with: vqgan train-ae --resume --out 'my run'" in shown
    assert "interrupted: time limit" not in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    """Markup in the folder's name, in names and values of the log, in status and environment is only ever text."""
    run = write_run(tmp_path / HOSTILE.replace("/", "∕"), state="failed")
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(
        json.dumps({**status, "reason": HOSTILE, "hint": HOSTILE, "resume": HOSTILE})
    )
    write_log(run, [{"step": 1, HOSTILE: 1.0, f"quantizer/{HOSTILE}": "nan", "loss/total": 1.0}])
    sessions = json.loads((run / "environment.json").read_text())
    sessions[0] |= {"device": HOSTILE, "commit": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    (run / "environment.json").write_text(json.dumps(sessions))
    record = read_run(run)
    for text in (page(record), comparison([record, read_run(write_run(tmp_path / "other"))])):
        found = parsed(text, tmp_path)
        assert not [each for each in found.references if not each.startswith("data:image/")]
        assert found.tags.count("script") == 4  # data, the vendored one, two of our own
        assert all("onerror" not in tag for tag in found.tags)
        assert HOSTILE in json.dumps(page_data(text)["charts"], ensure_ascii=False).replace('\\"', '"')
    assert found.text.count("<img src=x onerror=alert(1)>") >= 3


def test_name_that_is_no_text(tmp_path: Path) -> None:
    """Bytes of a name that are no UTF-8 must not keep the page from being written."""
    run = write_run(tmp_path / "a\udcff")
    assert "a?" in page(read_run(run))
    page(read_run(run)).encode()


def test_policy_allows_the_scripts_of_the_page_and_no_other() -> None:
    """Oracle: the hash as the standard defines it, of what lies between the tags."""
    import base64

    text = document("t", [data_block("d", {"a": "</script><!--<script>"})], scripts=["let a = '<';\n"])
    assert "'sha256-" + base64.b64encode(hashlib.sha256(b"let a = '<';\n").digest()).decode() + "'" in text
    assert text.count("</script>") == 2
    assert "<!--" not in text
    with pytest.raises(ValueError, match="not JSON compliant"):
        data_block("d", float("nan"))


@pytest.mark.parametrize("name", ["config.yaml", "status.json", "environment.json", "code_counts.json"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / name).write_bytes(b'{"state": [\xff')
    record = read_run(run)
    assert [problem for problem in record.problems if name in problem], record.problems
    assert name in page(record)


@pytest.mark.parametrize(
    "name", ["status.json", "environment.json", "code_counts.json", "log.jsonl", "samples"]
)
def test_what_cannot_be_opened_is_named(name: str, tmp_path: Path) -> None:
    """Such as files of another user. Oracle: the name; a link to itself cannot be opened, whoever tries."""
    run = write_run(tmp_path / "run")
    path = run / name
    path.rename(tmp_path / "aside")
    path.symlink_to(path)
    record = read_run(run)
    assert [problem for problem in record.problems if name in problem], record.problems
    assert name in page(record)


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for path in sorted(run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (run / "status.json").write_text("{}")
    text = page(read_run(run))
    for words in ("Nothing is logged yet", "its config cannot be read", "Not recorded", "killed"):
        assert words in text, words


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "samples/step-00000040.png").write_bytes(b"no picture")
    (run / "samples/other.png").write_bytes(b"not of the run")
    record = read_run(run)
    assert [frame.step for frame in record.frames] == [20, 60, 80, 100]
    assert len(record.problems) == 1
    assert "step-00000040.png" in record.problems[0]


def test_many_large_pictures_are_thinned_and_reduced(tmp_path: Path) -> None:
    """Oracle: a bound in bytes, and what the page says about it."""
    run = write_run(tmp_path / "run", pictures=0)
    noise = np.random.default_rng(0).integers(0, 256, (300, 2000, 3), np.uint8)
    for step in range(0, 1000, 100):
        Image.fromarray(noise).save(run / "samples" / f"step-{step:08d}.png", compress_level=1)
    record = read_run(run, limit=6)
    assert (len(record.frames), record.pictures) == (6, 10)
    assert (record.frames[0].step, record.frames[-1].step) == (0, 900)
    assert all(frame.width <= 1536 and frame.reduced for frame in record.frames)
    assert sum(len(frame.source) for frame in record.frames) < 6 * 210_000
    text = page(record)
    assert "6 of 10 pictures" in text
    assert "Reduced or stored with loss" in text


def test_frames_are_read_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    reader = FrameReader()
    first, _ = reader.read(run / "samples", [])
    again, _ = reader.read(run / "samples", [])
    assert all(a is b for a, b in zip(first, again, strict=True))
    assert [spread(range(9), limit) for limit in (0, 1, 3, 9)] == [[], [8], [0, 4, 8], list(range(9))]


def test_long_log_gives_a_small_page(tmp_path: Path) -> None:
    """Oracle: a bound. 100,000 lines are 20 MB."""
    run = write_run(tmp_path / "run", pictures=1)
    names = ("loss/total", "loss/reconstruction", "learning_rate", "gan/lambda")
    values = np.random.default_rng(0).random((20_000, len(names)))
    write_log(
        run,
        [{"step": step, **dict(zip(names, map(float, row), strict=True))} for step, row in enumerate(values)],
    )
    text = page(read_run(run))
    assert len(text) < 600_000
    curve = page_data(text)["charts"][0]["curves"][0]
    assert max(curve["high"]) == pytest.approx(values[:, 0].max(), rel=1e-5)


def test_codebook_picture() -> None:
    """Oracle: red where nothing was counted, gray beyond the last code, and brighter for more."""
    picture = codebook_picture(np.array([0, 1, 5, 100, 0]))
    assert picture.shape == (2, 3, 3)
    assert picture[0, 0].tolist() == picture[1, 1].tolist() == [200, 60, 50]
    assert picture[1, 2].tolist() == [128, 128, 128]
    brightness = picture.reshape(-1, 3).astype(int).sum(1)
    assert brightness[1] < brightness[2] < brightness[3]
    assert codebook_picture(np.zeros(4, np.int64))[0, 0].tolist() == [200, 60, 50]


def test_config_is_marked_where_it_differs_from_the_preset() -> None:
    config = resolve("demo", ["tokenizer.codebook_size=300", "data.flip=0"])
    changed = changed_keys(config)
    assert changed is not None
    assert set(changed) == {"tokenizer.codebook_size", "data.flip"}
    text = config_html(config)
    assert "<mark>  codebook_size: 300</mark>" in text
    assert text.count("<mark>") == 2
    assert "Exactly the preset demo" in config_html(resolve("demo"))
    assert "nothing is marked" in config_html(config.model_copy(update={"name": "own"}))


def test_differing_keys() -> None:
    first, second = resolve("demo"), resolve("demo", ["train_ae.seed=7"])
    assert differing_keys([first, second, None]) == {"train_ae.seed": [str(first.train_ae.seed), "7", ""]}
    assert differing_keys([first, first]) == {}


def commands_of(folder: str) -> set[str]:
    """All that are ever shown for a run."""
    maps, small = ["condition.kind=segmentation"], ["condition.kind=lowres", "condition.tokenizer=same"]
    streets = resolve("streets").of_condition()
    configs = [None, streets, *(resolve("demo", overrides) for overrides in ([], maps, small))]
    found = set()
    for stage in ("train-ae", "train-transformer"):
        for config in configs:
            for state in ("running", "finished", "stopped"):
                commands = [words for _, words in next_commands(Path(folder), stage, state, config, 100)]
                assert any(f"{stage} --resume" in words for words in commands) == (state != "running")
                found.update(commands)
    return found


def test_commands_can_be_typed() -> None:
    """Oracle: the program's own parser of the command line."""
    commands = commands_of("a b")
    assert len(commands) > 12
    for words in commands:
        parse(words)


def test_commands_name_presets_that_are_there() -> None:
    """Oracle: what ships. A preset of the user's own is found in the run; maps alone do not say the rest of it."""
    own = resolve("demo").model_copy(update={"name": "own"})
    maps = resolve("streets").of_condition().model_copy(update={"name": "own"})
    for config, preset in ((resolve("demo"), "demo"), (own, "'a b/config.yaml'"), (maps, "PRESET")):
        found = [words for _, words in next_commands(Path("a b"), "train-ae", "running", config, 100)]
        assert len([words for words in found if f" --preset {preset} " in words]) == 1


@pytest.mark.parametrize("folder", ["runs/demo-ae", "a b", "it's", "-x", "--force", "a;rm -rf $HOME"])
def test_folder_is_one_word_of_each_command(folder: str) -> None:
    """Oracle: the shell's rules as `shlex` knows them; what begins with a dash would be an option."""
    word = f"./{folder}" if folder.startswith("-") else folder
    for words in commands_of(folder):
        assert word in shlex.split(words) or "samples --samples" in words


def test_comparison(tmp_path: Path) -> None:
    """Oracle: what differs between the runs that were written; those of one folder name are told apart."""
    runs = [
        write_run(tmp_path / "one/ae"),
        write_run(tmp_path / "two/ae", level=2.0, train_ae__seed=7),
        write_run(tmp_path / "prior", prior=True),
    ]
    text = comparison([read_run(run) for run in runs])
    data = page_data(text)
    assert data["runs"] == ["one/ae", "two/ae", f"{tmp_path.name}/prior"]
    charts = {chart["key"]: chart for chart in data["charts"]}
    assert [curve["run"] for curve in charts["loss"]["curves"]] == [0, 0, 1, 1]
    assert {curve["run"] for curve in charts["nll"]["curves"]} == {2}
    assert charts["loss"]["curves"][2]["label"] == "two/ae, training"
    assert "train_ae.seed" in text
    assert "train_ae.learning_rate" not in text
    assert text.count('class="frame"') == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min"), (75, "1 min 15 s"), (3600, "1 h"), (90_061, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
