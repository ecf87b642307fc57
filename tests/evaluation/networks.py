"""Networks of random weights, for what does not depend on what they have learnt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vqgan_cli.core.models.classifiers import build_classifier
from vqgan_cli.core.models.torchvision_compat import import_torch_fidelity

__all__ = ["inception", "save_random"]


def random_like(value: Tensor) -> Tensor:
    """Numbers that neither vanish nor explode on their way through a network."""
    if not value.is_floating_point():
        return torch.zeros(value.shape, dtype=value.dtype)
    if value.dim() < 2:
        return torch.rand(value.shape) + 0.5  # of normalisations; the variance among them must be positive
    return torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5


def save_random(name: str, path: Path, seed: int = 0) -> Path:
    """A file of random weights of a torchvision classifier."""
    torch.manual_seed(seed)
    state = {key: random_like(value) for key, value in build_classifier(name).state_dict().items()}
    # Small logits: no class is certain, or impossible, where torch-fidelity finds no score.
    save_file(
        {key: value / 100 if value.shape[:1] == (1000,) else value for key, value in state.items()}, path
    )
    return path


@pytest.fixture(scope="session")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights of Inception as FID's are laid out, whose hash is another."""
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
    torch.save({key: random_like(value) for key, value in shapes.items()}, path)
    return path
