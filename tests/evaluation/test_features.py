"""Networks of features: against torchvision and torch-fidelity, and files that must not be believed."""

from __future__ import annotations

import hashlib
import pickle
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vqgan_cli.core.errors import UsageError, WeightsError
from vqgan_cli.core.evaluation import features as module
from vqgan_cli.core.evaluation.features import INCEPTION_SHA256, load_features
from vqgan_cli.core.models.classifiers import build_classifier
from vqgan_cli.core.models.torchvision_compat import import_torch_fidelity, import_torchvision

PICTURES = torch.randint(0, 256, (2, 3, 40, 60), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.fixture(scope="module")
def squeezenet(shared: Path) -> Path:
    file = shared / "weights/squeezenet1_0.safetensors"
    if not file.is_file():
        pytest.skip(f"no {file}")
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The empty cache of torch.hub on a machine that reaches no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    proxy = urllib.request.ProxyHandler({"https": "http://127.0.0.1:9", "http": "http://127.0.0.1:9"})
    urllib.request.install_opener(urllib.request.build_opener(proxy))
    yield tmp_path / "torch/hub/checkpoints"
    urllib.request.install_opener(urllib.request.build_opener())


def test_squeezenet(squeezenet: Path) -> None:
    """Oracle: torchvision's own network and parts of it, on pictures prepared by hand."""
    network = load_features("torchvision:squeezenet1_0", squeezenet)
    models = import_torchvision().models
    oracle = models.squeezenet1_0().eval()
    oracle.load_state_dict(load_file(squeezenet))
    resized = torch.nn.functional.interpolate(PICTURES / 255, (224, 224), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    prepared = (resized - mean) / std
    with torch.no_grad():
        features, logits = oracle.features(prepared).mean((2, 3)), oracle(prepared)
    found = network(PICTURES)
    torch.testing.assert_close(found.features, features)
    torch.testing.assert_close(found.logits, logits)
    assert network.labels == (
        "Frechet distance (squeezenet1_0)", "kernel distance (squeezenet1_0)", "classifier score (squeezenet1_0)",
    )  # fmt: skip
    assert not any("FID" in label or "Inception" in label for label in network.labels)


@pytest.mark.parametrize(
    "name", ["resnet18", "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "swin_t"]
)
def test_features_are_what_the_classes_are_made_of(name: str, tmp_path: Path) -> None:
    """Invariant: the last layer, applied to the features alone, gives the logits."""
    torch.manual_seed(0)
    state = {key: random_like(value) for key, value in build_classifier(name).state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    network = load_features(f"torchvision:{name}", tmp_path / "weights.safetensors")
    found = network(PICTURES)
    head = next(key for key in reversed(state) if key.endswith(".weight") and len(state[key]) == 1000)
    logits = found.features @ state[head].T + state[head.removesuffix("weight") + "bias"]
    assert found.features.std() > 0
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-4)


def random_like(value: Tensor) -> Tensor:
    """Numbers that neither vanish nor explode on their way through a network."""
    if not value.is_floating_point():
        return torch.zeros(value.shape, dtype=value.dtype)
    if value.dim() < 2:
        return torch.rand(value.shape) + 0.5  # of normalisations; the variance among them must be positive
    return torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A file of random weights of the published layout, and its content; loading it needs its hash expected."""
    try:
        extractor = import_torch_fidelity().FeatureExtractorInceptionV3
    except ModuleNotFoundError:
        pytest.skip("torch-fidelity is not installed: pip install 'vqgan[eval]'")
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # its names and shapes, which a file that is not there would hold
        patch.setattr(torch, "load", lambda *_, **__: None)
        patch.setattr(extractor, "load_state_dict", lambda *_: None)
        shapes = extractor("fid", ["2048"], feature_extractor_weights_path="none").state_dict()
    torch.manual_seed(0)
    state = {key: random_like(value) for key, value in shapes.items()}
    torch.save(state, path)
    return path, state


def test_inception_is_that_of_torch_fidelity(
    inception: tuple[Path, dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: its extractor, given the file itself. The hash of the published file is replaced by that of this one."""
    path, _ = inception
    monkeypatch.setattr(module, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    network = load_features("fid", path)
    names = ["2048", "logits_unbiased"]
    oracle = import_torch_fidelity().FeatureExtractorInceptionV3(
        "x", names, feature_extractor_weights_path=str(path)
    )
    for found, expected in zip(network(PICTURES), oracle(PICTURES), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert network.labels == ("FID", "KID", "Inception score")


def test_other_weights_are_not_called_fid(inception: tuple[Path, dict[str, Tensor]]) -> None:
    path, _ = inception
    with pytest.raises(WeightsError, match=f"not the expected ones.*expected {INCEPTION_SHA256}"):
        load_features("fid", path)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("hash_is_right", [False, True])
@pytest.mark.parametrize("name", ["fid", "torchvision:squeezenet1_0"])
def test_a_pickle_executes_nothing(
    name: str, hash_is_right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one whose hash is expected, which only the restricted reader stands against."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "weights.pth"
    torch.save({"weight": Malicious()}, file)
    if hash_is_right:
        monkeypatch.setattr(module, "INCEPTION_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        load_features(name, file)
    assert not Path("executed").exists()
    pickle.loads(pickle.dumps(Malicious()))
    assert Path("executed").exists(), "the file would have done it"


def test_out_of_reach(cache: Path) -> None:
    """One message: which file, its hash, where to put it, and another way."""
    with pytest.raises(
        WeightsError, match=r"FID needs weights-inception-2015-12-05-6726825d\.pth, which is not"
    ) as e:
        load_features("fid")
    hint = e.value.hint or ""
    assert INCEPTION_SHA256 in hint
    assert f"into {cache}" in hint
    assert "--weights FILE" in hint
    assert "--features torchvision:NAME" in hint
    with pytest.raises(WeightsError, match=r"needs squeezenet1_0-b66bff10\.pth") as e:
        load_features("torchvision:squeezenet1_0")
    assert "SHA-256 b66bff10..." in (e.value.hint or "")


def test_cached_file_is_checked(cache: Path) -> None:
    """A damaged file in the cache is named with the hash that it should have."""
    cache.mkdir(parents=True)
    file = cache / "weights-inception-2015-12-05-6726825d.pth"
    file.write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=INCEPTION_SHA256) as e:
        load_features("fid")
    assert str(file) in e.value.message


def test_names(squeezenet: Path) -> None:
    with pytest.raises(UsageError, match="no network 'FIDD'"):
        load_features("FIDD")
    with pytest.raises(UsageError, match="did you mean 'squeezenet1_0'"):
        load_features("torchvision:sqeezenet1_0", squeezenet)
    with pytest.raises(WeightsError, match="not those of squeezenet1_1") as e:
        load_features("torchvision:squeezenet1_1", squeezenet)
    assert "--features" in (e.value.hint or "")
