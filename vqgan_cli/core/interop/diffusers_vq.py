"""VQModel of diffusers: a folder of ``config.json`` and weights, with new or old names of the attention layers.

The config is that of the class' constructor; what an old file lacks has the default of the class. Most of it shows in
the tensors and is read there; what does not is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vqgan_cli.core.config import TokenizerConfig
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.architecture import image_size, read_tokenizer_config
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage, Imported
from vqgan_cli.core.interop.layouts import Layout
from vqgan_cli.core.interop.writing.source import DESCRIPTION_FILE

__all__ = ["LAYOUTS"]

_UNSET_SIZE = 32  # the default of sample_size, which says nothing about the images
_MOVQ = "a MoVQ, which norms its decoder by the codes at every place (norm_type: spatial)"

_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.")
_NAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"encoder\.down_blocks\.", "encoder.down."),
        (r"\.mid_block\.resnets\.0\.", ".mid.block_1."),
        (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
        (r"\.mid_block\.resnets\.1\.", ".mid.block_2."),
        (r"\.resnets\.", ".block."),
        (r"\.attentions\.", ".attn."),
        (r"\.(down|up)samplers\.0\.", r".\1sample."),
        (r"\.conv_shortcut\.", ".nin_shortcut."),
        (r"\.conv_norm_out\.", ".norm_out."),
        (r"\.group_norm\.", ".norm."),
        (r"\.(?:to_q|query)\.", ".q."),
        (r"\.(?:to_k|key)\.", ".k."),
        (r"\.(?:to_v|value)\.", ".v."),
        (r"\.(?:to_out\.0|proj_attn)\.", ".proj_out."),
        (r"quantize\.", "quantizer."),
    )
)


def _convert(foreign: Foreign, ledger: Ledger) -> Imported:
    described = foreign.config
    _require_known(described)
    state = _renamed(ledger)
    config = read_tokenizer_config(state)
    given = described.get("sample_size")
    size = image_size(
        foreign, config.downsampling, given if isinstance(given, int) and given > _UNSET_SIZE else 256
    )
    config = read_tokenizer_config(state, resolution=size)
    _require_same_attention(state)
    _require_agreement(described, config)
    notes = []
    if not described:
        notes.append(
            "without a config.json, GroupNorm is taken to have 32 groups and the activation to be silu"
        )
    # Our own exports set it too, so that diffusers decodes codes, and have pixels in [-1, 1].
    if described.get("lookup_from_codebook") and not (foreign.path / DESCRIPTION_FILE).is_file():
        config = config.model_copy(update={"pixel_range": "unit"})
        notes.append(
            "lookup_from_codebook marks a tokenizer of aMUSEd, whose pixels are in [0, 1]; if those of this one are in "
            "[-1, 1]: --set tokenizer.pixel_range=signed"
        )
    if "scaling_factor" in described:
        notes.append(
            f"scaling_factor {described['scaling_factor']} is for diffusion over the vectors; codes do not need it"
        )
    return Imported(size, FirstStage(config, state), notes=tuple(notes))


def _renamed(ledger: Ledger) -> dict[str, Tensor]:
    """All tensors under our names; linear layers of the attention as 1x1 convolutions."""
    deepest = max((int(match[1]) for name in ledger if (match := _UP.match(name))), default=0)
    state = {}
    for name in ledger:
        # Their decoder counts from the deepest level, ours from the highest resolution.
        ours = _UP.sub(lambda match: f"decoder.up.{deepest - int(match[1])}.", name)
        for pattern, replacement in _NAMES:
            ours = pattern.sub(replacement, ours)
        tensor = ledger.take(name)
        if re.search(r"\.(q|k|v|proj_out)\.weight$", ours) and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]  # [C, C, 1, 1]
        state[ours] = tensor
    return state


def _require_known(described: Mapping[str, Any]) -> None:
    """Refuse by name what has the same tensors, or some of them, and computes something else."""
    kind = described.get("_class_name", "VQModel")
    if kind != "VQModel":
        raise ModelError(f"config.json is that of a {kind}, not of a VQModel")
    if described.get("norm_type", "group") != "group":
        raise ModelError(f"this VQModel is {_MOVQ}; it cannot be represented")
    groups = described.get("norm_num_groups", 32)
    if groups != 32:
        raise ModelError(f"norm_num_groups {groups} cannot be represented: GroupNorm has 32 groups here")
    activation = described.get("act_fn", "silu")
    if activation not in ("silu", "swish"):
        raise ModelError(f"act_fn {activation!r} cannot be represented: the activation is silu here")
    for side, suffix in (("down", "EncoderBlock2D"), ("up", "DecoderBlock2D")):
        known = {f"{side.capitalize()}{suffix}", f"Attn{side.capitalize()}{suffix}"}
        for block in described.get(f"{side}_block_types", ()):
            if block not in known:
                raise ModelError(
                    f"blocks of the type {block} cannot be represented, only {' and '.join(sorted(known))}"
                )


def _require_same_attention(state: Mapping[str, Tensor]) -> None:
    encoder, decoder = (
        sorted({int(match[1]) for name in state if (match := re.match(rf"{side}\.(\d+)\.attn\.", name))})
        for side in (r"encoder\.down", r"decoder\.up")
    )
    if encoder != decoder:
        raise ModelError(
            f"the encoder has attention at the levels {encoder} and the decoder at {decoder}, counted from the highest "
            "resolution; it must be the same here"
        )


def _require_agreement(described: Mapping[str, Any], config: TokenizerConfig) -> None:
    """Check that a config is that of these tensors, as a wrong one would also be wrong where no tensor shows it."""
    widths = [config.channels * multiplier for multiplier in config.channel_multipliers]
    found = {
        "block_out_channels": widths,
        "layers_per_block": config.res_blocks,
        "latent_channels": config.z_channels,
        "vq_embed_dim": config.codebook_dim,
        "num_vq_embeddings": config.codebook_size,
    }
    for key, value in found.items():
        said = described.get(key)  # vq_embed_dim may be null: latent_channels
        if said is not None and said != value:
            raise ModelError(
                f"config.json says {key} {said}, and the tensors {value}: it is that of another model",
                hint="name the right one with --config",
            )


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "diffusers MoVQ",
        signs=(
            r"encoder\.down_blocks\.0\.resnets\.0\.conv1\.weight$",
            r"decoder\.conv_norm_out\.(conv_y|norm_layer)\.",
        ),
        refusal=f"it is {_MOVQ}",
    ),
    Layout(
        "diffusers VQModel",
        signs=(
            r"encoder\.down_blocks\.0\.resnets\.0\.conv1\.weight$",
            r"decoder\.up_blocks\.0\.resnets\.0\.conv1\.weight$",
            r"quantize\.embedding\.weight$",
        ),
        convert=_convert,
    ),
    Layout(
        "diffusers AutoencoderKL",
        signs=(
            r"encoder\.down_blocks\.0\.resnets\.0\.conv1\.weight$",
            r"decoder\.up_blocks\.0\.resnets\.0\.conv1\.weight$",
        ),
        never=(r"quantize\.",),
        refusal="its vectors are continuous; it has no codebook, so there are no codes",
    ),
)
