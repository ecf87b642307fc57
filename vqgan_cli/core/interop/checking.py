"""Does a model that was just imported work? One built-in picture goes through everything that the model can do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vqgan_cli.core.artifacts import load_tokenizer, load_transformer, read_model_info
from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.data.tensors import to_input, to_tensor
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.metrics.reconstruction import psnr
from vqgan_cli.core.models.priors import sequence_order
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["TokenizerCheck", "TransformerCheck", "check_tokenizer", "check_transformer"]


@dataclass(frozen=True)
class TokenizerCheck:
    """What became of the built-in picture.

    Attributes:
        cells: codes of the picture.
        distinct: different ones among them.
        psnr: dB of the reconstruction; of label maps None.
        accuracy: share of the pixels whose label came back; None for anything else.
    """

    cells: int
    distinct: int
    psnr: float | None
    accuracy: float | None


@dataclass(frozen=True)
class TransformerCheck:
    """Nats per code of the built-in picture's codes; the logarithm of the codebook size is a uniform guess."""

    nll: float
    uniform: float


@torch.inference_mode()
def check_tokenizer(path: Path) -> TokenizerCheck:
    """Encode and decode the built-in picture, or its map, with a tokenizer's file.

    Raises:
        ModelError: a value is not finite, or all cells of the picture have one code.
    """
    info = read_model_info(path)
    tokenizer = load_tokenizer(path)
    side, f = info.config.data.size, tokenizer.downsampling
    given = _given(tokenizer, info.config.data.kind, side // f * f)
    features = tokenizer.features(given)
    _require_finite(features, "the encoder's output")
    codes = tokenizer.quantizer.encode(features)
    output = tokenizer.decoder(tokenizer.post_quant_conv(tokenizer.quantizer.decode(codes))).float()
    _require_finite(output, "the decoder's output")
    shown = tokenizer.pixels(output)
    distinct = len(codes.unique())
    if distinct == 1 and codes.numel() > 1:
        raise ModelError(
            f"the imported tokenizer gives all {codes.numel()} cells of a picture the code {int(codes.flatten()[0])}: "
            "its weights are not those of a trained model",
        )
    if tokenizer.makes_labels:
        accuracy = float((shown == given.argmax(1)).double().mean())
        return TokenizerCheck(codes.numel(), distinct, None, accuracy)
    return TokenizerCheck(codes.numel(), distinct, float(psnr(shown, given)), None)


@torch.inference_mode()
def check_transformer(path: Path) -> TransformerCheck:
    """Predict the codes of the built-in picture with a transformer's file.

    Raises:
        ModelError: a value is not finite.
    """
    model = load_transformer(path)
    spec, f = model.prior.spec, model.tokenizer.downsampling
    height, width = (side * f for side in spec.grid)
    drawn_by = SYNTHETIC_SETS["faces"]
    drawing = drawn_by.draw(0, 0, height, width)
    picture = to_input(to_tensor(drawing.image)[None], model.tokenizer, torch.device("cpu"))
    cells = model.tokenizer.encode(picture).flatten(1)
    condition = torch.zeros(1, 1, dtype=torch.int64)  # the first class
    if model.map_encoder is not None:
        array = model.map_encoder.map_kind.from_drawing(drawing, drawn_by)
        classes = model.info.config.data.maps.classes
        condition = torch.from_numpy(
            model.map_encoder.encode([array % classes if classes else array])
        ).flatten(1)
    codes = cells[:, torch.from_numpy(sequence_order(model.prior.config.order, *spec.grid))]
    logits = model.prior(codes[:, :-1], condition)
    _require_finite(logits, "the logits")
    nll = float(F.cross_entropy(logits.flatten(0, 1), codes.flatten()))
    return TransformerCheck(nll, float(np.log(spec.codebook_size)))


def _given(tokenizer: Tokenizer, kind: str, side: int) -> Tensor:
    """The built-in picture, or its map of the tokenizer's kind, as the tokenizer's input."""
    drawn_by = SYNTHETIC_SETS["faces"]
    drawing = drawn_by.draw(0, 0, side, side)
    array = drawing.image
    if kind != "image":
        array = build_map_kind(kind, MapsConfig()).from_drawing(drawing, drawn_by)
    if tokenizer.makes_labels:
        array = array % tokenizer.config.in_channels
    return to_input(to_tensor(array)[None], tokenizer, torch.device("cpu"))


def _require_finite(values: Tensor, what: str) -> None:
    if not torch.isfinite(values).all():
        raise ModelError(
            f"{what} of the imported model is not finite: its weights are damaged, or of another architecture than "
            "their names say"
        )
