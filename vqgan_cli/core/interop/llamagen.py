"""Tokenizers of LlamaGen (Sun et al. 2024): VQ-8 and VQ-16, vectors and codebook normalised at every lookup."""

from __future__ import annotations

import re

from torch import Tensor

from vqgan_cli.core.config import QuantizerConfig
from vqgan_cli.core.interop.architecture import image_size, read_tokenizer_config
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage, Imported
from vqgan_cli.core.interop.layouts import Layout

__all__ = ["LAYOUTS"]

_LEVEL = re.compile(r"(encoder|decoder)\.conv_blocks\.(\d+)\.(.*)")
_MID = re.compile(r"(encoder|decoder)\.mid\.([012])\.(.*)")
_MID_NAMES = ("block_1", "attn_1", "block_2")


def _convert(foreign: Foreign, ledger: Ledger) -> Imported:
    ledger.drop(["quantize.codebook_used"], "a record of the codes that training used last")
    depths = [int(match[2]) for name in ledger if (match := _LEVEL.match(name))]
    state = _renamed(ledger, deepest=max(depths))
    # Whether vectors are normalised is in no tensor; those of all published models are.
    kind = "l2" if foreign.config.get("codebook_l2_norm", True) else "vq"
    config = read_tokenizer_config(state, quantizer=QuantizerConfig(kind=kind))
    size = image_size(foreign, config.downsampling, 256)
    config = read_tokenizer_config(state, resolution=size, quantizer=config.quantizer)
    return Imported(size, FirstStage(config, state, loss="l2"))


def _renamed(ledger: Ledger, deepest: int) -> dict[str, Tensor]:
    """All tensors under our names."""
    state = {}
    for name in ledger:
        ours = name.replace("quantize.", "quantizer.", 1)
        if match := _LEVEL.match(name):
            side, index, rest = match[1], int(match[2]), match[3].replace("res.", "block.", 1)
            # Their decoder counts from the deepest level, ours from the highest resolution.
            ours = (
                f"encoder.down.{index}.{rest}"
                if side == "encoder"
                else f"decoder.up.{deepest - index}.{rest}"
            )
        elif match := _MID.match(name):
            ours = f"{match[1]}.mid.{_MID_NAMES[int(match[2])]}.{match[3]}"
        state[ours] = ledger.take(name)
    return state


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "LlamaGen VQModel",
        signs=(
            r"encoder\.conv_blocks\.0\.res\.0\.conv1\.weight$",
            r"decoder\.conv_blocks\.0\.res\.0\.conv1\.weight$",
            r"quantize\.embedding\.weight$",
        ),
        convert=_convert,
    ),
)
