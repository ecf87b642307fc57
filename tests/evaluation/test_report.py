"""Reports: everything inside one file, nothing that a browser would fetch, every figure."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.pages import Page
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.evaluation.figures import Figure, figures_json, figures_table, shown
from vqgan_cli.core.evaluation.report import (
    Picture,
    Section,
    Table,
    heat_map,
    report_folder,
    write_report,
)


def test_page_holds_texts_pictures_and_figures(tmp_path: Path) -> None:
    """Oracle: what was put in, read back by parsers of HTML, PNG and JSON; markup in names stays text."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    name = "<script src=http://a.example/x.js>&amp;"
    metrics = {"psnr": {"value": 28.123456789}, "name": name, "none": None}
    section = Section(name, "a note", Table(("", "value"), [("PSNR", "28.1")]), [Picture(image, name)])
    page = Page(write_report(tmp_path, name, [section], metrics))
    assert np.array_equal(page.pictures()[0], image)
    assert "script" not in page.tags
    assert page.text.count(name) >= 4  # title, heading, section, caption
    assert "a note" in page.text
    assert "28.123456789" in page.text
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics


def test_existing_report_is_kept(tmp_path: Path) -> None:
    """Invariant: nothing is overwritten without --force, of two processes one writes, and the folder is made."""
    write_report(tmp_path, "title", [], {})
    with pytest.raises(OutputError, match=r"report\.html' exists"), report_folder(tmp_path, force=False):
        pass
    with (
        report_folder(tmp_path, force=True),
        pytest.raises(OutputError, match="another process"),
        report_folder(tmp_path, force=True),
    ):
        pass
    with report_folder(tmp_path / "new", force=False), report_folder(None, force=False):
        assert (tmp_path / "new").is_dir()


def test_heat_map_goes_from_blue_to_yellow() -> None:
    """Oracle: the ends of the scale; equal values are no division by zero."""
    picture = heat_map(np.array([[2.0, 3.0], [6.0, 2.0]]))
    assert picture[0, 0].tolist() == picture[1, 1].tolist() == [68, 1, 84]
    assert picture[1, 0].tolist() == [253, 231, 37]
    assert len(np.unique(heat_map(np.full((2, 2), 5.0)).reshape(-1, 3), axis=0)) == 1


def test_figures() -> None:
    """Oracle: numbers written out by hand."""
    figures = [
        Figure("psnr", "PSNR (dB)", 28.123456, 200, (27.5, 28.75)),
        Figure("codes_never_used", "codes never used", 12.0, 200),
        Figure("mean_iou", "mean IoU", math.nan, 0),
    ]
    assert figures_json(figures) == {
        "psnr": {"value": 28.123456, "confidence_interval_95": [27.5, 28.75], "images": 200},
        "codes_never_used": {"value": 12.0, "images": 200},
        "mean_iou": {"value": None, "images": 0},
    }
    assert [list(row) for row in figures_table(figures).rows] == [
        ["PSNR (dB)", "28.12", "27.50 to 28.75", "200"],
        ["codes never used", "12", "", "200"],
        ["mean IoU", "undefined", "", "0"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12345.678, "12346"), (0.0123456, "0.01235"), (-1.5, "-1.500"), (1.5e-7, "1.500e-07")],
)
def test_numbers_for_people(value: float, text: str) -> None:
    """Oracle: written by hand, four significant digits."""
    assert shown(value) == text
