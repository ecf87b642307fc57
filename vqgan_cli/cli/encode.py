"""``vqgan encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import (
    AE,
    Debug,
    Device,
    Force,
    InferenceBatchSize,
    InferencePrecision,
    Json,
    Quiet,
)

__all__ = ["encode"]


def encode(
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            help="A folder (searched recursively), one image, a quoted glob, a text file of paths, synthetic:faces "
            "or synthetic:scenes. If every image lies in a subfolder, these are kept as class labels. With a "
            "tokenizer of maps: maps of its kind.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE.npy", help="Codes file; a .json of the same name goes beside it."
        ),
    ] = Path("codes.npy"),
    ae: AE = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="HEIGHTxWIDTH",
            help="Resize and centre-crop to this size in pixels, a multiple of f. "
            "Default: the size the tokenizer was trained at.",
        ),
    ] = None,
    native: Annotated[
        bool,
        typer.Option(
            "--native",
            help="Encode each image at its own size, rounded to a multiple of f, one at a time. "
            "Default: crop to --size.",
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Encode only the first N images. Default: all."),
    ] = None,
    batch_size: InferenceBatchSize = 8,
    precision: InferencePrecision = "fp32",
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn images into integer codes.

    Writes an array [N, h, w] of the smallest unsigned type, and a .json with names, sizes, labels and the tokenizer's
    fingerprint. Images of several sizes (--native) lie one after the other in one dimension. Memory stays flat, bad
    files are named and skipped (exit code 3), and the same command goes on where it was stopped.

    Examples:

      vqgan encode photos/ -o codes.npy

      vqgan encode photos/ -o codes.npy --ae runs/faces-ae --native

      torchrun --nproc_per_node 8 -m vqgan_cli encode photos/ -o codes.npy
    """
    from vqgan_cli.core.sizes import parse_size

    crop = parse_size(size) if size else None

    from vqgan_cli.cli.display import ConsoleReporter, is_main_process
    from vqgan_cli.core.newest import newest_tokenizer
    from vqgan_cli.core.recipes.encode import EncodeOptions
    from vqgan_cli.core.recipes.encode import encode as recipe

    reporter = ConsoleReporter()
    tokenizer = ae or newest_tokenizer()
    if ae is None:
        reporter.info(f"no --ae given: taking the newest tokenizer, {tokenizer}")
    options = EncodeOptions(images, out, tokenizer, crop, native, batch_size, precision, device, limit, force)
    result = recipe(options, reporter)
    if is_main_process():
        if json:
            failed = [{"name": item.name, "reason": item.reason} for item in result.failed]
            console.json_data(
                {"codes": str(out), "images": result.images, "tokenizer": str(tokenizer), "failed": failed}
            )
        else:
            console.data(str(out))
    if result.failed:
        total = len(result.failed) + result.images
        reporter.warning(f"{len(result.failed)} of {total} images could not be encoded:")
        for item in result.failed[:20]:
            reporter.info(f"  {item.name!r}: {item.reason}")
        if len(result.failed) > 20:
            reporter.info(f"  and {len(result.failed) - 20} more, all named in {out.with_suffix('.json')}")
        raise typer.Exit(3)
