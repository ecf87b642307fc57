"""The objectives against closed forms and automatic differentiation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.losses import (
    LeCam,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    reconstruction_loss,
)

LOG2 = math.log(2)


def test_pixel_losses_are_means_per_image() -> None:
    """Oracle: closed form. Differences 1 and 3 in two images of two pixels each."""
    target = torch.zeros(2, 3, 1, 2)
    output = torch.stack([torch.full((3, 1, 2), 1.0), torch.full((3, 1, 2), -3.0)])
    assert reconstruction_loss("l1", output, target).tolist() == [1, 3]
    assert reconstruction_loss("l2", output, target).tolist() == [1, 9]
    half = output.clone()
    half[..., 1] = 0
    assert reconstruction_loss("l1", half, target).tolist() == [0.5, 1.5]


def test_label_losses_are_in_nats() -> None:
    """Oracle: closed form. Equal logits of 4 classes: log 4 per pixel, and log 2 per pixel and class."""
    target = F.one_hot(torch.tensor([[[0, 3]], [[1, 2]]]), 4).permute(0, 3, 1, 2).float()
    output = torch.zeros(2, 4, 1, 2)
    assert reconstruction_loss("cross-entropy", output, target).tolist() == pytest.approx([math.log(4)] * 2)
    assert reconstruction_loss("bce", output, target).tolist() == pytest.approx([LOG2] * 2)
    certain = 50 * target
    assert reconstruction_loss("cross-entropy", certain, target).max().item() == pytest.approx(0, abs=1e-6)
    expected = 0.75 * LOG2  # three of four logits are 0
    assert reconstruction_loss("bce", certain, target).tolist() == pytest.approx([expected] * 2)


def test_unknown_pixel_loss() -> None:
    with pytest.raises(ValueError, match="huber"):
        reconstruction_loss("huber", torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))


def test_generator_losses() -> None:
    """Oracle: closed form. -mean D; softplus(-D), log 2 at 0."""
    fake = torch.tensor([[2.0, -4.0]])
    assert generator_loss("hinge", fake).item() == 1
    assert generator_loss("vanilla", fake).item() == 1
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(4))) / 2
    assert generator_loss("non-saturating", fake).item() == pytest.approx(expected)
    assert generator_loss("non-saturating", torch.zeros(1)).item() == pytest.approx(LOG2)


def test_discriminator_losses() -> None:
    """Oracle: closed form. Hinge is 0 beyond the margins and 1 at logits 0; the others are log 2 at logits 0."""
    beyond = discriminator_loss("hinge", torch.tensor([1.0, 7.0]), torch.tensor([-1.0, -9.0]))
    assert beyond.item() == 0
    zeros = torch.zeros(3)
    assert discriminator_loss("hinge", zeros, zeros).item() == 1
    wrong = discriminator_loss("hinge", torch.tensor([-1.0]), torch.tensor([3.0]))
    assert wrong.item() == 0.5 * (2 + 4)
    for kind in ("vanilla", "non-saturating"):
        assert discriminator_loss(kind, zeros, zeros).item() == pytest.approx(LOG2)
        value = discriminator_loss(kind, torch.tensor([2.0]), torch.tensor([3.0])).item()
        assert value == pytest.approx(0.5 * (math.log1p(math.exp(-2)) + math.log1p(math.exp(3))))


@pytest.mark.parametrize("kind", ["hinge", "vanilla", "non-saturating"])
def test_losses_of_half_precision_are_float32(kind: str) -> None:
    """Oracle: the float32 result of the same rounded logits."""
    logits = torch.linspace(-0.5, 0.5, 1000).bfloat16()
    for half, full in (
        (generator_loss(kind, logits), generator_loss(kind, logits.float())),
        (discriminator_loss(kind, logits, logits), discriminator_loss(kind, logits.float(), logits.float())),
    ):
        assert half.dtype == torch.float32
        assert torch.equal(half, full)


class _Decoder(nn.Module):
    """Features to one value per image through one matrix, with gradients that can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 2.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


def _output() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output x.w of the weight w, and gradients by it that pass on as 3, 4 and 5, -12, of norms 5 and 13."""
    weight = torch.ones(2, requires_grad=True)
    return (
        torch.eye(2) * weight,
        torch.diag(torch.tensor([3.0, 4])),
        torch.diag(torch.tensor([5.0, -12])),
        weight,
    )


def test_adaptive_weight_is_the_ratio_of_gradient_norms() -> None:
    """Oracle: closed form, |(3, 4)| / (|(5, -12)| + 1e-4); the sign of the losses does not matter."""
    output, reconstruction, adversarial, weight = _output()
    for sign in (1, -1):
        found = adaptive_weight(output, sign * reconstruction, sign * adversarial, weight, maximum=1e4)
        assert found.item() == pytest.approx(5 / (13 + 1e-4), rel=1e-6)
        assert not found.requires_grad
    assert weight.grad is None
    output.sum().backward()  # the graph is kept
    assert weight.grad is not None


def test_adaptive_weight_is_clamped() -> None:
    """Oracle: the maximum, where the adversarial gradient vanishes, and 5e4 without it."""
    output, reconstruction, adversarial, weight = _output()
    assert adaptive_weight(output, reconstruction, 0 * adversarial, weight, maximum=1e4).item() == 1e4
    free = adaptive_weight(output, reconstruction, 0 * adversarial, weight, maximum=1e6)
    assert free.item() == pytest.approx(5e4)


def test_adaptive_weight_does_not_depend_on_the_loss_scale() -> None:
    """Oracle: the unscaled result; powers of two scale without rounding."""
    output, reconstruction, adversarial, weight = _output()
    plain = adaptive_weight(output, reconstruction, adversarial, weight, maximum=1e4)
    scale = 2.0**16
    scaled = adaptive_weight(
        output, scale * reconstruction, scale * adversarial, weight, maximum=1e4, scale=scale
    )
    assert torch.equal(plain, scaled)


def test_adaptive_weight_makes_both_gradients_equally_long() -> None:
    """Oracle: gradients by automatic differentiation, through a convolution and a nonlinear critic."""
    torch.manual_seed(0)
    last, critic = nn.Conv2d(4, 3, 3), nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 1, 3))
    output, target = last(torch.randn(2, 4, 12, 12)), torch.randn(2, 3, 10, 10)
    reconstruction = (output - target).abs().mean()
    adversarial = generator_loss("hinge", critic(output))
    gradients = [
        torch.autograd.grad(loss, output, retain_graph=True)[0] for loss in (reconstruction, adversarial)
    ]
    found = adaptive_weight(output, *gradients, last.weight, maximum=1e4)

    def length(loss: Tensor) -> float:
        last.zero_grad()
        loss.backward(retain_graph=True)
        assert last.weight.grad is not None
        return last.weight.grad.norm().item()

    assert length(found * adversarial) == pytest.approx(length(reconstruction), rel=1e-2)
    assert found.item() == pytest.approx(length(reconstruction) / (length(adversarial) + 1e-4), rel=1e-5)


def test_lecam_closed_form() -> None:
    """Oracle: by hand. Means move by 1 - decay from 0; each side is pulled below or above the other's mean."""
    lecam = LeCam(decay=0.5)
    real, fake = torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([-2.0, 0.0], requires_grad=True)
    penalty = lecam(real, fake)
    assert (lecam.mean_real.item(), lecam.mean_fake.item()) == (1.0, -0.5)
    assert penalty.item() == pytest.approx((1.5**2 + 3.5**2) / 2 + (3.0**2 + 1.0**2) / 2)
    gradients = torch.autograd.grad(penalty, (real, fake))
    torch.testing.assert_close(gradients[0], torch.tensor([1.5, 3.5]))
    torch.testing.assert_close(gradients[1], torch.tensor([-3.0, -1.0]))
    lecam(real, fake)
    assert (lecam.mean_real.item(), lecam.mean_fake.item()) == (1.5, -0.75)
    assert set(lecam.state_dict()) == {"mean_real", "mean_fake"}


def test_lecam_is_nothing_where_the_sides_have_swapped() -> None:
    """Oracle: closed form; no pull when real logits are below the other mean and fake ones above it."""
    assert LeCam(decay=0.0)(torch.tensor([-1.0]), torch.tensor([1.0])).item() == 0


def test_lecam_is_not_poisoned() -> None:
    """Oracle: logits that are not finite leave both means as they are."""
    lecam = LeCam()
    lecam(torch.ones(2), -torch.ones(2))
    before = (lecam.mean_real.clone(), lecam.mean_fake.clone())
    penalty = lecam(torch.tensor([1.0, math.nan]), torch.tensor([math.inf, 0.0]))
    assert not math.isfinite(penalty.item())
    assert torch.equal(torch.stack(before), torch.stack([lecam.mean_real, lecam.mean_fake]))
