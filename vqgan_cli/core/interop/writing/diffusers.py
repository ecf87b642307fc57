"""A tokenizer as diffusers' ``VQModel``: the folder that ``VQModel.from_pretrained`` loads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.interop.writing.source import (
    Source,
    Usage,
    Written,
    codebook_of,
    refuse,
    unheld_tokenizer,
)
from vqgan_cli.core.interop.writing.usage import code, input_lines, picture_lines

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "diffusers_config", "diffusers_state", "write_diffusers"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"

_EXPRESSED = (
    "in_channels",
    "out_channels",
    "channels",
    "channel_multipliers",
    "res_blocks",
    "attention_resolutions",
    "mid_attention",
    "resolution",
    "z_channels",
    "codebook_size",
    "codebook_dim",
)

# In this order; the level of the decoder is turned around before.
_NAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^encoder\.down\.", "encoder.down_blocks."),
        (r"^decoder\.up\.", "decoder.up_blocks."),
        (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
        (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
        (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
        (r"\.block\.", ".resnets."),
        (r"\.attn\.", ".attentions."),
        (r"\.nin_shortcut\.", ".conv_shortcut."),
        (r"\.downsample\.", ".downsamplers.0."),
        (r"\.upsample\.", ".upsamplers.0."),
        (r"\.norm_out\.", ".conv_norm_out."),
        (r"(\.attentions\.\d+)\.norm\.", r"\1.group_norm."),
        (r"(\.attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
        (r"(\.attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
    )
)
_PROJECTION = re.compile(r"\.to_(q|k|v|out\.0)\.weight$")
_UP = re.compile(r"^decoder\.up\.(\d+)\.")


def write_diffusers(source: Source, folder: Path) -> Written:
    """Write config and weights into a folder.

    Raises:
        ModelError: diffusers' VQModel cannot hold the model.
        OutputError: a file cannot be written.
    """
    config = source.tokenizer.config
    if source.transformer is not None:
        refuse(
            "diffusers",
            ["it has no class for the transformer"],
            "export its tokenizer alone with --part tokenizer, or all of it with --to taming",
        )
    problems = unheld_tokenizer(config, _EXPRESSED, ("vq", "ema"))
    first = config.channel_multipliers[0]
    if first != 1:
        problems.append(
            f"tokenizer.channel_multipliers from {first} on (only from 1: there the first level's width is "
            "that of the first convolution)"
        )
    refuse("diffusers' VQModel", problems, "--to onnx holds every tokenizer")
    described = diffusers_config(config, source.config.data.size)
    text = json.dumps(described, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    try:
        save_file(diffusers_state(source), folder / WEIGHTS_FILE, {"format": "pt"})
    except SafetensorError as error:
        raise OutputError(f"cannot write {WEIGHTS_FILE!r}: {error}") from error
    files = {WEIGHTS_FILE: "weights, float32", CONFIG_FILE: "architecture, as diffusers describes it"}
    return Written(files, _usage(source), tuple(_notes(source)))


def _usage(source: Source) -> Usage:
    tokenizer, side = source.tokenizer, source.config.data.size
    shown = "argmax(1)  # class of each pixel" if tokenizer.makes_labels else "clamp(-1, 1)"
    text = code(
        ["import numpy as np", "import torch", "from diffusers import VQModel"],
        ['model = VQModel.from_pretrained("FOLDER")'],
        input_lines(tokenizer, source.config.data.kind, side, side),
        [
            "with torch.inference_mode():",
            "    latents = model.encode(torch.from_numpy(images)).latents",
            "    codes = model.quantize(latents)[2][2].view(len(images), *latents.shape[2:])  # int64",
            f"    shape = (*codes.shape, {tokenizer.config.codebook_dim})",
            "    again = model.decode(codes.flatten(), force_not_quantize=True, shape=shape).sample",
            f"again = again.{shown}",
        ],
        picture_lines(tokenizer, "again.numpy()"),
    )
    return Usage("diffusers", "`pip install diffusers`", text)


def diffusers_config(config: TokenizerConfig, image_size: int) -> dict[str, Any]:
    """``config.json`` of a tokenizer; attention is placed by the type of each level's block."""
    widths = [config.channels * multiplier for multiplier in config.channel_multipliers]
    attention = [
        config.resolution // 2**level in config.attention_resolutions for level in range(len(widths))
    ]
    return {
        "_class_name": "VQModel",
        "act_fn": "silu",
        "block_out_channels": widths,
        "down_block_types": [
            "AttnDownEncoderBlock2D" if each else "DownEncoderBlock2D" for each in attention
        ],
        "up_block_types": [
            "AttnUpDecoderBlock2D" if each else "UpDecoderBlock2D" for each in reversed(attention)
        ],
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "latent_channels": config.z_channels,
        "layers_per_block": config.res_blocks,
        # Codes can be decoded: decode(codes, force_not_quantize=True, shape=...). Latents are decoded as without it.
        "lookup_from_codebook": True,
        "mid_block_add_attention": config.mid_attention,
        "norm_num_groups": 32,
        "norm_type": "group",
        "num_vq_embeddings": config.codebook_size,
        "sample_size": image_size,
        # Latents as they are: what a diffusion model over them would be scaled by is for its training to measure.
        "scaling_factor": 1.0,
        "vq_embed_dim": config.codebook_dim,
    }


def diffusers_state(source: Source) -> dict[str, Tensor]:
    """The tokenizer's tensors under diffusers' names."""
    levels = len(source.tokenizer.config.channel_multipliers)
    state = {
        _renamed(name, levels): tensor
        for name, tensor in source.tokenizer.state_dict().items()
        if not name.startswith("quantizer.")
    }
    # Projections of attention are linear layers there.
    state = {
        name: tensor.flatten(1) if _PROJECTION.search(name) else tensor for name, tensor in state.items()
    }
    state["quantize.embedding.weight"] = codebook_of(source.tokenizer)
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _renamed(name: str, levels: int) -> str:
    # The decoder's blocks count in the order in which they run, from the deepest on.
    name = _UP.sub(lambda match: f"decoder.up.{levels - 1 - int(match[1])}.", name)
    for pattern, replacement in _NAMES:
        name = pattern.sub(replacement, name)
    return name


def _notes(source: Source) -> list[str]:
    config = source.tokenizer.config
    notes = []
    if config.quantizer.kind == "ema":
        notes.append("the codebook goes along without its running means, which only training needs")
    if source.tokenizer.makes_labels:
        notes.append(
            f"it reads one-hot label maps of {config.in_channels} classes and gives their logits, unclamped: take the "
            "argmax over the channels"
        )
    else:
        notes.append("decode() gives pixels as they come: clamp them to [-1, 1]")
    return notes
