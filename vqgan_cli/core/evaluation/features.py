"""Networks whose features images are compared in: Inception, as FID is defined by, or any classifier of torchvision."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.artifacts import fingerprint
from vqgan_cli.core.errors import UsageError, WeightsError, did_you_mean
from vqgan_cli.core.models.classifiers import ImageClassifier, classifier_names
from vqgan_cli.core.models.torchvision_compat import import_torch_fidelity, import_torchvision
from vqgan_cli.core.pretrained import published_file, read_weights, weights_file

__all__ = ["FID", "INCEPTION_SHA256", "FeatureNetwork", "Features", "Labels", "load_features"]

FID = "fid"
"""The name of the features that alone may be called FID."""

_TORCHVISION = "torchvision:"
_INCEPTION_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the one file of weights that FID is defined by: TensorFlow's graph of 2015, converted by pytorch-fid."""

_OTHERWISE = (
    "give it with --weights FILE; or compare in other features: --features torchvision:NAME --weights FILE"
)


class Features(NamedTuple):
    """What a network gives of images.

    Attributes:
        features: float32 [B, D].
        logits: float32 [B, C], of its classes.
    """

    features: Tensor
    logits: Tensor


class Labels(NamedTuple):
    """What people call the figures that these features give.

    Attributes:
        frechet: the Frechet distance.
        kernel: the kernel distance.
        score: the classifier score.
        network: for behind the names of all others.
    """

    frechet: str
    kernel: str
    score: str
    network: str


class FeatureNetwork(nn.Module):
    """A frozen network from pictures to features.

    Args:
        name: ``fid`` or ``torchvision:NAME``.
        network: from uint8 [B, 3, H, W] to `Features`.
        fingerprint: of its weights.
        preparation: how it prepares a picture, in words.
    """

    def __init__(self, name: str, network: nn.Module, fingerprint: str, preparation: str) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.fingerprint = fingerprint
        self.preparation = preparation
        self.float().eval().requires_grad_(False)

    @property
    def labels(self) -> Labels:
        """Only Inception's figures have the names that papers know; all others carry the network's."""
        if self.name == FID:
            return Labels("FID", "KID", "Inception score", "Inception")
        network = self.name.removeprefix(_TORCHVISION)
        return Labels(
            f"Frechet distance ({network})",
            f"kernel distance ({network})",
            f"classifier score ({network})",
            network,
        )

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Features:
        """Features of images uint8 [B, 3, H, W] of any size."""
        return Features(*(each.float() for each in self.network(images)))


def load_features(name: str = FID, weights: Path | None = None) -> FeatureNetwork:
    """The network that ``--features`` and ``--weights`` name, on the CPU.

    Args:
        name: ``fid`` or ``torchvision:NAME``.
        weights: its file (.pth or .safetensors); None: the published one, which is cached or downloaded.

    Raises:
        UsageError: no such network; or torch-fidelity is not installed.
        WeightsError: weights that cannot be had, are damaged, are others than FID's, or belong to another network.
    """
    if name == FID:
        return _inception(weights)
    if name.startswith(_TORCHVISION):
        return _classifier(name, weights)
    known = [FID, *(_TORCHVISION + each for each in classifier_names())]
    raise UsageError(
        f"--features: no network {name!r}{did_you_mean(name, known)}", hint="fid, or torchvision:NAME"
    )


class _Inception(nn.Module):
    """torch-fidelity's Inception v3."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.extractor(images)
        return features, logits


def _inception(weights: Path | None) -> FeatureNetwork:
    try:
        extractor = import_torch_fidelity().FeatureExtractorInceptionV3
    except ModuleNotFoundError as error:
        if error.name != "torch_fidelity":
            raise
        raise UsageError(
            "--features fid needs torch-fidelity",
            hint="pip install 'vqgan[eval]'; or compare in other features: --features torchvision:NAME",
        ) from None
    file = weights or published_file(
        _INCEPTION_URL, sha256=INCEPTION_SHA256, purpose="FID", otherwise=_OTHERWISE
    )
    state = read_weights(file, sha256=INCEPTION_SHA256)
    # The extractor unpickles whatever file it is given. It is given none, but tensors that were read and checked here.
    checked = io.BytesIO()
    torch.save(state, checked)
    checked.seek(0)
    network = _Inception(
        extractor(FID, ["2048", "logits_unbiased"], feature_extractor_weights_path=checked, verbose=False)
    )
    preparation = "the whole picture at 299x299, bilinear as in TensorFlow 1"
    return FeatureNetwork(FID, network, fingerprint(state), preparation)


class _Classifier(nn.Module):
    """A classifier of torchvision; its features are what its last layer makes the classes of."""

    def __init__(self, name: str, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.network = ImageClassifier(name, state).network
        preset = import_torchvision().models.get_model_weights(name).DEFAULT.transforms()
        self.side = int(preset.crop_size[0])
        self.register_buffer("mean", torch.tensor(preset.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preset.std).view(1, 3, 1, 1))
        self._before_classes: Tensor | None = None
        self._head().register_forward_pre_hook(self._note)

    def _head(self) -> nn.Module:
        classes = [
            layer
            for layer in self.network.modules()
            if (isinstance(layer, nn.Linear) and layer.out_features == 1000)
            or (isinstance(layer, nn.Conv2d) and layer.out_channels == 1000)
        ]
        return classes[-1]  # GoogLeNet and Inception have others for training before it

    def _note(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._before_classes = arguments[0]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = F.interpolate(images.float() / 255, (self.side, self.side), mode="bilinear", antialias=True)
        logits = self.network((pixels - self.get_buffer("mean")) / self.get_buffer("std"))
        features, self._before_classes = self._before_classes, None
        assert features is not None, "the head saw the images"
        return features.mean((2, 3)) if features.dim() == 4 else features, logits


def _classifier(name: str, weights: Path | None) -> FeatureNetwork:
    network = name.removeprefix(_TORCHVISION)
    names = classifier_names()
    if network not in names:
        raise UsageError(
            f"--features: torchvision has no classifier {network!r}{did_you_mean(network, names)}",
            hint="such as torchvision:resnet50; or fid",
        )
    file = weights or weights_file(
        network, purpose=f"--features {name}", otherwise="give it with --weights FILE"
    )
    state = read_weights(file)
    try:
        classifier = _Classifier(network, state)
    except WeightsError as error:
        raise WeightsError(
            f"{str(file)!r}: {error.message}", hint="name its network with --features"
        ) from None
    preparation = f"the whole picture at {classifier.side}x{classifier.side}, bilinear"
    return FeatureNetwork(name, classifier, fingerprint(state), preparation)
