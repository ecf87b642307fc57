"""``--precision int8`` as a user gives it: of what draws, and of nothing else."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.recipes.conftest import Vqgan
from tests.recipes.test_bench import TINY
from tests.recipes.test_generate import SavedTransformer, described, generate, read, save_transformer_of
from vqgan_cli.core.models.priors import Prior
from vqgan_cli.core.models.priors.int8 import has_int8, quantize

needs_int8 = pytest.mark.skipif(not has_int8(), reason="this CPU has no exact products of 8 bits")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> SavedTransformer:
    """Unconditional."""
    return save_transformer_of(tmp_path_factory.mktemp("faces"), ())


@pytest.fixture(scope="module")
def quantized(faces: SavedTransformer) -> SavedTransformer:
    """Oracle: the same model, quantized by hand."""
    prior = copy.deepcopy(faces.prior)
    quantize(prior)
    return replace(faces, prior=prior)


@needs_int8
def test_generate(faces: SavedTransformer, quantized: SavedTransformer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Oracle: the quantized prior, and the tokenizer in float32."""
    done = generate(vqgan, faces, "-n", "3", "--precision", "int8", "--top-k", "0")
    assert done.code == 0, done.err
    files = [image["file"] for image in described(tmp_path / "samples")["images"]]
    drawn = np.stack([read(tmp_path / "samples" / file) for file in files])
    assert np.array_equal(drawn, quantized.images([0, 0, 0]))
    assert not np.array_equal(drawn, faces.images([0, 0, 0]))


@needs_int8
def test_likelihood(faces: SavedTransformer, quantized: SavedTransformer, vqgan: Vqgan) -> None:
    """Oracle: mean cross entropy of the quantized prior, which is not that of the prior."""
    done = vqgan(
        "encode", "synthetic:faces", "--limit", "6", "--ae", faces.tokenizer_path, "--size", "8", "--device", "cpu"
    )  # fmt: skip
    assert done.code == 0, done.err
    done = vqgan(
        "evaluate", "likelihood", "--model", faces.path, "--codes", "codes.npy", "--precision", "int8",
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    codes = torch.from_numpy(np.load("codes.npy").astype(np.int64)).flatten(1)

    def nats(prior: Prior) -> float:
        logits = prior(codes[:, :-1], torch.zeros(len(codes), 1, dtype=torch.int64))
        return float(F.cross_entropy(logits.flatten(0, 1), codes.flatten()))

    found = json.loads(done.out)["nats_per_code"]["value"]
    assert found == pytest.approx(nats(quantized.prior), abs=1e-5)
    assert found != pytest.approx(nats(faces.prior), abs=1e-5)


@needs_int8
def test_bench_of_what_draws(vqgan: Vqgan) -> None:
    """Among all works those that draw are measured, and it is said of the others."""
    done = vqgan("bench", *TINY, "--rounds", "1", "--sequences", "2", "--size", "16x32", "--precision", "int8",
                 "--device", "cpu", "--json")  # fmt: skip
    assert done.code == 0, done.err
    names = {row["name"].split()[0] for row in json.loads(done.out)["results"]}
    assert names == {"sample", "window"}
    assert all(row["share_of_limit"] > 0 for row in json.loads(done.out)["results"])
    assert "encode is left out: precision int8 is of drawing" in done.err
    done = vqgan("bench", "encode", *TINY, "--precision", "int8", "--device", "cpu")
    assert done.code == 2
    assert "int8 is of drawing, not of encode" in done.err


def test_what_does_not_draw_has_no_int8(vqgan: Vqgan) -> None:
    done = vqgan("encode", "synthetic:faces", "--limit", "1", "--precision", "int8")
    assert done.code == 2
    assert "'int8' is not one of" in done.err
