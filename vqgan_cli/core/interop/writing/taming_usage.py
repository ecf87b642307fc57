"""How an export is used in taming-transformers."""

from __future__ import annotations

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.interop.writing.source import Source, Usage
from vqgan_cli.core.interop.writing.usage import code, input_lines, picture_lines

__all__ = ["taming_usage"]

_IMPORTS = ["import importlib", "", "import numpy as np", "import torch", "import yaml"]
_LOAD = [
    'with open("FOLDER/config.yaml") as file:',
    '    described = yaml.safe_load(file)["model"]',
    'module, name = described["target"].rsplit(".", 1)',
    'model = getattr(importlib.import_module(module), name)(**described["params"])',
    'model.load_state_dict(torch.load("FOLDER/model.ckpt", weights_only=True)["state_dict"])',
    "model.eval()",
]


def taming_usage(source: Source) -> Usage:
    """Code that loads checkpoint and config, and encodes and decodes, or draws."""
    used = _drawn(source.config, source.transformer) if source.transformer else _coded(source)
    return Usage(
        "taming-transformers",
        "a checkout of [taming-transformers](https://github.com/CompVis/taming-transformers) and what that requires; "
        "run it there",
        code(_IMPORTS, _LOAD, *used),
    )


def _coded(source: Source) -> list[list[str]]:
    tokenizer, side = source.tokenizer, source.config.data.size
    shown = "argmax(1)  # class of each pixel" if tokenizer.makes_labels else "clamp(-1, 1)"
    return [
        input_lines(tokenizer, source.config.data.kind, side, side),
        [
            "with torch.no_grad():",
            "    quantized, _, (_, _, codes) = model.encode(torch.from_numpy(images))",
            f"    again = model.decode(quantized).{shown}",
            "codes = codes.view(len(images), *quantized.shape[2:])  # int64",
        ],
        picture_lines(tokenizer, "again.numpy()"),
    ]


def _drawn(config: ExperimentConfig, model: Transformer) -> list[list[str]]:
    rows, columns = model.prior.spec.grid
    f = model.tokenizer.downsampling
    shape = f"(1, {model.tokenizer.config.codebook_dim}, {rows}, {columns})"
    given, condition = _condition(config, model, rows * f, columns * f)
    most = min(config.sampling.top_k, model.prior.spec.codebook_size)
    top_k = f", top_k={most}" if most else ""
    return [
        given,
        [
            f"condition = model.encode_to_c({condition})[1].view(1, -1)",
            "nothing = torch.zeros(1, 0, dtype=torch.int64)",
            f"codes = model.sample(nothing, condition, steps={rows * columns}, sample=True{top_k})  # int64",
            f"again = model.decode_to_img(codes, {shape}).clamp(-1, 1)",
        ],
        picture_lines(model.tokenizer, "again.numpy()"),
    ]


def _condition(
    config: ExperimentConfig, model: Transformer, height: int, width: int
) -> tuple[list[str], str]:
    """Lines that make what images are drawn by, and the tensor that the model is given."""
    kind, encoder = config.condition.kind, model.map_encoder
    if kind == "none":
        return [], "torch.zeros(1, 1)"
    if kind == "class":
        return [], "torch.tensor([0])"
    if (
        encoder is None or encoder.tokenizer is None
    ):  # coordinates: the place of each pixel in the order of the rows
        cells = height * width
        return [], f"torch.arange({cells}).view(1, 1, {height}, {width}) / {cells}"
    return input_lines(encoder.tokenizer, kind, height, width, "maps"), "torch.from_numpy(maps)"
