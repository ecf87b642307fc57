"""Networks of features: against torchvision and torch-fidelity, and files that must not be believed."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.evaluation.networks import inception as inception
from tests.evaluation.networks import save_random
from tests.recipes.test_train_ae import offline as offline
from vqgan_cli.core.errors import UsageError, WeightsError
from vqgan_cli.core.evaluation import features as module
from vqgan_cli.core.evaluation.features import INCEPTION_SHA256, load_features
from vqgan_cli.core.models.classifiers import build_classifier
from vqgan_cli.core.models.torchvision_compat import import_torch_fidelity, import_torchvision

PICTURES = torch.randint(0, 256, (2, 3, 40, 60), dtype=torch.uint8, generator=torch.manual_seed(0))


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
        "squeezenet1_0",
    )  # fmt: skip
    assert not any("FID" in label or "Inception" in label for label in network.labels)


@pytest.mark.parametrize(
    "name", ["resnet18", "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5", "swin_t"]
)
def test_features_are_what_the_classes_are_made_of(name: str, tmp_path: Path) -> None:
    """Invariant: the last layer, applied to the features alone, gives the logits."""
    network = load_features(f"torchvision:{name}", save_random(name, tmp_path / "weights.safetensors"))
    state = load_file(tmp_path / "weights.safetensors")
    found = network(PICTURES)
    names = [key for key in build_classifier(name).state_dict() if key.endswith(".weight")]
    head = [key for key in names if len(state[key]) == 1000][-1]
    logits = found.features @ state[head].T + state[head.removesuffix("weight") + "bias"]
    assert found.features.std() > 0
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-4)


def test_inception_is_that_of_torch_fidelity(inception: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: its extractor, given the file itself. The hash of the published file is replaced by that of this one."""
    monkeypatch.setattr(module, "INCEPTION_SHA256", hashlib.sha256(inception.read_bytes()).hexdigest())
    network = load_features("fid", inception)
    names = ["2048", "logits_unbiased"]
    oracle = import_torch_fidelity().FeatureExtractorInceptionV3(
        "x", names, feature_extractor_weights_path=str(inception)
    )
    for found, expected in zip(network(PICTURES), oracle(PICTURES), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert network.labels == ("FID", "KID", "Inception score", "Inception")


def test_other_weights_are_not_called_fid(inception: Path) -> None:
    with pytest.raises(WeightsError, match=f"not the expected ones.*expected {INCEPTION_SHA256}"):
        load_features("fid", inception)


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


def test_out_of_reach(offline: Path) -> None:
    """One message: which file, its hash, where to put it, and another way."""
    with pytest.raises(
        WeightsError, match=r"FID needs weights-inception-2015-12-05-6726825d\.pth, which is not"
    ) as e:
        load_features("fid")
    hint = e.value.hint or ""
    assert INCEPTION_SHA256 in hint
    assert f"into {offline}" in hint
    assert "--weights FILE" in hint
    assert "--features torchvision:NAME" in hint
    with pytest.raises(WeightsError, match=r"needs squeezenet1_0-b66bff10\.pth") as e:
        load_features("torchvision:squeezenet1_0")
    assert "SHA-256 b66bff10..." in (e.value.hint or "")


def test_cached_file_is_checked(offline: Path) -> None:
    """A damaged file in the cache is named with the hash that it should have."""
    file = offline / "weights-inception-2015-12-05-6726825d.pth"
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
