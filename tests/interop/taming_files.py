"""Checkpoints in the layout of taming-transformers, written down from the format, without any model of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.interop import LAYOUTS
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import Imported
from vqgan_cli.core.interop.layouts import recognise

Shapes = dict[str, tuple[int, ...]]


def convert(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Imported, Ledger]:
    """What the import does with a checkpoint, with an account that is settled."""
    foreign = Foreign(Path("last.ckpt"), tensors, config=config or {}, settings=settings or {})
    layout = recognise(foreign, LAYOUTS)
    assert layout.convert is not None
    ledger = Ledger(tensors)
    imported = layout.convert(foreign, ledger)
    ledger.settle()
    names = ledger.used + [name for dropped in ledger.dropped for name in dropped.names]
    assert sorted(names) == sorted(tensors)
    return imported, ledger


def on_meta(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors without values."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def random(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Tensors with values; norms scale by about one, so that activations stay finite."""
    generator = torch.Generator().manual_seed(seed)
    values = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, value in values.items():
        if name.endswith(
            ("norm1.weight", "norm2.weight", "norm.weight", "norm_out.weight", "ln_f.weight")
        ) or (name.endswith("weight") and ".ln" in name):
            value.mul_(0.1).add_(1)
        elif value.ndim == 4:
            value.mul_(value[0].numel() ** -0.5)
        else:
            value.mul_(0.3)
    return values


def tokenizer(
    *,
    ch: int = 32,
    ch_mult: Sequence[int] = (1, 2, 2),
    blocks: int = 1,
    attention: Sequence[int] = (2,),
    mid_attention: bool = True,
    z: int = 16,
    embed: int = 8,
    codes: int = 24,
    channels: int = 3,
    quantizer: str = "vq",
    colorize: bool = False,
) -> Shapes:
    """A VQModel without its loss. ``attention``: levels with attention, 0 the highest resolution."""
    widths = [ch * factor for factor in ch_mult]
    last = len(widths) - 1
    shapes: Shapes = {}
    shapes |= _conv("encoder.conv_in", channels, ch, 3)
    before = ch
    for level, width in enumerate(widths):
        name = f"encoder.down.{level}"
        for block in range(blocks):
            shapes |= _residual(f"{name}.block.{block}", before, width)
            before = width
            if level in attention:
                shapes |= _attention(f"{name}.attn.{block}", width)
        if level < last:
            shapes |= _conv(f"{name}.downsample.conv", width, width, 3)
    shapes |= _middle("encoder", before, mid_attention) | _norm("encoder.norm_out", before)
    shapes |= _conv("encoder.conv_out", before, z, 3)
    shapes |= _conv("decoder.conv_in", z, before, 3) | _middle("decoder", before, mid_attention)
    for level in reversed(range(last + 1)):
        width, name = widths[level], f"decoder.up.{level}"
        for block in range(blocks + 1):
            shapes |= _residual(f"{name}.block.{block}", before, width)
            before = width
            if level in attention:
                shapes |= _attention(f"{name}.attn.{block}", width)
        if level:
            shapes |= _conv(f"{name}.upsample.conv", width, width, 3)
    shapes |= _norm("decoder.norm_out", before) | _conv("decoder.conv_out", before, channels, 3)
    shapes |= _conv("quant_conv", z, embed, 1) | _conv("post_quant_conv", embed, z, 1)
    if quantizer == "gumbel":
        shapes |= _conv("quantize.proj", z, codes, 1) | {"quantize.embed.weight": (codes, embed)}
    else:
        shapes["quantize.embedding.weight"] = (codes, embed)
    if quantizer == "ema":
        shapes["quantize.embedding.cluster_size"] = (codes,)
        shapes["quantize.embedding.embed_avg"] = (codes, embed)
    if colorize:
        shapes["colorize"] = (3, channels, 1, 1)
    return shapes


def loss(layers: int = 3) -> Shapes:
    """The loss of the training: PatchGAN with BatchNorm, and LPIPS."""
    shapes: Shapes = {}
    main, before = "loss.discriminator.main", 64
    shapes |= _conv(f"{main}.0", 3, 64, 4)
    for layer in range(1, layers + 1):
        width = 64 * min(2**layer, 8)
        index = 3 * layer - 1
        shapes[f"{main}.{index}.weight"] = (width, before, 4, 4)
        norm = f"{main}.{index + 1}"
        shapes |= _norm(norm, width) | {f"{norm}.running_mean": (width,), f"{norm}.running_var": (width,)}
        shapes[f"{norm}.num_batches_tracked"] = ()
        before = width
    shapes |= _conv(f"{main}.{3 * layers + 2}", before, 1, 4)
    for index, width in enumerate((64, 128, 256, 512, 512)):
        shapes[f"loss.perceptual_loss.lin{index}.model.1.weight"] = (1, width, 1, 1)
    shapes |= _conv("loss.perceptual_loss.net.slice1.0", 3, 64, 3)
    shapes["loss.perceptual_loss.scaling_layer.shift"] = (1, 3, 1, 1)
    return shapes


def gpt(
    *, layers: int = 2, width: int = 32, vocabulary: int = 24, block: int = 16, head: int | None = None
) -> Shapes:
    """A GPT without values for its masks, which `causal` fills in."""
    shapes: Shapes = {
        "transformer.tok_emb.weight": (vocabulary, width),
        "transformer.pos_emb": (1, block, width),
        "transformer.head.weight": (head or vocabulary, width),
        **_norm("transformer.ln_f", width),
    }
    for index in range(layers):
        name = f"transformer.blocks.{index}"
        shapes |= _norm(f"{name}.ln1", width) | _norm(f"{name}.ln2", width)
        for part in ("key", "query", "value", "proj"):
            shapes |= _linear(f"{name}.attn.{part}", width, width)
        shapes[f"{name}.attn.mask"] = (1, 1, block, block)
        shapes |= _linear(f"{name}.mlp.0", width, 4 * width) | _linear(f"{name}.mlp.2", 4 * width, width)
    return shapes


def causal(tensors: dict[str, Tensor], prefix: int = 0) -> dict[str, Tensor]:
    """The same with the masks of a GPT in which the first tokens see one another."""
    for name, tensor in tensors.items():
        if name.endswith("attn.mask"):
            mask = torch.ones(tensor.shape).tril()
            mask[..., :prefix, :prefix] = 1
            tensors[name] = mask
    return tensors


def below(prefix: str, shapes: Shapes) -> Shapes:
    """The names with a prefix."""
    return {prefix + name: shape for name, shape in shapes.items()}


def averages(shapes: Shapes) -> Shapes:
    """What LitEma adds: an average of each parameter, its name without dots, the decay and the count."""
    named = {f"model_ema.{name.replace('.', '')}": shape for name, shape in shapes.items()}
    return {**named, "model_ema.decay": (), "model_ema.num_updates": ()}


def _linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _conv(name: str, before: int, after: int, side: int) -> Shapes:
    return {f"{name}.weight": (after, before, side, side), f"{name}.bias": (after,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _residual(name: str, before: int, after: int) -> Shapes:
    shapes = _norm(f"{name}.norm1", before) | _conv(f"{name}.conv1", before, after, 3)
    shapes |= _norm(f"{name}.norm2", after) | _conv(f"{name}.conv2", after, after, 3)
    return shapes | (_conv(f"{name}.nin_shortcut", before, after, 1) if before != after else {})


def _attention(name: str, width: int) -> Shapes:
    shapes = _norm(f"{name}.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= _conv(f"{name}.{part}", width, width, 1)
    return shapes


def _middle(side: str, width: int, attention: bool) -> Shapes:
    shapes = _residual(f"{side}.mid.block_1", width, width) | _residual(f"{side}.mid.block_2", width, width)
    return shapes | (_attention(f"{side}.mid.attn_1", width) if attention else {})
