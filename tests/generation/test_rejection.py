"""Choosing among candidates, and the classifiers that choose."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vqgan_cli.core.errors import UsageError, WeightsError
from vqgan_cli.core.generation.rejection import BestCandidates, load_scorer
from vqgan_cli.core.models.classifiers import build_classifier, recognise_classifier
from vqgan_cli.core.models.torchvision_compat import import_torchvision


def test_the_best_are_kept(tmp_path: Path) -> None:
    """Oracle: sorting all at once. Equals keep their order, and a second object goes on from the file."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, 50) / 20  # with equals
    codes = rng.integers(0, 9, (50, 2, 3))
    file = tmp_path / "best.npz"
    best = BestCandidates(file, 7, (2, 3))
    best.add(100, scores[:20], codes[:20])
    best = BestCandidates(file, 7, (2, 3))
    assert best.seen == 20
    for start in range(20, 50, 10):
        best.add(100 + start, scores[start : start + 10], codes[start : start + 10])
    order = sorted(range(50), key=lambda i: (-scores[i], i))[:7]
    assert best.seen == 50
    assert best.indices.tolist() == [100 + i for i in order]
    assert best.scores.tolist() == scores[order].tolist()
    assert (best.codes == codes[order]).all()
    assert best.codes.dtype == np.int64


@pytest.mark.parametrize("prefix", ["", "squeezenet1_0:"])
def test_scorer_from_a_file(squeezenet: Path, prefix: str) -> None:
    """Oracle: torchvision's own network, preparation and softmax."""
    scorer, mark = load_scorer(f"{prefix}{squeezenet}")
    assert len(mark) == 64
    models = import_torchvision().models
    network = models.squeezenet1_0().eval()
    network.load_state_dict(load_file(squeezenet))
    images = torch.randint(0, 256, (2, 3, 40, 60), dtype=torch.uint8)
    prepared = models.SqueezeNet1_0_Weights.DEFAULT.transforms()(images)
    with torch.no_grad():
        expected = network(prepared).softmax(1)
    torch.testing.assert_close(scorer(images), expected)


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "mobilenet_v3_small"])
def test_networks_are_recognised(name: str) -> None:
    """Whatever the file is called."""
    state = build_classifier(name).state_dict()
    assert recognise_classifier(state, likely=f"my-{name}.pth") == name
    assert recognise_classifier(state, likely="squeezenet1_0.pth") == name
    state.popitem()
    assert recognise_classifier(state) is None


def test_scorers_that_cannot_be_used(
    squeezenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    cases: list[tuple[str, type[Exception], str]] = [
        ("torchvision:resnet11", UsageError, "no classifier 'resnet11' .did you mean 'resnet1"),
        (f"sqeezenet1_0:{squeezenet}", UsageError, "did you mean 'squeezenet1_0'"),
        (f"squeezenet1_1:{squeezenet}", WeightsError, "not those of squeezenet1_1"),
        (str(other), WeightsError, "the weights of no torchvision classifier"),
        ("absent.pth", WeightsError, "no file with weights at 'absent.pth'"),
    ]
    for text, error, message in cases:
        with pytest.raises(error, match=message):
            load_scorer(text)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    proxy = urllib.request.ProxyHandler({"https": "http://127.0.0.1:9", "http": "http://127.0.0.1:9"})
    urllib.request.install_opener(urllib.request.build_opener(proxy))
    try:
        with pytest.raises(
            WeightsError, match=r"the scorer torchvision:resnet101 needs resnet101-\w+\.pth"
        ) as caught:
            load_scorer("torchvision:resnet101")
    finally:
        urllib.request.install_opener(urllib.request.build_opener())
    assert "resnet101:FILE" in (caught.value.hint or "")
    assert "train_ae" not in (caught.value.hint or "")
