"""The VQGAN of MaskGIT (Chang et al. 2022), as open-muse and TiTok distribute it in PyTorch.

Pixels in [0, 1], average pooling and as many blocks in the decoder as in the encoder are options of our architecture.
The rest is ours with certain weights, equal up to the rounding of floating-point numbers:

- a missing bias is one of zeros;
- without convolutions around the quantizer they are identities;
- a 1x1 convolution is a 3x3 one with zeros around;
- where a block changes its width, the shortcut is a 1x1 convolution S of the *output* of the second convolution, and
  the block's input is not added: (I + S) conv2(h). So I + S goes into the second convolution, and our own shortcut,
  from the input, is zero.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.architecture import image_size, read_tokenizer_config
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage, Imported
from vqgan_cli.core.interop.layouts import Layout

__all__ = ["LAYOUTS"]

_MID = re.compile(r"(encoder|decoder)\.mid\.(\d+)\.")
_SHORTCUT = ".nin_shortcut.weight"


def _convert(foreign: Foreign, ledger: Ledger) -> Imported:
    shortcuts = [name for name in ledger if name.endswith(_SHORTCUT)]
    for name in ("encoder.conv_out.weight", *(name.replace("nin_shortcut", "conv2") for name in shortcuts)):
        ledger.look(name)
    state = {_our_name(name): ledger.take(name) for name in ledger}
    for name in map(_our_name, shortcuts):
        _fold_shortcut(state, name.removesuffix(_SHORTCUT))
    out = state["encoder.conv_out.weight"]
    if out.shape[-1] == 1:
        state["encoder.conv_out.weight"] = F.pad(out, (1, 1, 1, 1))
    for name in [name for name in state if name.endswith(".weight") and state[name].ndim == 4]:
        state.setdefault(name.removesuffix("weight") + "bias", state[name].new_zeros(state[name].shape[0]))
    dim = state["quantizer.embedding.weight"].shape[1]
    if dim != out.shape[0]:
        raise ModelError(f"the encoder gives {out.shape[0]} channels, and vectors of the codebook have {dim}")
    for name in ("quant_conv", "post_quant_conv"):
        state[f"{name}.weight"] = torch.eye(dim, dtype=out.dtype, device=out.device)[:, :, None, None]
        state[f"{name}.bias"] = out.new_zeros(dim)
    config = read_tokenizer_config(state)
    size = image_size(foreign, config.downsampling, _resolution(foreign))
    config = config.model_copy(update={"resolution": size, "pixel_range": "unit"})
    return Imported(size, FirstStage(config, state))


def _our_name(name: str) -> str:
    if match := _MID.match(name):
        if match[2] not in "01":
            raise ModelError(f"the {match[1]} has more than two blocks at the bottom ({name})")
        name = name.replace(match[0], f"{match[1]}.mid.block_{int(match[2]) + 1}.", 1)
    return name.replace(".upsample_conv.", ".upsample.conv.").replace("quantize.", "quantizer.", 1)


def _fold_shortcut(state: dict[str, Tensor], block: str) -> None:
    """Put a block's shortcut [C_out, C_out, 1, 1] into its second convolution."""
    shortcut, conv2 = state[block + _SHORTCUT], state[f"{block}.conv2.weight"]
    # In float64, so that the sums are rounded once.
    mixing = shortcut[:, :, 0, 0].double() + torch.eye(
        len(shortcut), device=shortcut.device, dtype=torch.float64
    )
    folded = torch.einsum("os,sihw->oihw", mixing, conv2.double())
    state[f"{block}.conv2.weight"] = folded.to(torch.promote_types(conv2.dtype, torch.float32))
    conv1 = state[f"{block}.conv1.weight"]
    state[block + _SHORTCUT] = conv1.new_zeros(*conv1.shape[:2], 1, 1)


def _resolution(foreign: Foreign) -> int:
    given = foreign.config.get("resolution")
    return given if isinstance(given, int) and given > 0 else 256


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "MaskGIT VQGAN",
        signs=(
            r"encoder\.down\.0\.block\.0\.conv1\.weight$",
            r"encoder\.mid\.0\.conv1\.weight$",
            r"decoder\.up\.0\.block\.0\.conv1\.weight$",
            r"decoder\.up\.\d+\.upsample_conv\.weight$",
            r"quantize\.embedding\.weight$",
        ),
        never=(r"encoder\.down\.0\.block\.0\.conv1\.bias$",),
        convert=_convert,
    ),
)
