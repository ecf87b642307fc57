"""Shapes, layouts, sizes and refusals of the tokenizer and its discriminator; numbers are in ``test_golden.py``."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vqgan_cli.core.config import AdversarialConfig, TokenizerConfig
from vqgan_cli.core.errors import DataError, UsageError
from vqgan_cli.core.models.discriminator import ActNorm, Discriminator
from vqgan_cli.core.models.layers import use_channels_last
from vqgan_cli.core.models.tokenizer import Tokenizer


def build(multipliers: tuple[int, ...] = (1, 1, 1), **changes: object) -> Tokenizer:
    torch.manual_seed(0)
    settings = {
        "channels": 32,
        "channel_multipliers": multipliers,
        "res_blocks": 1,
        "attention_resolutions": (),
        "z_channels": 16,
        "codebook_size": 32,
        "codebook_dim": 8,
    }
    return Tokenizer(TokenizerConfig.model_validate(settings | changes))


def pictures(height: int = 32, width: int = 48, *, batch: int = 2, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, channels, height, width, generator=generator) * 2 - 1


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_every_level_after_the_first_halves_the_size(levels: int) -> None:
    """Oracle: f = 2^(levels - 1), for height and width apart."""
    tokenizer = build((1,) * levels).eval()
    f = 2 ** (levels - 1)
    assert tokenizer.downsampling == f
    images = pictures(32, 48)
    codes = tokenizer.encode(images)
    assert (codes.dtype, codes.shape) == (torch.int64, (2, 32 // f, 48 // f))
    decoded = tokenizer.decode(codes)
    assert (decoded.dtype, decoded.shape) == (torch.float32, images.shape)
    output = tokenizer(images)
    assert output.reconstruction.shape == images.shape
    assert output.quantized.vectors.shape == (2, 8, 32 // f, 48 // f)


def test_attention_is_placed_by_the_resolution_it_was_designed_for() -> None:
    """Oracle: sides 64, 32, 16 of three levels; the decoder has one more block per level."""
    tokenizer = build(resolution=64, attention_resolutions=(32, 16), res_blocks=2)
    counts = [[len(level.attn) for level in side] for side in (tokenizer.encoder.down, tokenizer.decoder.up)]
    assert counts == [[0, 2, 2], [0, 3, 3]]
    assert build(mid_attention=False).encoder.mid.attn_1 is None


def test_blocks_of_the_decoder_may_be_counted_apart() -> None:
    """Oracle: one more than the encoder has, unless it is said how many."""
    for given, blocks in ((0, 3), (1, 1), (2, 2)):
        decoder = build(res_blocks=2, decoder_res_blocks=given).decoder
        assert [len(level.block) for level in decoder.up] == [blocks] * 3


@torch.no_grad()
def test_average_pooling_is_the_convolution_that_averages() -> None:
    """Oracle: the strided convolution whose kernel is a quarter on the diagonal of the channels."""
    pooled, convolved = build(downsample="average").eval(), build().eval()
    assert not any("downsample" in name for name in pooled.state_dict())
    state = pooled.state_dict()
    for name, tensor in convolved.state_dict().items():
        if ".downsample.conv.bias" in name:
            state[name] = torch.zeros_like(tensor)
        elif ".downsample.conv.weight" in name:
            state[name] = torch.zeros_like(tensor)
            state[name][:, :, :2, :2] = torch.eye(len(tensor))[:, :, None, None] / 4
    convolved.load_state_dict(state)
    images = pictures()
    torch.testing.assert_close(pooled.features(images), convolved.features(images), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_networks_may_see_pixels_from_zero_to_one() -> None:
    """Oracle: closed form. The same networks on (x + 1) / 2, and 2 y - 1 of what they give."""
    unit, signed = build(pixel_range="unit").eval(), build().eval()
    signed.load_state_dict(unit.state_dict())
    images = pictures()
    assert torch.equal(unit.features(images), signed.features((images + 1) / 2))
    z = torch.randn(2, 16, 8, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(unit.decoder(z), 2 * signed.decoder(z) - 1)
    with pytest.raises(ValidationError, match="label maps have none"):
        build(pixel_range="unit", in_channels=5, out_channels=5)


def test_published_f16_has_its_published_size() -> None:
    """Oracle: 343 tensors and 72.1 M parameters of the f16 model with 1,024 codes, codebook included."""
    with torch.device("meta"):
        tokenizer = Tokenizer(TokenizerConfig())
    assert len(tokenizer.state_dict()) == 343
    assert round(sum(p.numel() for p in tokenizer.parameters()) / 1e6, 1) == 72.1


def test_label_maps_come_back_as_classes() -> None:
    tokenizer = build(in_channels=7, out_channels=7).eval()
    labels = torch.randint(7, (2, 16, 24), generator=torch.Generator().manual_seed(0))
    one_hot = tokenizer.one_hot(labels)
    assert (one_hot.dtype, one_hot.shape) == (torch.float32, (2, 7, 16, 24))
    assert torch.equal(one_hot.argmax(1), labels)
    assert torch.equal(one_hot.sum(1), torch.ones(2, 16, 24))
    decoded = tokenizer.decode(tokenizer.encode(one_hot))
    assert (decoded.dtype, decoded.shape) == (torch.int64, (2, 16, 24))
    assert 0 <= int(decoded.min()) <= int(decoded.max()) < 7


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match="a label map holds class 255, but there are 7 classes, 0 to 6"):
        build(in_channels=7, out_channels=7).one_hot(torch.tensor([[[0, 6], [255, 1]]]))


def test_decoded_pictures_are_clamped() -> None:
    """Oracle: the raw output, which leaves the range, clamped to it."""
    tokenizer = build().eval()
    tokenizer.decoder.conv_out.weight.data.mul_(100)
    codes = torch.arange(32).view(1, 4, 8)
    with torch.no_grad():
        raw = tokenizer.decoder(tokenizer.post_quant_conv(tokenizer.quantizer.decode(codes)))
    assert raw.abs().max() > 2
    assert torch.equal(tokenizer.decode(codes), raw.clamp(-1, 1))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 30, 32), r"image size 30x32 is not a multiple of .* f = 4"),
        (torch.zeros(1, 3, 32, 34), r"image size 32x34 is not a multiple"),
        (torch.zeros(1, 3, 0, 32), r"image size 0x32"),
        (torch.zeros(1, 1, 32, 32), r"shape \[B, 3, H, W\], got \[1, 1, 32, 32\]"),
        (torch.zeros(3, 32, 32), r"got \[3, 32, 32\]"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(images: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build().encode(images)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.tensor([[[0, 32]]]), "codes range from 0 to 32, but this codebook has codes 0 to 31"),
        (torch.tensor([[[-1, 5]]]), "codes range from -1 to 5"),
        (torch.zeros(1, 2, 2), "expected integer codes"),
        (torch.zeros(4, dtype=torch.int64), r"got torch.int64 \[4\]"),
    ],
)
def test_codes_that_do_not_fit_are_refused(codes: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build().decode(codes)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int64])
def test_codes_of_any_integer_type_decode_alike(kind: torch.dtype) -> None:
    """Oracle: the result for int64."""
    tokenizer, codes = build().eval(), torch.arange(32).view(2, 4, 4)
    assert torch.equal(tokenizer.decode(codes.to(kind)), tokenizer.decode(codes))


def _gradients(tokenizer: Tokenizer, images: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(2)  # dropout
    output = tokenizer.train()(images)
    (output.reconstruction.square().mean() + output.quantized.loss).backward()
    return {name: p.grad for name, p in tokenizer.named_parameters() if p.grad is not None}


def test_gradient_checkpointing_changes_no_gradient() -> None:
    """Oracle: the gradients without it, bit by bit, with dropout."""
    plain = _gradients(build(dropout=0.3), pictures())
    recomputed = _gradients(build(dropout=0.3, gradient_checkpointing=True), pictures())
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


@torch.no_grad()
def test_memory_layout_changes_no_result() -> None:
    """Oracle: the contiguous layout; in float64, where rounding cannot hide or excuse a difference."""
    tokenizer = build().eval().double()
    z = torch.randn(2, 16, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for module, x in ((tokenizer.encoder, pictures().double()), (tokenizer.decoder, z)):
        expected = module(x)
        use_channels_last(module)
        assert module.conv_out.weight.is_contiguous(memory_format=torch.channels_last)
        output = module(x.contiguous(memory_format=torch.channels_last))
        assert output.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(output, expected, atol=1e-12, rtol=1e-10)


def test_encoding_and_decoding_keep_no_graph() -> None:
    tokenizer = build()
    codes = tokenizer.encode(pictures())
    assert codes.is_inference()
    assert tokenizer.decode(codes).is_inference()


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field_of_the_discriminator(layers: int, field: int) -> None:
    """Oracle: closed form, r = 1 + 3 x the sum of the strides before each 4x4 layer; the published one has 70.

    A logit's gradient is not zero on exactly r x r pixels, far from the border.
    """
    torch.manual_seed(0)
    discriminator = Discriminator(AdversarialConfig(channels=8, layers=layers)).eval()
    (logits,) = discriminator(pictures(32, 40, batch=1))
    assert logits.shape == (1, 1, *_patches(32, 40, layers))

    images = torch.rand(1, 3, 4 * field, 4 * field, requires_grad=True)
    (logits,) = discriminator(images)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], images)
    touched = gradient.abs().sum((0, 1)) > 0
    assert [int(touched.any(axis).sum()) for axis in (0, 1)] == [field, field]


def _patches(height: int, width: int, layers: int) -> tuple[int, int]:
    """Each strided layer halves the side, the two others take one off."""
    return height // 2**layers - 2, width // 2**layers - 2


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("actnorm", ActNorm)]
)
def test_normalisation_of_the_discriminator(norm: str, kind: type[nn.Module]) -> None:
    """Oracle: the bias before batch statistics would be subtracted again, so only the others have one."""
    torch.manual_seed(0)
    config = AdversarialConfig.model_validate({"channels": 8, "norm": norm})
    discriminator = Discriminator(config, in_channels=5)
    norms = [m for m in discriminator.main if isinstance(m, kind)]
    assert len(norms) == 3
    convolutions = [m for m in discriminator.main if isinstance(m, nn.Conv2d)]
    assert [m.bias is not None for m in convolutions] == [True, *[norm != "batch"] * 3, True]
    real, fake = discriminator(pictures(channels=5), pictures(channels=5) / 2)
    assert real.shape == fake.shape == (2, 1, *_patches(32, 48, 3))
    assert not torch.equal(real, fake)


def test_batches_are_judged_apart() -> None:
    """Oracle: each batch by itself. Batch statistics must not mix real and reconstructed images."""
    torch.manual_seed(0)
    discriminator = Discriminator(AdversarialConfig(channels=8))
    one, two = pictures(), pictures() / 3
    real, fake = discriminator(one, two)
    assert torch.equal(real, discriminator(one)[0])
    assert torch.equal(fake, discriminator(two)[0])


def test_actnorm_normalises_its_first_batch() -> None:
    """Oracle: zero mean and unit variance per channel; later batches get the same shift and scale."""
    norm = ActNorm(4)
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(8, 4, 6, 6, generator=generator) * torch.tensor([1.0, 5.0, 0.1, 20.0]).view(4, 1, 1)
    first = first + torch.tensor([0.0, -3.0, 100.0, 7.0]).view(4, 1, 1)
    assert torch.equal(norm.eval()(first), first)  # not before training begins
    output = norm.train()(first)
    torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(output.var((0, 2, 3), correction=0), torch.ones(4), atol=1e-3, rtol=0)
    later = norm(2 * first)
    torch.testing.assert_close(later, norm.scale * (2 * first + norm.loc), rtol=0, atol=0)
    torch.testing.assert_close(norm(first), output, rtol=0, atol=0)


def test_convolutions_of_the_discriminator_start_small() -> None:
    """Oracle: N(0, 0.02), within four standard errors of the mean and 2 % of the deviation."""
    torch.manual_seed(0)
    weights = torch.cat(
        [
            m.weight.detach().flatten()
            for m in Discriminator(AdversarialConfig()).main
            if isinstance(m, nn.Conv2d)
        ]
    )
    assert abs(weights.mean().item()) < 4 * 0.02 / len(weights) ** 0.5
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
