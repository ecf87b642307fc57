"""``vqgan export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Force, Json, Quiet

__all__ = ["export"]


def export(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Tokenizer or transformer: a weights file, a run folder, or the name of a pulled model.",
        ),
    ],
    to: Annotated[
        Literal["diffusers", "taming", "onnx"],
        typer.Option(
            "--to",
            help="diffusers: a folder that VQModel.from_pretrained loads; taming: a checkpoint and a config as "
            "taming-transformers reads them, transformers included; onnx: one graph from images to codes and one back. "
            "Has no default.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="New folder to write; has no default."),
    ],
    part: Annotated[
        Literal["all", "tokenizer", "condition"],
        typer.Option(
            "--part",
            help="Of a transformer's file: all of it, the tokenizer of its images, or the tokenizer of its condition.",
        ),
    ] = "all",
    opset: Annotated[
        int | None,
        typer.Option(
            "--opset",
            metavar="N",
            help="onnx: version of the operators, 18 to 23. Default: 18, which the most runtimes read.",
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a model in another project's format, for use without vqgan.

    What the format cannot hold is refused by name. Beside the files, README.md is their card: what they are, where they
    come from, and code that loads them in that project; once edited, it stays. export.json says the same for programs.
    All is float32.

    diffusers: config.json and diffusion_pytorch_model.safetensors; the same codes and images.

    taming: model.ckpt and config.yaml. The checkpoint is a pickle of plain tensors under `state_dict`, because that is
    the only kind of file which that project reads; `torch.load(..., weights_only=True)` reads it too.

    onnx: encoder.onnx and decoder.onnx, for any batch and size. Needs `pip install 'vqgan[onnx]'`; the graphs are
    compared with the model by onnxruntime right after they are written.

    Examples:

      vqgan export runs/faces-ae --to diffusers -o exported/faces

      vqgan export runs/faces-ae --to onnx -o exported/faces-onnx --opset 20

      vqgan export runs/faces-transformer --to taming -o exported/faces-taming

      vqgan export runs/faces-transformer --part tokenizer --to onnx -o exported/faces-onnx
    """
    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.core.recipes.export import ExportOptions
    from vqgan_cli.core.recipes.export import export as recipe

    result = recipe(ExportOptions(model, to, out, part, opset, force), ConsoleReporter())
    if json:
        console.json_data(
            {"folder": str(result.path), "files": [str(file) for file in result.files], **result.description}
        )
    else:
        console.data(str(result.path))
