"""Pretrained weights: cached, damaged, foreign, malicious, or out of reach."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vqgan_cli.core.config import PerceptualConfig
from vqgan_cli.core.errors import ConfigError, WeightsError
from vqgan_cli.core.models.torchvision_compat import import_torchvision
from vqgan_cli.core.pretrained import cached_weights, load_perceptual, read_weights

CLOSED_PORT = "http://127.0.0.1:9"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of torch.hub on a machine that reaches no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    proxy = urllib.request.ProxyHandler({"https": CLOSED_PORT, "http": CLOSED_PORT})
    urllib.request.install_opener(urllib.request.build_opener(proxy))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    yield folder
    urllib.request.install_opener(urllib.request.build_opener())


def test_no_weights_and_no_network(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WeightsError, match=r"vgg16-397923af\.pth") as caught:
        load_perceptual(PerceptualConfig())
    hint = caught.value.hint or ""
    assert str(cache) in hint
    assert "--set train_ae.perceptual.kind=none" in hint
    assert "--set train_ae.perceptual.kind=features" in hint
    assert "--set train_ae.perceptual.weights=FILE" in hint
    assert capfd.readouterr().out == ""
    assert list(cache.iterdir()) == []


def test_corrupt_cached_weights_are_named_with_the_expected_hash(cache: Path) -> None:
    file = cache / "vgg16-397923af.pth"
    file.write_bytes(b"half a download")
    with pytest.raises(WeightsError) as caught:
        load_perceptual(PerceptualConfig())
    found = hashlib.sha256(b"half a download").hexdigest()[:8]
    assert str(file) in caught.value.message
    assert "397923af" in caught.value.message
    assert found in caught.value.message


def test_cached_weights(cache: Path) -> None:
    assert cached_weights() == [("vgg", None), ("alex", None), ("squeeze", None)]
    file = cache / "alexnet-owt-7be5be79.pth"
    file.touch()
    assert dict(cached_weights())["alex"] == file


def test_lpips_from_a_file_of_backbone_weights(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Oracle: .pth and .safetensors hold the same tensors, so the distances are equal."""
    torch.manual_seed(0)
    weights = import_torchvision().models.squeezenet1_1(weights=None).state_dict()
    torch.save(weights, tmp_path / "squeezenet.pth")
    save_file(weights, tmp_path / "squeezenet.safetensors")
    x, y = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    values = []
    for file in ("squeezenet.pth", "squeezenet.safetensors"):
        distance = load_perceptual(PerceptualConfig(network="squeeze", weights=str(tmp_path / file)))
        assert distance is not None
        values.append(distance(x, y))
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=0)
    assert capfd.readouterr().out == ""


def test_features_from_the_real_squeezenet(shared: Path) -> None:
    config = PerceptualConfig(
        kind="features",
        network="squeezenet1_0",
        weights=str(shared / "weights/squeezenet1_0.safetensors"),
        logits=True,
    )
    distance = load_perceptual(config)
    assert distance is not None
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    assert 0 < distance(x, -x).item() < 4


def test_none_needs_nothing(cache: Path) -> None:
    assert load_perceptual(PerceptualConfig(kind="none")) is None


def test_unknown_network_is_found_before_any_download(cache: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'vgg'"):
        load_perceptual(PerceptualConfig(network="vgg17x"))


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_unusable_files(tmp_path: Path) -> None:
    """A pickle that would run code is refused, and the code is not run."""
    torch.save({"weight": _Payload(tmp_path / "executed")}, tmp_path / "malicious.pth")
    torch.save(["no", "state", "dict"], tmp_path / "list.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.safetensors").write_text("not a tensor")
    for name in ("malicious.pth", "list.pth", "empty.pth", "text.safetensors", "missing.pth"):
        with pytest.raises(WeightsError, match=name):
            read_weights(tmp_path / name)
    assert not (tmp_path / "executed").exists()
