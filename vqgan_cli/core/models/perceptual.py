"""Distances between images in the features of a frozen classifier.

Two distances share one formula. LPIPS (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", eq. 1) weighs the channels of VGG, AlexNet or SqueezeNet by what people judged similar. The
features distance is its uncalibrated form (the paper's "baseline") for any convolutional torchvision classifier.
Weights come in as state dicts; `vqgan_cli.core.pretrained` finds and reads the files.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.errors import ConfigError, WeightsError, did_you_mean
from vqgan_cli.core.models.classifiers import build_classifier, classifier_names
from vqgan_cli.core.models.torchvision_compat import import_lpips

__all__ = ["LPIPS_NETWORKS", "PerceptualDistance", "features_distance", "lpips_distance", "torchvision_name"]

LPIPS_NETWORKS = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet1_1"}
"""Networks with calibrated channel weights: LPIPS name to torchvision name."""

# ImageNet statistics, moved from pixels in [0, 1] to pixels in [-1, 1].
_MEAN = tuple(2 * mean - 1 for mean in (0.485, 0.456, 0.406))
_STD = tuple(2 * std for std in (0.229, 0.224, 0.225))

_PROBE_SIZE = 256
_SMALLEST_SIZES = (32, 48, 64, 80, 96, 128, 192, 256)


class PerceptualDistance(nn.Module):
    """Distance between unit-normalised feature maps: the sum over stages of the spatial mean of
    ``sum_c w_c (f_c(x) - f_c(y))^2``, with ``f`` of length 1 over the channels c.

    The module is frozen and stays in evaluation mode. The backbone follows autocast; normalisation, differences
    and the result are float32. Gradient flows to the first argument only.

    Args:
        backbone: images normalised by ImageNet statistics -> one feature map [B, C_k, H_k, W_k] per stage k.
        channel_weights: w, one tensor [C_k] per stage, >= 0; or None: 1 / number of stages everywhere.
        smallest_size: images with a shorter side are enlarged to it, because the backbone cannot take less.
    """

    def __init__(
        self, backbone: nn.Module, channel_weights: Sequence[Tensor] | None = None, *, smallest_size: int = 1
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.smallest_size = smallest_size
        self.stages = None if channel_weights is None else len(channel_weights)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)
        for stage, weight in enumerate(channel_weights or ()):
            self.register_buffer(
                f"weight{stage}", weight.detach().float().view(1, -1, 1, 1), persistent=False
            )
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stay in evaluation mode: dropout or batch statistics would make the distance random."""
        return super().train(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance of each pair of images.

        Args:
            x: images [B, 3, H, W] in [-1, 1]; receives gradient.
            y: images of the same shape, taken as constant.

        Returns:
            [B], float32, >= 0.
        """
        with torch.no_grad():
            targets = self._features(y)
        features = self._features(x)
        distance = x.new_zeros(len(x), dtype=torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            for stage, (a, b) in enumerate(zip(features, targets, strict=True)):
                # F.normalize has a zero gradient where all channels are zero; a plain square root has NaN.
                difference = F.normalize(a.float(), eps=1e-10) - F.normalize(
                    b.float(), eps=1e-10
                )  # [B, C, h, w]
                squared = difference.square()
                if self.stages is None:
                    distance = distance + squared.sum(dim=1).mean(dim=(1, 2)) / len(features)
                else:
                    weight = self.get_buffer(f"weight{stage}")
                    distance = distance + (squared * weight).sum(dim=1).mean(dim=(1, 2))
        return distance

    def _features(self, images: Tensor) -> Sequence[Tensor]:
        images = (images - self.get_buffer("mean")) / self.get_buffer("std")
        shortest = min(images.shape[-2:])
        if shortest < self.smallest_size:
            scale = self.smallest_size / shortest
            size = [max(self.smallest_size, round(side * scale)) for side in images.shape[-2:]]
            images = F.interpolate(images, size, mode="bilinear", align_corners=False)
        return cast("Sequence[Tensor]", self.backbone(images))


class _StageFeatures(nn.Module):
    """The feature maps of a traced classifier in a list, class logits as a map of one pixel."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.extractor(images).values()
        return [m if m.dim() == 4 else m[:, :, None, None] for m in maps]


def lpips_distance(
    network: str, backbone: Mapping[str, Tensor], linear: Mapping[str, Tensor]
) -> PerceptualDistance:
    """LPIPS version 0.1, equal to ``lpips.LPIPS(net=network)``.

    Args:
        network: vgg, alex or squeeze.
        backbone: state dict of the torchvision classifier (`LPIPS_NETWORKS`).
        linear: state dict of the calibrated channel weights, ``lin{k}.model.1.weight`` [1, C_k, 1, 1].

    Raises:
        ConfigError: an unknown network.
        WeightsError: the state dict belongs to another network.
    """
    name = torchvision_name(network, lpips=True)
    slices = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet"}[network]
    # On the meta device nothing is initialised or allocated; torchvision calls lpips' way of building deprecated.
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sliced: nn.Module = getattr(import_lpips().pretrained_networks, slices)(pretrained=False)
    wanted = {key: "features." + key.partition(".")[2] for key in sliced.state_dict()}
    missing = [key for key in wanted.values() if key not in backbone]
    if missing:
        raise _other_network(name, f"{missing[0]} is missing")
    _load(sliced, name, {key: backbone[source] for key, source in wanted.items()})
    weights = [linear[f"lin{stage}.model.1.weight"].flatten() for stage in range(len(linear))]
    return PerceptualDistance(sliced, weights)


def features_distance(network: str, weights: Mapping[str, Tensor], *, logits: bool) -> PerceptualDistance:
    """Distance in the features of a torchvision classifier, averaged over its stages.

    A stage is the last feature map before each change of resolution, as in LPIPS, found by running the network
    once. Pooling alone makes no stage, nor does a map with one channel per class (that is the logits' business).

    Args:
        network: a convolutional classifier of torchvision, such as squeezenet1_0 or convnext_tiny.
        weights: its state dict.
        logits: the class logits are one stage more.

    Raises:
        ConfigError: an unknown network, or one without feature maps (vision transformers).
        WeightsError: the state dict belongs to another network.
    """
    name = torchvision_name(network)
    classifier = build_classifier(name)
    stages = _find_stages(classifier)
    if len(stages) < 2:
        raise ConfigError(
            [f"train_ae.perceptual.network: {name!r} is not a convolutional network for images of any size"],
            hint="choose one such as vgg16, squeezenet1_1, resnet50 or convnext_tiny",
        )
    _load(classifier, name, weights)
    extraction = importlib.import_module("torchvision.models.feature_extraction")
    if logits:
        stages.append(extraction.get_graph_node_names(classifier, suppress_diff_warning=True)[1][-1])
    extractor = extraction.create_feature_extractor(classifier, stages, suppress_diff_warning=True)
    return PerceptualDistance(_StageFeatures(extractor), smallest_size=_smallest_size(extractor))


def torchvision_name(network: str, *, lpips: bool = False) -> str:
    """The torchvision classifier that a config's `network` stands for: itself, or the one behind an LPIPS name.

    Raises:
        ConfigError: neither; or, with ``lpips``, a network that has no calibrated channel weights.
    """
    if network in LPIPS_NETWORKS:
        return LPIPS_NETWORKS[network]
    known = LPIPS_NETWORKS if lpips else classifier_names()
    if network in known:
        return network
    kind = "lpips knows vgg, alex and squeeze" if lpips else "torchvision has no such classifier"
    raise ConfigError([f"train_ae.perceptual.network: {network!r}: {kind}{did_you_mean(network, known)}"])


def _find_stages(classifier: nn.Module) -> list[str]:
    """Names of the modules whose outputs are the last before each change of resolution."""
    image = torch.empty(1, 3, _PROBE_SIZE, _PROBE_SIZE, device="meta")
    shapes: dict[nn.Module, tuple[torch.Size, torch.Size]] = {}

    def record(module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            shapes[module] = (args[0].shape, output.shape)

    handles = [module.register_forward_hook(record) for module in classifier.modules()]
    try:
        classes = classifier(image).shape[-1]
    except (AssertionError, RuntimeError):  # transformers that take one size only
        return []
    finally:
        for handle in handles:
            handle.remove()

    units = [
        (name, shapes[module][1], any(True for _ in module.parameters()))
        for name, module in _units(classifier, shapes)
        if _is_map(shapes[module][1]) and shapes[module][1][1] != classes
    ]
    stages: dict[int, str] = {}
    learned: set[int] = set()
    for name, shape, has_parameters in units:
        stages[shape[2]] = name
        if has_parameters:
            learned.add(shape[2])
    return [name for side, name in stages.items() if side in learned]


def _units(
    module: nn.Module, shapes: Mapping[nn.Module, tuple[torch.Size, torch.Size]], prefix: str = ""
) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules, in the order of the network, that halve the resolution at most once.

    A residual or dense block counts as a whole: what is inside it, before its own downsampling, is no feature
    that the network passes on.
    """
    for name, child in module.named_children():
        if child not in shapes:
            continue
        before, after = shapes[child]
        leaf = not any(grandchild in shapes for grandchild in child.children())
        if leaf or (_is_map(before) and _is_map(after) and before[2] <= 2 * after[2] + 2):
            yield prefix + name, child
        else:
            yield from _units(child, shapes, f"{prefix}{name}.")


def _is_map(shape: torch.Size) -> bool:
    # The probe is square; channels-last maps of transformers are not, seen from dimensions 2 and 3.
    return len(shape) == 4 and shape[2] == shape[3] > 1


def _smallest_size(extractor: nn.Module) -> int:
    """The smallest side of `_SMALLEST_SIZES` that the extractor can take."""
    shadow = {key: torch.empty_like(value, device="meta") for key, value in extractor.state_dict().items()}
    for side in _SMALLEST_SIZES:
        try:
            torch.func.functional_call(extractor, shadow, (torch.empty(1, 3, side, side, device="meta"),))
        except RuntimeError:
            continue
        return side
    raise AssertionError("the network runs at the size at which its stages were found")


def _load(module: nn.Module, network: str, weights: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        # The first key of the first complaint says enough; torch lists them all.
        raise _other_network(network, str(error).splitlines()[1].strip().partition(", ")[0]) from None
    module.float()


def _other_network(network: str, reason: str) -> WeightsError:
    return WeightsError(
        f"the perceptual weights are not those of {network}: {reason}",
        hint="name the network that the file belongs to: --set train_ae.perceptual.network=NAME",
    )
