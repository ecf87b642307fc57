"""``vqgan import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Force, Json, Quiet, SetOption

__all__ = ["import_"]


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A checkpoint (.ckpt, .pt, .pth, .bin, .safetensors), the folder of a diffusers model, "
            "hf://owner/repository/file or file@revision, or an https address.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Folder of the model. Default: models/ and the file's name."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Its yaml or json config, for what no tensor tells: attention heads, condition, image size. Default: "
            "a file of the same name beside the checkpoint, if there is one.",
        ),
    ] = None,
    ae: Annotated[
        Path | None,
        typer.Option(
            "--ae",
            metavar="MODEL",
            help="The imported tokenizer of a transformer whose file holds none, as those of LlamaGen. Default: the "
            "one inside the file.",
        ),
    ] = None,
    set_: SetOption = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn another project's checkpoint into a model of ours.

    Known: taming-transformers (VQModel, GumbelVQ, EMA, segmentation, Net2Net transformers), latent-diffusion's first
    stages, LlamaGen's tokenizers and class-conditional generators, diffusers' VQModel, MaskGIT's VQGAN. The kind is
    recognised by the names of the tensors, the architecture by their shapes. Pickles are read by a reader that executes
    nothing. At the end one built-in picture is encoded and decoded, to see that the model works.

    Examples:

      vqgan import last.ckpt --config model.yaml -o models/imagenet-f16

      vqgan import vq_ds16_c2i.pt -o models/llamagen-ds16

      vqgan import c2i_B_256.pt --ae models/llamagen-ds16 -o models/llamagen-b

      vqgan import hf://FoundationVision/LlamaGen/vq_ds16_c2i.pt -o models/llamagen-ds16
    """
    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.core.published.hub import fetch, parse_remote
    from vqgan_cli.core.recipes.import_ import ImportOptions, import_model

    reporter = ConsoleReporter()
    remote = parse_remote(source)
    path = fetch(remote, reporter) if remote is not None else Path(source)
    target = out or Path("models") / path.name.partition(".")[0]
    result = import_model(
        ImportOptions(
            source=path,
            out=target,
            config=config,
            settings=tuple(set_ or ()),
            ae=ae,
            provenance={"source": source} if remote is not None else {},
            force=force,
        ),
        reporter,
    )
    if json:
        console.json_data(
            {
                "model": str(result.path),
                "files": [str(file) for file in result.files],
                "layout": result.layout,
                "sha256": result.sha256,
                "tensors_used": result.used,
                "dropped": [{"reason": each.reason, "tensors": len(each.names)} for each in result.dropped],
                "parameters": result.parameters,
                "notes": list(result.notes),
                "check": {
                    "tokenizer": asdict(result.tokenizer),
                    "transformer": asdict(result.transformer) if result.transformer else None,
                },
            }
        )
    else:
        console.data(str(target))
