"""The tokenizer against recorded outputs of the original implementation (float32, CPU)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import golden
from vqgan_cli.core.config import AdversarialConfig, QuantizerConfig
from vqgan_cli.core.losses import reconstruction_loss
from vqgan_cli.core.models.discriminator import Discriminator
from vqgan_cli.core.models.quantizers.euclidean import commitment_loss
from vqgan_cli.core.models.tokenizer import Tokenizer

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def taming(shared: Path) -> Path:
    return shared / "golden" / "taming"


def _load(taming: Path, name: str, **changes: object) -> tuple[Tokenizer, dict[str, torch.Tensor]]:
    tokenizer = Tokenizer(golden.TINY.model_copy(update=changes)).eval()
    tokenizer.load_state_dict(golden.tokenizer_state(golden.state_dict(taming / f"{name}.ckpt")))
    return tokenizer, load_file(taming / f"{name}_io.safetensors")


@torch.no_grad()
def test_vqgan_encodes_and_decodes_as_recorded(taming: Path) -> None:
    """Oracle: recorded indices (equal), vectors and reconstructions (1e-4), square and wide."""
    tokenizer, io = _load(taming, "vqgan")
    torch.testing.assert_close(tokenizer.features(io["x"]), io["pre_quant"], **TOLERANCE)
    assert torch.equal(tokenizer.encode(io["x"]), io["indices"])
    assert torch.equal(tokenizer.encode(io["x_wide"]), io["indices_wide"])
    torch.testing.assert_close(tokenizer.quantizer.decode(io["indices"]), io["quant"], **TOLERANCE)
    for suffix in ("", "_wide"):
        output = tokenizer(io[f"x{suffix}"])
        torch.testing.assert_close(output.reconstruction, io[f"reconstruction{suffix}"], **TOLERANCE)
        decoded = tokenizer.decode(io[f"indices{suffix}"])
        torch.testing.assert_close(decoded, io[f"reconstruction{suffix}"].clamp(-1, 1), **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("legacy", [True, False])
def test_codebook_loss_as_recorded(taming: Path, legacy: bool) -> None:
    """Oracle: recorded values of both forms, which are equal."""
    tokenizer, io = _load(taming, "vqgan", quantizer=QuantizerConfig(legacy=legacy))
    expected = io["codebook_loss_legacy" if legacy else "codebook_loss_fixed"]
    torch.testing.assert_close(tokenizer(io["x"]).quantized.loss, expected, **TOLERANCE)


def test_legacy_form_weighs_the_codebook_gradient() -> None:
    """Oracle: closed form. The value is the same; beta multiplies one of the two gradients, 2 (a - b) / n."""
    z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    e = torch.tensor([[0.0, 0.0]], requires_grad=True)
    for legacy, share_z, share_e in ((False, 0.25, 1.0), (True, 1.0, 0.25)):
        loss, _ = commitment_loss(z, e, beta=0.25, legacy=legacy)
        grad_z, grad_e = torch.autograd.grad(loss, (z, e))
        torch.testing.assert_close(grad_z, share_z * torch.tensor([[1.0, 2.0]]))
        torch.testing.assert_close(grad_e, share_e * -torch.tensor([[1.0, 2.0]]))
        assert loss.item() == pytest.approx(1.25 * 2.5)


@torch.no_grad()
def test_gumbel_as_recorded(taming: Path) -> None:
    """Oracle: recorded logits, codes (argmax) and reconstruction."""
    tokenizer, io = _load(taming, "gumbel", codebook_dim=48, quantizer=QuantizerConfig(kind="gumbel"))
    torch.testing.assert_close(
        tokenizer.quantizer.logits(tokenizer.features(io["x"])), io["logits"], **TOLERANCE
    )
    assert torch.equal(tokenizer.encode(io["x"]), io["indices"])
    torch.testing.assert_close(tokenizer.quantizer.decode(io["indices"]), io["quant"], **TOLERANCE)
    torch.testing.assert_close(tokenizer(io["x"]).reconstruction, io["reconstruction"], **TOLERANCE)


@torch.no_grad()
def test_segmentation_as_recorded(taming: Path) -> None:
    """Oracle: recorded codes, logits, BCE and total loss of the label-map autoencoder."""
    tokenizer, io = _load(taming, "segmentation", in_channels=7, out_channels=7)
    target = tokenizer.one_hot(io["labels"])
    assert torch.equal(tokenizer.encode(target), io["indices"])
    output = tokenizer(target)
    torch.testing.assert_close(output.reconstruction, io["logits"], **TOLERANCE)
    bce = reconstruction_loss("bce", output.reconstruction, target).mean()
    torch.testing.assert_close(bce, io["bce_loss"], **TOLERANCE)
    torch.testing.assert_close(bce + output.quantized.loss, io["total_loss"], **TOLERANCE)
    assert torch.equal(tokenizer.decode(io["indices"]), io["logits"].argmax(1))


@torch.no_grad()
def test_discriminator_as_recorded(taming: Path) -> None:
    """Oracle: recorded logits with batch statistics (train) and running statistics (eval)."""
    discriminator = Discriminator(AdversarialConfig(channels=16, layers=2))
    discriminator.load_state_dict(golden.discriminator_state(golden.state_dict(taming / "vqgan.ckpt")))
    io = load_file(taming / "discriminator_io.safetensors")
    (logits,) = discriminator.eval()(io["x"])
    torch.testing.assert_close(logits, io["logits_eval"], **TOLERANCE)
    (logits,) = discriminator.train()(io["x"])
    torch.testing.assert_close(logits, io["logits_train"], **TOLERANCE)
