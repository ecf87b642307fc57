"""``vqgan upscale``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import (
    Debug,
    Device,
    DrawingPrecision,
    Force,
    Json,
    MaxBatch,
    Quiet,
    SamplingSeed,
    Stride,
    Temperature,
    TopK,
)

__all__ = ["upscale"]


def upscale(
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            help="A picture, a folder, a quoted glob, a text file of paths, or - for standard input.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|FOLDER",
            help="A picture (png, webp, jpg), a folder for several, or - for standard output.",
        ),
    ] = Path("upscaled"),
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Transformer with low-resolution conditions: a weights file, a run folder, or the name of a pulled "
            "model. Default: the newest one under runs/.",
        ),
    ] = None,
    factor: Annotated[
        int | None,
        typer.Option(
            "--factor",
            min=2,
            metavar="N",
            help="How many times larger: the model's factor, or a power of it in several passes. Default: the model's.",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", "-n", min=1, metavar="N", help="Different results of each picture.")
    ] = 1,
    temperature: Temperature = None,
    top_k: TopK = None,
    seed: SamplingSeed = 0,
    stride: Stride = 1,
    max_batch: MaxBatch = 16,
    consistent: Annotated[
        bool,
        typer.Option(
            "--consistent",
            help="Correct each result so that, made small again, it is the picture given: low frequencies are its own, "
            "details stay invented.",
        ),
    ] = False,
    tokenizer_only: Annotated[
        bool,
        typer.Option(
            "--tokenizer-only",
            help="Bicubic enlargement passed through the tokenizer, without the transformer: the honest baseline.",
        ),
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="FILE|FOLDER",
            help="Large originals, by name, to compare with: PSNR, SSIM and perceptual distance, beside those of a "
            "bicubic enlargement. Default: no comparison.",
        ),
    ] = None,
    perceptual: Annotated[
        str,
        typer.Option(
            "--perceptual",
            metavar="NETWORK[:FILE]",
            help="Network of the perceptual distance: vgg, alex or squeeze (LPIPS), or a torchvision classifier; its "
            "weights are downloaded or read from FILE.",
        ),
    ] = "vgg",
    precision: DrawingPrecision = "fp32",
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Enlarge pictures with a transformer that draws by their low resolution.

    Alpha, EXIF and colour profile are kept where the format allows. A window slides over pictures of any size. Says how
    true each result is: the PSNR of the result, made small again, against the picture given. Of a folder, what is there
    already is kept, so that the same command goes on where it was stopped.

    Examples:

      vqgan upscale photo.png -o big.png

      vqgan upscale photos/ -o large/ --consistent --temperature 0.8

      vqgan upscale small/ -o large/ --reference originals/ --perceptual squeeze
    """
    from vqgan_cli.core.errors import UsageError

    if tokenizer_only and samples > 1:
        raise UsageError(
            "--tokenizer-only draws nothing, so all samples would be alike", hint="leave --samples out"
        )

    from vqgan_cli.cli.display import ConsoleReporter, is_main_process
    from vqgan_cli.core.newest import newest_transformer
    from vqgan_cli.core.recipes.upscale import STANDARD, UpscaleOptions
    from vqgan_cli.core.recipes.upscale import upscale as recipe

    reporter = ConsoleReporter()
    if model is None:
        model = newest_transformer(kind="lowres")
        reporter.info(f"no --model given: taking the newest one of low resolution, {model}")
    result = recipe(
        UpscaleOptions(
            source=images,
            out=out,
            model=model,
            factor=factor,
            samples=samples,
            temperature=temperature,
            top_k=top_k,
            stride=stride,
            max_batch=max_batch,
            seed=seed,
            consistent=consistent,
            tokenizer_only=tokenizer_only,
            reference=reference,
            perceptual=perceptual,
            precision=precision,
            device=device,
            force=force,
        ),
        reporter,
    )
    if not is_main_process():
        return
    if json and str(out) != STANDARD:
        console.json_data(
            {
                "model": str(model),
                "images": [
                    {
                        "source": image.source,
                        "path": str(image.path),
                        "size": list(image.size),
                        "consistency_db": None if math.isinf(image.consistency) else image.consistency,
                        **image.measured,
                    }
                    for image in result.images
                ],
                "failed": [{"name": name, "reason": reason} for name, reason in result.failed],
            }
        )
    elif str(out) != STANDARD:
        console.data(str(out))
    if result.failed:
        reporter.warning(f"{len(result.failed)} pictures could not be read")
        raise typer.Exit(3)
