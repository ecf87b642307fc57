"""torchvision's image classifiers, built from state dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vqgan_cli.core.errors import WeightsError
from vqgan_cli.core.models.torchvision_compat import import_torchvision

__all__ = ["ImageClassifier", "build_classifier", "classifier_names", "recognise_classifier"]

# Both normalise their own input when they carry the published weights, and both warn about their initialisation.
_BUILD_OPTIONS = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}

_TRIED = 5  # candidates by size


def classifier_names() -> Sequence[str]:
    """Names of torchvision's classifiers, such as resnet101."""
    models = import_torchvision().models
    return list(models.list_models(module=models))


def build_classifier(name: str) -> nn.Module:
    """A classifier of ImageNet's 1,000 classes on the meta device, where nothing is initialised or allocated."""
    build = import_torchvision().models.get_model
    options = _BUILD_OPTIONS.get(name, {})
    try:
        with torch.device("meta"):
            classifier: nn.Module = build(name, weights=None, **options)
    except NotImplementedError:  # RegNet computes its widths with tensors and needs their values
        classifier = build(name, weights=None, **options).to("meta")
    return classifier.eval()


def recognise_classifier(state: Mapping[str, Tensor], likely: str = "") -> str | None:
    """The classifier that a state dict belongs to, by names and shapes; None if it is none that is tried.

    Args:
        state: the state dict.
        likely: a text such as a file name. Classifiers whose name it holds are tried first, then those nearest in
            size: building all of them would take half a minute.
    """
    shapes = {name: value.shape for name, value in state.items()}
    values = sum(value.numel() for value in state.values() if value.is_floating_point())
    published = import_torchvision().models.get_model_weights
    names = sorted(
        classifier_names(), key=lambda name: abs(published(name).DEFAULT.meta["num_params"] - values)
    )
    named = sorted((name for name in names if name in likely), key=len, reverse=True)
    for name in dict.fromkeys([*named, *names[:_TRIED]]):
        if {key: value.shape for key, value in build_classifier(name).state_dict().items()} == shapes:
            return name
    return None


class ImageClassifier(nn.Module):
    """Probabilities of ImageNet's 1,000 classes for images of any size, prepared as for the published weights.

    Args:
        name: of a torchvision classifier.
        weights: its state dict.

    Raises:
        WeightsError: the weights belong to another network.
    """

    def __init__(self, name: str, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = build_classifier(name)
        try:
            self.network.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            # The first key of the first complaint says enough; torch lists them all.
            reason = str(error).splitlines()[1].strip().partition(", ")[0]
            raise WeightsError(f"the weights are not those of {name}: {reason}") from None
        self._prepare = import_torchvision().models.get_model_weights(name).DEFAULT.transforms()
        self.float().eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """[B, 1000] in float32.

        Args:
            images: uint8 [B, 3, H, W]; resized and centre-cropped as the network expects.
        """
        return self.network(self._prepare(images)).float().softmax(-1)
