"""``vqgan decode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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

__all__ = ["decode"]


def decode(
    codes: Annotated[Path, typer.Argument(metavar="CODES.npy", help="A codes file, as encode writes it.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Folder for the images; with --grid a picture's name also."
        ),
    ] = Path("decoded"),
    ae: AE = None,
    format_: Annotated[
        Literal["png", "jpg", "webp"], typer.Option("--format", help="File format of the images.")
    ] = "png",
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, help="Quality of jpg and webp.")] = 95,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid", help="Write one contact sheet of up to 400 images. Default: one file per image."
        ),
    ] = False,
    keep_size: Annotated[
        bool,
        typer.Option(
            "--keep-size",
            help="Leave images at the size of their codes. Default: images that were encoded whole get their original "
            "size back; what a crop cut off stays cut off.",
        ),
    ] = False,
    batch_size: InferenceBatchSize = 8,
    precision: InferencePrecision = "fp32",
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn integer codes back into images, under the names of the originals.

    Codes of another tokenizer are refused (--force decodes them all the same), as are codes outside the codebook.
    A bare integer array [N, h, w] without its .json is accepted, its images are called 000000.png and so on. The same
    command goes on where it was stopped.

    Examples:

      vqgan decode codes.npy -o out/

      vqgan decode codes.npy -o sheet.png --grid

      vqgan decode codes.npy -o out/ --ae runs/faces-ae --format jpg --quality 90
    """
    from vqgan_cli.cli.display import ConsoleReporter, is_main_process
    from vqgan_cli.core.newest import newest_tokenizer
    from vqgan_cli.core.recipes.decode import DecodeOptions
    from vqgan_cli.core.recipes.decode import decode as recipe

    reporter = ConsoleReporter()
    tokenizer = ae or newest_tokenizer()
    if ae is None:
        reporter.info(f"no --ae given: taking the newest tokenizer, {tokenizer}")
    options = DecodeOptions(
        codes, out, tokenizer, format_, quality, grid, keep_size, batch_size, precision, device, force
    )
    written = recipe(options, reporter)
    if not is_main_process():
        return
    if json:
        console.json_data({"images": [str(path) for path in written], "tokenizer": str(tokenizer)})
    else:
        console.data(str(written[0] if grid else out))
