"""Every example of the public API runs as it stands. Oracle: the outputs in the docstrings; for docs/python.md, what
each example says of its result.
"""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import vqgan_cli
from tests.conftest import ROOT
from vqgan_cli import read_images

NAMES = [name for name in vqgan_cli.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_examples_that_run(name: str, here: Path) -> None:
    text = inspect.getdoc(getattr(vqgan_cli, name))
    assert text is not None
    assert "\nExamples:\n" in text, f"{name} has no examples"
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert len(test.examples) >= 2
    report = io.StringIO()
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.write)
    assert runner.failures == 0, report.getvalue()


def blocks() -> list[str]:
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


@pytest.fixture(scope="module")
def said(place: Path) -> tuple[dict[str, Any], str]:
    """What the document's examples leave behind, one after the other in one namespace, and what they print."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stdout(printed):
        for number, code in enumerate(blocks(), start=1):
            exec(compile(code, f"docs/python.md, block {number}", "exec"), names)
    return names, printed.getvalue()


def test_codes_and_pictures_are_as_the_document_says(said: tuple[dict[str, Any], str], place: Path) -> None:
    names, _ = said
    f = names["tokenizer"].downsampling
    assert names["images"].shape == names["again"].shape == (8, 3, 64, 64)
    assert names["tokenizer"].encode(names["images"]).shape == (8, 64 // f, 64 // f)
    assert (len(names["shown"]), names["shown"][0].size) == (16, (64, 64))
    with Image.open(place / "reconstructions.png") as image:
        assert image.size == (8 * 66 - 2, 2 * 66 - 2)


def test_what_is_drawn_is_as_the_document_says(said: tuple[dict[str, Any], str]) -> None:
    names, _ = said
    assert names["drawn"].labels == [0, 0, 1, 1]
    assert names["wide"][0].size == (32, 16)
    assert len(names["completed"]) == len(names["varied"]) == 2
    assert names["nats"].shape == names["likeliest"].shape == (4, 8, 8)
    assert names["logits"].shape == (4, 64, 64)


def test_teacher_forcing_and_likelihood_are_the_same_numbers(
    said: tuple[dict[str, Any], str], place: Path
) -> None:
    """Oracle: the cross-entropy of the logits, in the prior's order."""
    names, _ = said
    images = read_images(place / "photos", size=16, limit=4)
    sequence = names["model"].tokenizer.encode(images).flatten(1)[:, names["order"]]
    entropy = F.cross_entropy(names["logits"].flatten(0, 1), sequence.flatten(), reduction="none")
    torch.testing.assert_close(entropy.view(4, 64), names["nats"].flatten(1)[:, names["order"]])


def test_a_model_of_somebody_else_learns_the_codes(said: tuple[dict[str, Any], str]) -> None:
    """Oracle: codes coded by their frequency, on the same images, none of which were trained on."""
    names, printed = said
    losses = names["losses"]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert names["reached"] < 0.93 * names["baseline"]
    assert f"{names['reached']:.2f} nats per code; by frequency alone {names['baseline']:.2f}" in printed
    assert names["samples"].shape == (4, 8, 8)
    assert "'runs/nothing-here' does not exist" in printed
