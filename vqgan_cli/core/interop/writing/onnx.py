"""A tokenizer as two ONNX graphs: pictures to codes, and codes to pictures, of any batch and size."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.interop.writing.onnx_checking import check_graphs
from vqgan_cli.core.interop.writing.source import Source, Usage, Written, refuse
from vqgan_cli.core.interop.writing.usage import code, input_lines, picture_lines
from vqgan_cli.core.models.quantizers import Quantizer
from vqgan_cli.core.models.quantizers.base import to_rows
from vqgan_cli.core.models.quantizers.ema import EMAQuantizer
from vqgan_cli.core.models.quantizers.euclidean import EuclideanQuantizer
from vqgan_cli.core.models.quantizers.gumbel import GumbelQuantizer
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["DECODER_FILE", "DEFAULT_OPSET", "ENCODER_FILE", "OPSETS", "codes_at_once", "write_onnx"]

ENCODER_FILE = "encoder.onnx"
DECODER_FILE = "decoder.onnx"
OPSETS = range(18, 24)
"""Versions of ONNX's operators that torch's exporter can write."""
DEFAULT_OPSET = 18
"""The oldest of them, which the most runtimes read."""


def write_onnx(source: Source, folder: Path, opset: int = DEFAULT_OPSET) -> Written:
    """Write both graphs into a folder and, where onnxruntime is installed, compare what they give with torch.

    They compute in float32. ``encoder.onnx`` takes ``images``, float32 [batch, C, f * rows, f * columns] in [-1, 1]
    (one-hot for label maps), and gives ``codes``, int64 [batch, rows, columns]. ``decoder.onnx`` does the reverse: its
    images are clamped, and for label maps they are class indices, int64 [batch, f * rows, f * columns].

    Raises:
        UsageError: a package is missing, or there is no such opset.
        ModelError: the model cannot be held, or the graphs give something else than the model.
    """
    tokenizer, f = source.tokenizer, source.tokenizer.downsampling
    if source.transformer is not None:
        problem = "drawing codes is a loop around the transformer and its cache, not a graph"
        refuse("ONNX", [problem], "export its tokenizer alone with --part tokenizer")
    if opset not in OPSETS:
        raise UsageError(f"--opset {opset} is none of {OPSETS[0]} to {OPSETS[-1]}", hint="leave --opset out")
    if not isinstance(tokenizer.quantizer, EuclideanQuantizer | EMAQuantizer | GumbelQuantizer):
        kind = tokenizer.config.quantizer.kind
        refuse("ONNX", [f"how the quantizer {kind!r} searches has no graph yet"], "take another target")
    _require_packages()
    batch, rows, columns = (torch.export.Dim(name) for name in ("batch", "rows", "columns"))
    height, width = (f * rows, f * columns) if f > 1 else (rows, columns)
    # Traced at one size, of three different numbers above 1, which stand for any.
    codes = torch.arange(2 * 3 * 4).view(2, 3, 4) % tokenizer.codebook_size
    images = torch.zeros(2, tokenizer.config.in_channels, 3 * f, 4 * f)
    encoder = _traced(
        _Encoder(tokenizer), ("images", images), "codes", {0: batch, 2: height, 3: width}, opset
    )
    decoder = _traced(_Decoder(tokenizer), ("codes", codes), "images", {0: batch, 1: rows, 2: columns}, opset)
    described = _described(source, opset)
    names = [f"{f}*rows", f"{f}*columns"] if f > 1 else ["rows", "columns"]
    channels = [] if tokenizer.makes_labels else [tokenizer.config.out_channels]
    _save(encoder, folder / ENCODER_FILE, ["batch", "rows", "columns"], described)
    _save(decoder, folder / DECODER_FILE, ["batch", *channels, *names], described)
    check = check_graphs(tokenizer, folder / ENCODER_FILE, folder / DECODER_FILE)
    files = {
        ENCODER_FILE: f"`images` to `codes`, for any batch and size, ONNX opset {opset}, float32",
        DECODER_FILE: "`codes` to `images`, the same",
    }
    return Written(files, _usage(source), (check.summary,), {"opset": opset, "check": check.facts})


def _usage(source: Source) -> Usage:
    tokenizer, side = source.tokenizer, source.config.data.size
    made = "int64, class of each pixel" if tokenizer.makes_labels else "float32, in [-1, 1]"
    text = code(
        ["import numpy as np", "import onnxruntime"],
        [
            'providers = ["CPUExecutionProvider"]  # or those of onnxruntime.get_available_providers()',
            *(
                f'{name} = onnxruntime.InferenceSession("FOLDER/{file}", providers=providers)'
                for name, file in (("encoder", ENCODER_FILE), ("decoder", DECODER_FILE))
            ),
        ],
        input_lines(tokenizer, source.config.data.kind, side, side),
        [
            '(codes,) = encoder.run(None, {"images": images})  # int64',
            f'(again,) = decoder.run(None, {{"codes": codes}})  # {made}',
        ],
        picture_lines(tokenizer, "again"),
    )
    return Usage("onnx", "`pip install onnxruntime`", text)


class _Encoder(nn.Module):
    """Pictures to codes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, images: Tensor) -> Tensor:
        return codes_at_once(self.tokenizer.quantizer, self.tokenizer.features(images))


class _Decoder(nn.Module):
    """Codes to what `Tokenizer.decode` gives, without its look at their range."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, codes: Tensor) -> Tensor:
        model = self.tokenizer
        return model.pixels(model.decoder(model.post_quant_conv(model.quantizer.decode(codes))))


def codes_at_once(quantizer: Quantizer, z: Tensor) -> Tensor:
    """`Quantizer.encode` with all distances at once: a graph has no loop over parts of a number of cells that it does
    not know.
    """
    if isinstance(quantizer, EuclideanQuantizer):
        vectors, codebook = quantizer.prepared(z), quantizer.codebook
    elif isinstance(quantizer, EMAQuantizer):
        vectors, codebook = z, quantizer.embedding
    else:
        return quantizer.encode(z)
    distances = torch.addmm(codebook.square().sum(1), to_rows(vectors), codebook.T, alpha=-2)
    return distances.argmin(1).view(z.shape[0], *z.shape[2:])


def _require_packages() -> None:
    missing = []
    for name in ("onnx", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise UsageError(f"--to onnx needs {' and '.join(missing)}", hint="pip install 'vqgan[onnx]'")


def _traced(
    module: nn.Module, given: tuple[str, Tensor], made: str, dimensions: Mapping[int, Any], opset: int
) -> Any:
    """The module as an ONNX program (`torch.onnx.ONNXProgram`) from one input to one output."""
    name, example = given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch about its own parts, nothing that a user could change
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[name],
            output_names=[made],
            dynamic_shapes={name: dict(dimensions)},
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    found = program.model.opset_imports[""]
    if found != opset:
        raise UsageError(f"--opset {opset}: this torch writes {found}", hint=f"take --opset {found}")
    return program


def _save(program: Any, path: Path, shape: Sequence[str | int], described: Mapping[str, str]) -> None:
    """Write a program whose output has dimensions of these names and sizes."""
    model = program.model
    shapes = importlib.import_module("onnx_ir").Shape
    model.graph.outputs[0].shape = shapes(shape)
    model.metadata_props.update(described)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # paths and lines of the code that was traced
    program.save(path)


def _described(source: Source, opset: int) -> dict[str, str]:
    """What a graph says of itself (``metadata_props``), where nested values are JSON."""
    flat = {"opset": opset, **source.description()}
    return {
        f"vqgan.{key}": json.dumps(value) if isinstance(value, Mapping) else str(value)
        for key, value in flat.items()
    }
