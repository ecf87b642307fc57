"""``vqgan report``, and the reports that training writes by itself."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.recipes.conftest import Fork, Vqgan
from tests.recipes.tiny_run import Trainer, fault, log, settings, status, train, trainers
from tests.run_report.runs import page_curve, page_data, write_run


@trainers()
def test_training_leaves_a_report(trainer: Trainer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: log.jsonl; the path of the page is told, and environment and use of the codes are kept."""
    done = vqgan(*trainer.train("out", 4))
    assert done.code == 0, done.err
    assert "report: out/report.html" in done.err
    run = tmp_path / "out"
    text = (run / "report.html").read_text("utf-8")
    assert '<span class="state good">done</span>' in text
    ae = trainer.command == "train-ae"
    name, key = ("loss/total", "loss") if ae else ("loss", "nll")
    logged = [(line["step"], line[name]) for line in log(run) if name in line]
    steps, values = page_curve(run / "report.html", key)
    assert steps == [step for step, _ in logged]
    assert values == pytest.approx([value for _, value in logged], rel=1e-5)
    assert f"vqgan {trainer.command} --resume --out out" in text
    (session,) = json.loads((run / "environment.json").read_text())
    assert (session["start"], session["processes"], session["precision"]) == (0, 1, "fp32")
    assert session["versions"]["torch"]
    assert (run / "code_counts.json").exists() == ae
    if ae:
        counts = json.loads((run / "code_counts.json").read_text())
        assert counts["step"] == 4
        assert sum(counts["counts"]) == 4 * 8 * 8  # images times cells
        never = next(line["validation/codes_never_used"] for line in log(run) if "validation/loss" in line)
        assert counts["counts"].count(0) == never


def test_resumed_run_keeps_its_curves(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the steps of the first part, whose curves are still there beside those of the second."""
    assert vqgan(*train("out", 4)).code == 0
    first = page_curve(tmp_path / "out/report.html", "loss")
    done = vqgan("train-ae", "--resume", "--out", "out", "--steps", "6", "--device", "cpu")
    assert done.code == 0, done.err
    steps, values = page_curve(tmp_path / "out/report.html", "loss")
    assert steps == [1, 2, 3, 4, 5, 6]
    assert (steps[:4], values[:4]) == first
    sessions = json.loads((tmp_path / "out/environment.json").read_text())
    assert [session["start"] for session in sessions] == [0, 4]


@trainers()
def test_report_of_a_resumed_run_drops_what_is_made_again(
    trainer: Trainer, vqgan: Vqgan, fork: Fork, tmp_path: Path
) -> None:
    """From the first time that it is written. Oracle: the checkpoint from which the run goes on; it is killed in a step
    after that, long before the report would be written once more.
    """
    run = tmp_path / "out"
    changes = {"sample_every": 2, "checkpoint_every": 2, "keep_checkpoints": 9}
    assert vqgan(*trainer.train("out", 8, **changes)).code == 0
    kill = fault("open", "samples/.", "SIGKILL")
    code, _, err = fork(*trainer.resume("out/checkpoints/step-00000004"), env=kill).wait()
    assert code == -signal.SIGKILL, err
    data = page_data((run / "report.html").read_text("utf-8"))
    drawn = {step for chart in data["charts"] for curve in chart["curves"] for step in curve["x"]}
    assert drawn == {1, 2, 3, 4}
    assert data["live"]
    assert 'data-step="4"' in (run / "report.html").read_text("utf-8")
    assert 'data-step="6"' not in (run / "report.html").read_text("utf-8")
    assert "at step 8" not in (run / "report.html").read_text("utf-8")  # use of the codes


def test_report_of_a_run_that_failed(vqgan: Vqgan, tmp_path: Path) -> None:
    changes = settings(
        train_ae__learning_rate=1e30, train_ae__adversarial__weight=0, train_ae__warmup_steps=0
    )
    done = vqgan(*train("out", 40), *changes)
    assert (done.code, status(tmp_path / "out")["state"]) == (1, "failed")
    text = (tmp_path / "out/report.html").read_text("utf-8")
    assert '<span class="state bad">failed</span>' in text
    assert "NaN or infinite" in text
    assert "not a finite number" in text


def test_report_that_cannot_be_written_stops_nothing(vqgan: Vqgan, tmp_path: Path) -> None:
    """A folder in its place is a fault that only the report meets; told once."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.keep").touch()
    assert vqgan(*train("out", 2)).code == 1  # not empty
    (tmp_path / "out/.keep").unlink()
    assert vqgan(*train("out", 2)).code == 0
    (tmp_path / "out/report.html").unlink()
    (tmp_path / "out/report.html/in-the-way").mkdir(parents=True)
    done = vqgan("train-ae", "--resume", "--out", "out", "--steps", "5", "--device", "cpu")
    assert done.code == 0, done.err
    assert done.err.count("report.html is not up to date: cannot write") == 1
    assert status(tmp_path / "out")["step"] == 5


def test_report_of_one_run(vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: what the folder holds. A report is replaced, also by the same command again."""
    write_run(tmp_path / "my run")
    for _ in range(2):
        done = vqgan("report", "my run")
        assert (done.code, done.out, done.err) == (0, "my run/report.html\n", "")
    assert "vqgan info &#x27;my run&#x27;" in (tmp_path / "my run/report.html").read_text("utf-8")
    assert vqgan("report", "my run", "-o", "page.html").out == "page.html\n"
    assert page_curve(tmp_path / "page.html", "loss")[0] == list(range(10, 101, 10))


def test_report_of_several_runs(vqgan: Vqgan, tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", prior=True)
    done = vqgan("report", "a", "b")
    assert (done.code, done.out) == (0, "comparison.html\n"), done.err
    assert page_data((tmp_path / "comparison.html").read_text("utf-8"))["runs"] == ["a", "b"]


def test_report_of_a_damaged_run(vqgan: Vqgan, tmp_path: Path) -> None:
    """What cannot be read is named on stderr and in the page, and the rest is shown."""
    run = write_run(tmp_path / "run", state="running")
    (run / "config.yaml").write_text("tokenizer: [", encoding="utf-8")
    (run / "samples/step-00000020.png").write_bytes(b"")
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 110, "loss/to')
    done = vqgan("report", "run")
    assert (done.code, done.out) == (0, "run/report.html\n")
    assert "config.yaml" in done.err
    assert "step-00000020.png" in done.err
    text = (run / "report.html").read_text("utf-8")
    assert '<span class="state bad">killed</span>' in text  # it says that it is running, and nobody is there
    assert page_curve(run / "report.html", "loss")[0] == list(range(10, 101, 10))


def test_what_is_no_run_is_refused(vqgan: Vqgan, tmp_path: Path) -> None:
    write_run(tmp_path / "runs/a")
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").touch()
    for words, message in (
        (["absent"], "'absent' does not exist"),
        (["file"], "'file' is a file"),
        (["photos"], "'photos' is no run folder"),
        (["runs"], "there are runs in it, such as 'runs/a'"),
        (["runs/a", "runs/../runs/a"], "named twice"),
        ([], "Missing argument"),
    ):
        done = vqgan("report", *words)
        assert (done.code, done.out) == (2, "")
        assert message in done.err


def test_what_is_no_report_is_kept(vqgan: Vqgan, tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "mine.html").write_text("mine")
    done = vqgan("report", "run", "-o", "mine.html")
    assert done.code == 1
    assert "'mine.html' exists and is no report" in done.err
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert "is a folder" in vqgan("report", "run", "-o", "run").err
    assert "cannot write" in vqgan("report", "run", "-o", "absent/page.html").err
    assert vqgan("report", "run", "-o", "mine.html", "--force").code == 0


def test_open_shows_the_page(vqgan: Vqgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the address that a program in place of the browser is given; without one there is a warning."""
    import webbrowser

    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(webbrowser, "_tryorder", [])
    webbrowser.register("browser", None, webbrowser.GenericBrowser(str(browser)))
    monkeypatch.setattr(webbrowser, "_tryorder", ["browser"])
    write_run(tmp_path / "my run")
    assert vqgan("report", "my run", "--open").out == "my run/report.html\n"
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "my run/report.html").as_uri()
    monkeypatch.setattr(webbrowser, "_tryorder", [])
    done = vqgan("report", "my run", "--open")
    assert done.code == 0
    assert "no browser was found" in done.err
