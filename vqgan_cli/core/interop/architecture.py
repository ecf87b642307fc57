"""The architecture of a tokenizer, read off the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from pydantic import ValidationError
from torch import Tensor

from vqgan_cli.core.config import QuantizerConfig, TokenizerConfig
from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.foreign import Foreign
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["image_size", "read_tokenizer_config", "require_fit"]

_CODEBOOKS = {
    "quantizer.embedding.weight": "vq",
    "quantizer.embed.weight": "gumbel",
    "quantizer.embedding": "ema",
}
"""Kinds of quantizers by the name of their codebook, [K, D]."""


def image_size(foreign: Foreign, f: int, default: int) -> int:
    """Side of the training images in pixels: as the user says with ``--set data.size``, else a default.

    Raises:
        UsageError: it is not a multiple of the tokenizer's f.
    """
    size = foreign.setting("data.size")
    if size is None:
        return max(f, default // f * f)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1 or size % f:
        raise UsageError(f"--set data.size={size}: expected pixels, a multiple of this tokenizer's f = {f}")
    return size


def read_tokenizer_config(
    state: Mapping[str, Tensor], *, resolution: int = 256, quantizer: QuantizerConfig | None = None
) -> TokenizerConfig:
    """The config of a tokenizer whose tensors have our names (`Tokenizer.state_dict`).

    Args:
        state: its tensors; only shapes are looked at.
        resolution: image side that levels with attention are named by. It is in no tensor; the result is the same
            network whatever it is.
        quantizer: its kind and options; None: Gumbel where there is a projection to logits, ema where there are
            running means, else Euclidean.

    Raises:
        ModelError: the shapes are those of no tokenizer of this architecture.
    """
    levels = _count(state, r"encoder\.down\.(\d+)\.")
    blocks = _count(state, r"encoder\.down\.0\.block\.(\d+)\.")
    decoder_blocks = _count(state, r"decoder\.up\.0\.block\.(\d+)\.")
    if not levels or not blocks:
        raise ModelError("the checkpoint has no encoder of residual levels (encoder.down.0.block.0)")
    channels, in_channels = _shape(state, "encoder.conv_in.weight")[:2]
    widths = [_shape(state, f"encoder.down.{i}.block.{blocks - 1}.conv2.weight")[0] for i in range(levels)]
    if any(width % channels for width in widths):
        raise ModelError(f"the widths of the levels, {widths}, are no multiples of the first one, {channels}")
    codebook = next((name for name in _CODEBOOKS if name in state), "quantizer.embedding.weight")
    size, dim = _shape(state, codebook, dims=2)
    pooled = levels > 1 and "encoder.down.0.downsample.conv.weight" not in state
    try:
        return TokenizerConfig(
            in_channels=in_channels,
            out_channels=_shape(state, "decoder.conv_out.weight")[0],
            channels=channels,
            channel_multipliers=tuple(width // channels for width in widths),
            res_blocks=blocks,
            decoder_res_blocks=0 if decoder_blocks == blocks + 1 else decoder_blocks,
            downsample="average" if pooled else "conv",
            attention_resolutions=tuple(
                resolution >> i for i in range(levels) if f"encoder.down.{i}.attn.0.q.weight" in state
            ),
            mid_attention="encoder.mid.attn_1.q.weight" in state,
            resolution=resolution,
            z_channels=_shape(state, "encoder.conv_out.weight")[0],
            codebook_size=size,
            codebook_dim=dim,
            quantizer=quantizer or QuantizerConfig(kind=_CODEBOOKS[codebook], legacy=True),
        )
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise ModelError(f"the tensors are those of no tokenizer of this architecture: {problems}") from None


def require_fit(config: TokenizerConfig, state: Mapping[str, Tensor]) -> None:
    """Check that a config describes these tensors exactly: every name and every shape.

    Raises:
        ModelError: with the first few tensors that differ.
    """
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in Tokenizer(config).state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} has no place" for name in found if name not in expected]
    problems += [
        f"{name} is {list(found[name])}, not {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(f"the tokenizer is of another architecture: {'; '.join(problems[:5])}{more}")


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in state if (match := re.match(pattern, name))})


def _shape(state: Mapping[str, Tensor], name: str, dims: int = 4) -> tuple[int, ...]:
    if name not in state:
        raise ModelError(f"the checkpoint lacks the tensor {name!r}")
    shape = tuple(state[name].shape)
    if len(shape) != dims:
        raise ModelError(f"the tensor {name!r} is {list(shape)}, where {dims} dimensions are expected")
    return shape
