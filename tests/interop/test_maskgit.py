"""MaskGIT's VQGAN, against the published architecture written down once more, as functions of its own tensors.

There is no recorded output of this model. The functions below follow the published description (FORMATS: pixels in
[0, 1], no biases in the residual blocks, average pooling, the shortcut on the output of the second convolution) and use
none of our modules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.architecture import require_fit
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage, Imported
from vqgan_cli.core.interop.layouts import recognise
from vqgan_cli.core.interop.maskgit import LAYOUTS
from vqgan_cli.core.models.tiled_decoding import decode_tiled
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.tiled_encoding import encode_tiled

State = dict[str, Tensor]


# The published architecture


def shapes(
    channels: int, multipliers: tuple[int, ...], dim: int, codes: int, blocks: int = 2
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint."""
    found: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, kernel: int = 3, *, bias: bool) -> None:
        found[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        if bias:
            found[f"{name}.bias"] = (outputs,)

    def norm(name: str, width: int) -> None:
        found[f"{name}.weight"] = found[f"{name}.bias"] = (width,)

    def residual(name: str, inputs: int, outputs: int) -> None:
        norm(f"{name}.norm1", inputs)
        conv(f"{name}.conv1", inputs, outputs, bias=False)
        norm(f"{name}.norm2", outputs)
        conv(f"{name}.conv2", outputs, outputs, bias=False)
        if inputs != outputs:
            conv(f"{name}.nin_shortcut", outputs, outputs, 1, bias=False)

    widths = [channels * multiplier for multiplier in multipliers]
    conv("encoder.conv_in", 3, channels, bias=False)
    for level, width in enumerate(widths):
        before = widths[max(0, level - 1)] if level else channels
        above = widths[min(level + 1, len(widths) - 1)]
        for block in range(blocks):
            residual(f"encoder.down.{level}.block.{block}", before if block == 0 else width, width)
            residual(f"decoder.up.{level}.block.{block}", above if block == 0 else width, width)
        if level:
            conv(f"decoder.up.{level}.upsample_conv", width, width, bias=True)
    for side, last in (("encoder", widths[-1]), ("decoder", widths[0])):
        for block in range(blocks):
            residual(f"{side}.mid.{block}", widths[-1], widths[-1])
        norm(f"{side}.norm_out", last)
    conv("encoder.conv_out", widths[-1], dim, 1, bias=True)
    conv("decoder.conv_in", dim, widths[-1], bias=True)
    conv("decoder.conv_out", channels, 3, bias=True)
    found["quantize.embedding.weight"] = (codes, dim)
    return found


def conv(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def swish_norm(state: State, name: str, x: Tensor) -> Tensor:
    normed = F.group_norm(x, 32, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)
    return normed * normed.sigmoid()


def residual(state: State, name: str, x: Tensor) -> Tensor:
    h = conv(state, f"{name}.conv1", swish_norm(state, f"{name}.norm1", x))
    h = conv(state, f"{name}.conv2", swish_norm(state, f"{name}.norm2", h))
    if f"{name}.nin_shortcut.weight" in state:
        return h + conv(state, f"{name}.nin_shortcut", h)
    return h + x


def encode(state: State, pixels: Tensor, levels: int) -> Tensor:
    """Pixels [B, 3, H, W] in [0, 1] to vectors."""
    h = conv(state, "encoder.conv_in", pixels)
    for level in range(levels):
        for block in range(2):
            h = residual(state, f"encoder.down.{level}.block.{block}", h)
        if level < levels - 1:
            h = (h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]) / 4
    for block in range(2):
        h = residual(state, f"encoder.mid.{block}", h)
    return conv(state, "encoder.conv_out", swish_norm(state, "encoder.norm_out", h))


def quantize(state: State, vectors: Tensor) -> Tensor:
    rows = vectors.permute(0, 2, 3, 1)  # [B, h, w, D]
    return (rows[..., None, :] - state["quantize.embedding.weight"]).square().sum(-1).argmin(-1)


def decode(state: State, codes: Tensor, levels: int) -> Tensor:
    """Codes [B, h, w] to pixels, about in [0, 1]."""
    h = conv(state, "decoder.conv_in", state["quantize.embedding.weight"][codes].permute(0, 3, 1, 2))
    for block in range(2):
        h = residual(state, f"decoder.mid.{block}", h)
    for level in reversed(range(levels)):
        for block in range(2):
            h = residual(state, f"decoder.up.{level}.block.{block}", h)
        if level:
            h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
            h = conv(state, f"decoder.up.{level}.upsample_conv", h)
    return conv(state, "decoder.conv_out", swish_norm(state, "decoder.norm_out", h))


# A tiny model of it


@pytest.fixture(scope="module")
def state() -> State:
    """Three levels of two widths, random; every block that changes the width has its shortcut."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes(32, (1, 2, 2), 24, 64).items():
        values = torch.randn(shape, generator=generator)
        if "norm" in name:
            values = values * 0.2 + name.endswith("weight")
        elif len(shape) == 4:
            values /= (shape[1] * shape[2] * shape[3]) ** 0.5
        state[name] = values
    # Images about as bright as photos, so that clamping hides little.
    state["decoder.conv_out.weight"] *= 0.1
    state["decoder.conv_out.bias"].fill_(0.5)
    return state


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1


def convert(state: State, **source: Any) -> tuple[Imported, Ledger]:
    foreign = Foreign(Path("maskgit-vqgan-imagenet-f16-256.bin"), state, **source)
    layout = recognise(foreign, LAYOUTS)
    assert layout.convert is not None
    ledger = Ledger(state)
    imported = layout.convert(foreign, ledger)
    ledger.settle()
    return imported, ledger


def tokenizer_of(stage: FirstStage | None) -> Tokenizer:
    assert stage is not None
    tokenizer = Tokenizer(stage.config).eval().requires_grad_(False)
    tokenizer.load_state_dict(stage.state)
    return tokenizer


def test_encodes_and_decodes_as_published(state: State, images: Tensor) -> None:
    """Oracle: the functions above. Codes are equal, vectors and images within 1e-4; ours are in [-1, 1]."""
    imported, ledger = convert(state)
    tokenizer = tokenizer_of(imported.tokenizer)
    vectors = encode(state, (images + 1) / 2, 3)
    torch.testing.assert_close(tokenizer.features(images), vectors, atol=1e-4, rtol=1e-4)
    codes = quantize(state, vectors)
    assert len(codes.unique()) > 8
    assert torch.equal(tokenizer.encode(images), codes)
    raw = decode(state, codes, 3)
    assert 0.2 < raw.mean() < 0.8
    assert raw.std() > 0.05
    torch.testing.assert_close(tokenizer(images).reconstruction, raw * 2 - 1, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokenizer.decode(codes), raw.clamp(0, 1) * 2 - 1, atol=1e-4, rtol=1e-4)
    assert sorted(ledger.used) == sorted(state)
    assert not ledger.dropped


def test_half_precision_files_lose_nothing_more(state: State, images: Tensor) -> None:
    """Oracle: the functions above in float32, with the rounded weights; the folded shortcut is not rounded again."""
    half = {name: tensor.half() for name, tensor in state.items()}
    imported, _ = convert(half)
    stage = imported.tokenizer
    assert stage is not None
    tokenizer = Tokenizer(stage.config).eval().requires_grad_(False)
    tokenizer.load_state_dict({name: tensor.float() for name, tensor in stage.state.items()})
    rounded = {name: tensor.float() for name, tensor in half.items()}
    expected = encode(rounded, (images + 1) / 2, 3)
    torch.testing.assert_close(tokenizer.features(images), expected, atol=1e-4, rtol=1e-4)


def test_codes_of_large_grids_are_decoded_in_tiles(state: State) -> None:
    """Oracle: the same decoder on the whole; tiles differ by the estimated statistics of the norms alone."""
    tokenizer = tokenizer_of(convert(state)[0].tokenizer)
    codes = torch.randint(64, (1, 48, 64), generator=torch.Generator().manual_seed(2))
    whole = tokenizer.decode(codes)
    tiled = decode_tiled(tokenizer, codes, max_activations=48 * 64 * 16 * 32 // 4)
    assert not torch.equal(tiled, whole)
    assert (tiled - whole).square().mean() < 0.01 * whole.var()


def test_large_pictures_are_encoded_in_tiles(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the codes of the whole, for most cells; the others are near ties under other statistics."""
    monkeypatch.setattr("vqgan_cli.core.tiled_encoding._TILE", 160)
    monkeypatch.setattr("vqgan_cli.core.tiled_encoding._MARGIN", 32)
    tokenizer = tokenizer_of(convert(state)[0].tokenizer)

    def codes_of(array: np.ndarray) -> np.ndarray:
        picture = torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1
        return tokenizer.encode(picture)[0].numpy()

    picture = np.random.default_rng(0).integers(0, 256, (192, 224, 3)).astype(np.uint8)
    whole, tiled = codes_of(picture), encode_tiled(picture, 4, codes_of)
    assert 0.9 < (whole == tiled).mean() <= 1


def test_published_size_on_the_meta_device() -> None:
    """Oracle: the parameters of the published file, and those that stand for what it lacks, counted by hand."""
    published = shapes(128, (1, 1, 2, 2, 4), 256, 1024)
    imported, _ = convert({name: torch.empty(shape, device="meta") for name, shape in published.items()})
    stage = imported.tokenizer
    assert stage is not None
    require_fit(stage.config, stage.state)
    assert all(tensor.is_meta for tensor in stage.state.values())
    config = stage.config
    assert imported.image_size == 256
    assert config.channel_multipliers == (1, 1, 2, 2, 4)
    assert (config.res_blocks, config.decoder_res_blocks, config.downsample) == (2, 2, "average")
    assert (config.pixel_range, config.mid_attention, config.attention_resolutions) == ("unit", False, ())
    assert (config.codebook_size, config.codebook_dim, config.z_channels) == (1024, 256, 256)
    ours = sum(tensor.numel() for tensor in stage.state.values())
    theirs = sum(torch.Size(shape).numel() for shape in published.values())
    identities = 2 * (256 * 256 + 256)
    kernel = 8 * 512 * 256  # the zeros around the last convolution of the encoder
    biases = sum(
        s[0] for n, s in published.items() if len(s) == 4 and n.replace("weight", "bias") not in published
    )
    changing = [
        (128, 256),
        (256, 512),
        (512, 256),
        (256, 128),
    ]  # blocks that change the width: two on each side
    shortcuts = sum(outputs * (inputs - outputs) for inputs, outputs in changing)
    assert ours == theirs + identities + kernel + biases + shortcuts
    assert round(theirs / 1e6, 1) == 54.5


def test_size_of_the_training_images(state: State) -> None:
    """As set, else as its config says, else 256."""
    assert convert(state)[0].image_size == 256
    assert convert(state, config={"resolution": 512})[0].image_size == 512
    assert convert(state, config={"resolution": 512}, settings={"data": {"size": 384}})[0].image_size == 384


def test_what_cannot_be_represented_is_refused(state: State) -> None:
    other = {name: torch.empty(shape) for name, shape in shapes(32, (1, 1), 24, 64, blocks=3).items()}
    with pytest.raises(ModelError, match="more than two blocks at the bottom"):
        convert(other)
    with pytest.raises(ModelError, match="encoder gives 24 channels, and vectors of the codebook have 8"):
        convert({**state, "quantize.embedding.weight": torch.empty(64, 8)})
    for absent in ("encoder.conv_out.weight", "encoder.down.1.block.0.conv2.weight"):
        with pytest.raises(ModelError, match=f"lacks the tensor '{absent}'"):
            convert({name: tensor for name, tensor in state.items() if name != absent})
