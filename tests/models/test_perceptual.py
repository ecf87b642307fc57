"""The perceptual distances: oracles, invariants, and what they ask of their surroundings."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vqgan_cli.core.errors import ConfigError, WeightsError
from vqgan_cli.core.models.perceptual import PerceptualDistance, features_distance, lpips_distance
from vqgan_cli.core.models.torchvision_compat import import_lpips, import_torchvision


def random_classifier(name: str) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's advice on initialisation
        return import_torchvision().models.get_model(name, weights=None).eval()


def image_pairs(side: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(2, batch, 3, side, side, generator=generator) * 2 - 1
    return x, y


@pytest.fixture(scope="module")
def squeezenet() -> dict[str, Tensor]:
    file = Path(__file__).resolve().parents[2].parent / "shared/weights/squeezenet1_0.safetensors"
    if not file.is_file():
        pytest.skip("the real SqueezeNet is not beside this checkout")
    return load_file(file)


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return features_distance("squeezenet1_0", random_classifier("squeezenet1_0").state_dict(), logits=False)


@pytest.mark.parametrize(("network", "classifier"), [("alex", "alexnet"), ("squeeze", "squeezenet1_1")])
def test_lpips_equals_the_package(network: str, classifier: str) -> None:
    """Oracle: lpips.LPIPS itself, given the same backbone."""
    lpips = import_lpips()
    backbone = random_classifier(classifier).state_dict()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        stock = lpips.LPIPS(net=network, pnet_rand=True, verbose=False)
    stock.net.load_state_dict(
        {key: backbone["features." + key.partition(".")[2]] for key in stock.net.state_dict()}
    )
    linear = torch.load(Path(lpips.__file__).parent / f"weights/v0.1/{network}.pth", map_location="cpu")
    ours = lpips_distance(network, backbone, linear)
    x, y = image_pairs(64)
    torch.testing.assert_close(ours(x, y), stock(x, y).flatten(), rtol=1e-5, atol=1e-7)


def test_features_against_the_formula() -> None:
    """Oracle: the formula evaluated by hand on VGG's ReLU outputs before its five pooling layers."""
    vgg = random_classifier("vgg11")
    ours = features_distance("vgg11", vgg.state_dict(), logits=False)
    x, y = image_pairs(64, batch=1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    a, b = ((image / 2 + 0.5 - mean) / std for image in (x, y))
    stages = []
    with torch.no_grad():
        for layer in vgg.features:
            if isinstance(layer, nn.MaxPool2d):
                unit_a, unit_b = (m / m.pow(2).sum(1, keepdim=True).sqrt().clamp_min(1e-10) for m in (a, b))
                stages.append((unit_a - unit_b).pow(2).sum(1).mean())
            a, b = layer(a), layer(b)
    assert len(stages) == 5
    torch.testing.assert_close(ours(x, y)[0], torch.stack(stages).mean(), rtol=1e-5, atol=1e-7)


def test_logits_are_one_stage_more() -> None:
    """Oracle: (K d + |l(x)/|l(x)| - l(y)/|l(y)||^2) / (K + 1) for K stages of mean distance d and logits l."""
    classifier = random_classifier("resnet18")
    weights = classifier.state_dict()
    x, y = image_pairs(64)
    stages = 5
    plain = features_distance("resnet18", weights, logits=False)(x, y)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        a, b = (nn.functional.normalize(classifier((image / 2 + 0.5 - mean) / std)) for image in (x, y))
    expected = (stages * plain + (a - b).square().sum(1)) / (stages + 1)
    torch.testing.assert_close(features_distance("resnet18", weights, logits=True)(x, y), expected)


def test_zero_for_equal_images_and_symmetric(distance: PerceptualDistance) -> None:
    """Oracle: the properties of a distance."""
    x, y = image_pairs(64)
    assert distance(x, x).tolist() == [0.0, 0.0]
    assert (distance(x, y) > 0).all()
    torch.testing.assert_close(distance(x, y), distance(y, x))


def test_gradient_reaches_the_first_argument_only(distance: PerceptualDistance) -> None:
    x, y = (image.requires_grad_() for image in image_pairs(64))
    distance(x, y).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert y.grad is None
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_gradient_is_finite_where_all_features_are_zero() -> None:
    """Oracle: d/dv of v/|v| is taken as zero at v = 0, so a dead network gives a zero gradient, not NaN."""
    weights = {key: torch.zeros_like(v) for key, v in random_classifier("squeezenet1_0").state_dict().items()}
    dead = features_distance("squeezenet1_0", weights, logits=False)
    x, y = image_pairs(32)
    dead(x.requires_grad_(), y).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_stays_in_evaluation_mode(distance: PerceptualDistance) -> None:
    nn.ModuleList([distance]).train()
    assert not any(module.training for module in distance.modules())


def test_float32_under_autocast(distance: PerceptualDistance) -> None:
    """Oracle: the float32 result, within what bfloat16 features allow."""
    x, y = image_pairs(64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = distance(x, y)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, distance(x, y), rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("squeezenet1_0", 32),
        ("squeezenet1_0", 45),
        ("alexnet", 32),
        ("densenet121", 32),
        ("inception_v3", 32),
    ],
)
def test_small_images(name: str, side: int) -> None:
    """Images below the least size of a network (Inception needs 75) are enlarged, others taken as they are."""
    distance = features_distance(name, random_classifier(name).state_dict(), logits=True)
    x, y = image_pairs(side, batch=1)
    value = distance(x, y)
    assert value.shape == (1,)
    assert 0 < value.item() < 4


def test_orders_real_distortions(squeezenet: dict[str, Tensor]) -> None:
    """Oracle: with real weights, more blur and more noise are farther away, and blur is farther than a shift of
    brightness of the same mean squared error (what the pixel loss cannot tell)."""
    distance = features_distance("squeezenet1_0", squeezenet, logits=False)
    side = torch.linspace(-1, 1, 64)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    image = (0.6 * torch.sign(torch.sin(12 * columns) * torch.cos(9 * rows + columns))).expand(1, 3, 64, 64)
    blurred = [nn.functional.avg_pool2d(image, 2 * r + 1, 1, r, count_include_pad=False) for r in (1, 2, 4)]
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    noisy = [image + scale * noise for scale in (0.05, 0.1, 0.2)]
    for series in (blurred, noisy):
        values = [distance(distorted, image).item() for distorted in series]
        assert values == sorted(values)
    brighter = image + (blurred[1] - image).square().mean().sqrt()
    assert distance(blurred[1], image) > 2 * distance(brighter, image)


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_networks_without_feature_maps_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        features_distance(name, {}, logits=False)


def test_unknown_network_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'squeezenet1_0'"):
        features_distance("squeezenet10", {}, logits=False)
    with pytest.raises(ConfigError, match="lpips knows vgg, alex and squeeze"):
        lpips_distance("resnet50", {}, {})


def test_weights_of_another_network_are_refused() -> None:
    weights = random_classifier("squeezenet1_0").state_dict()
    with pytest.raises(WeightsError, match="not those of resnet18"):
        features_distance("resnet18", weights, logits=False)
    with pytest.raises(WeightsError, match="not those of alexnet"):
        lpips_distance("alex", weights, {})


def test_import_leaves_a_working_torchvision_alone() -> None:
    """Oracle: the schemas are declared exactly where torchvision's own library defines none."""
    script = (
        "from vqgan_cli.core.models import torchvision_compat as compat\n"
        "torchvision = compat.import_torchvision()\n"
        "assert compat.import_torchvision() is torchvision\n"
        "has_operators = torchvision.extension._has_ops()\n"
        "assert bool(compat._declared) != has_operators\n"
        "assert (compat.torchvision_mismatch() is None) == has_operators\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, env=os.environ)
