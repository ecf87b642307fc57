"""The wheel: built, installed into a fresh environment, and run from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from vqgan_cli import __version__
from vqgan_cli.core.presets import preset_names, read_preset

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; torch and the rest are borrowed from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    python = folder / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    # A line in a .pth file adds the folder to the path, but does not read the .pth files in it, so an editable
    # install of this checkout is not borrowed.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def test_wheel_holds_the_package_and_the_presets(wheel: Path) -> None:
    assert wheel.name == f"vqgan-{__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    for name in preset_names():
        assert f"vqgan_cli/presets/{name}.yaml" in names
    assert "vqgan_cli/py.typed" in names
    for name in ("pages/base.css", "run_report/charts.js", "run_report/page.css", "run_report/page.js"):
        assert f"vqgan_cli/core/{name}" in names
    for name in ("LICENSE", "README.md", "uPlot.iife.min.js", "uPlot.min.css"):
        assert f"vqgan_cli/core/run_report/vendor/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "presets", "runs"))]


def test_installed_wheel_finds_its_presets(environment: Path, tmp_path: Path) -> None:
    vqgan = environment / "bin/vqgan"
    assert run(vqgan, "presets", "list", cwd=tmp_path).split() == preset_names()
    assert run(vqgan, "presets", "show", "faces", cwd=tmp_path) == read_preset("faces")
    assert run(vqgan, "--version", cwd=tmp_path) == f"vqgan {__version__}\n"
    where = run(environment / "bin/python", "-c", "import vqgan_cli; print(vqgan_cli.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(environment)
