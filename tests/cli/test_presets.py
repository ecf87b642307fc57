"""``vqgan presets``: what goes to stdout, and that nothing of the user's is overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, RunVqgan
from vqgan_cli.core.presets import preset_names, read_preset, resolve


def test_list_is_names_on_stdout(run_vqgan: RunVqgan) -> None:
    done = run_vqgan("presets", "list")
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, preset_names(), "")


def test_list_as_json(run_vqgan: RunVqgan) -> None:
    rows = json.loads(run_vqgan("presets", "list", "--json").stdout)
    assert [row["name"] for row in rows] == preset_names()
    assert all(Path(row["path"]).is_file() and row["summary"] for row in rows)


def test_list_on_a_terminal_says_what_each_is(tmp_path: Path) -> None:
    import pty

    parent, child = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "vqgan_cli", "presets", "list"],
        stdout=child,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        check=False,
    )
    os.close(child)
    shown = os.read(parent, 100_000).decode()
    os.close(parent)
    assert done.returncode == 0
    assert all(name in shown for name in preset_names())
    assert "FacesHQ" in shown


def test_show_is_the_file(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    assert run_vqgan("presets", "show", "faces").stdout == read_preset("faces")
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\n", encoding="utf-8")
    assert run_vqgan("presets", "show", "mine.yaml").stdout == "name: mine\n"


def test_show_suggests_the_nearest(run_vqgan: RunVqgan) -> None:
    done = run_vqgan("presets", "show", "face")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown preset 'face' (did you mean 'faces'?)" in done.stderr


def test_copy_gives_a_file_to_edit(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    done = run_vqgan("presets", "copy", "faces", "my faces.yaml")
    assert (done.returncode, done.stdout) == (0, "my faces.yaml\n")
    assert resolve(str(tmp_path / "my faces.yaml")) == resolve("faces")


def test_copy_without_destination_and_into_a_folder(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert run_vqgan("presets", "copy", "demo").stdout == "demo.yaml\n"
    assert run_vqgan("presets", "copy", "demo", "sub").stdout == "sub/demo.yaml\n"
    assert (tmp_path / "sub/demo.yaml").read_text("utf-8") == read_preset("demo")


def test_copy_refuses_to_overwrite(run_vqgan: RunVqgan, tmp_path: Path) -> None:
    mine = tmp_path / "faces.yaml"
    mine.write_text("mine", encoding="utf-8")
    done = run_vqgan("presets", "copy", "faces")
    assert (done.returncode, done.stdout) == (1, "")
    assert "exists" in done.stderr
    assert "--force" in done.stderr
    assert mine.read_text("utf-8") == "mine"
    assert run_vqgan("presets", "copy", "faces", "--force").returncode == 0
    assert mine.read_text("utf-8") == read_preset("faces")


def test_copy_into_a_folder_that_does_not_exist(run_vqgan: RunVqgan) -> None:
    done = run_vqgan("presets", "copy", "faces", "absent/mine.yaml")
    assert done.returncode == 1
    assert "'absent/mine.yaml' cannot be written" in done.stderr


def test_keys(run_vqgan: RunVqgan) -> None:
    text = run_vqgan("presets", "keys", "temperature_end").stdout
    assert text.startswith("tokenizer.quantizer.temperature_end: a number above 0; default 0.0625\n")
    rows = json.loads(run_vqgan("presets", "keys", "--json").stdout)
    assert {"key": "data.size", "default": 256}.items() <= next(
        r for r in rows if r["key"] == "data.size"
    ).items()
