"""``vqgan evaluate reconstruction``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli.options import (
    AE,
    Debug,
    Device,
    EvaluationOut,
    Force,
    InferenceBatchSize,
    InferencePrecision,
    Json,
    Quiet,
)

__all__ = ["reconstruction"]


def reconstruction(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            "-d",
            metavar="SOURCE",
            help="Images that the tokenizer was not trained on: a folder, one image, a quoted glob, a text file of "
            "paths, synthetic:faces or synthetic:scenes. With a tokenizer of maps: maps of its kind.",
        ),
    ],
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
            help="Measure each image at its own size, rounded to a multiple of f, one at a time. "
            "Default: crop to --size.",
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            metavar="N",
            help="Measure only the first N images. Default: all; 1000 of a synthetic set.",
        ),
    ] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(
            "--perceptual",
            metavar="NETWORK[:FILE]",
            help="Network of the perceptual distance: vgg, alex or squeeze (LPIPS), a torchvision classifier, or none; "
            "its weights are downloaded or read from FILE. Default: vgg for pictures.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="NAME",
            help="Network in whose features the sets are compared: fid (Inception's, which make rFID), "
            "torchvision:NAME, or none. Default: fid for pictures, if its weights can be had.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Weights of that network (.pth or .safetensors). Default: the published ones, cached or downloaded.",
        ),
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(
            "--resamples",
            min=0,
            metavar="N",
            help="Of the bootstrap of the distance in features; 0: no interval for it.",
        ),
    ] = 100,
    batch_size: InferenceBatchSize = 8,
    precision: InferencePrecision = "fp32",
    device: Device = "auto",
    out: EvaluationOut = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how much of images is left after a tokenizer has turned them into codes and back.

    Of pictures: PSNR, SSIM, L1, a perceptual distance, rFID; of label maps pixel accuracy and IoU, of depth its error.
    Of the codes: how many of the codebook are used, and how many bits per pixel they take. Each figure comes with the
    number of images and an interval by bootstrap. Bad files are named and left out (exit code 3).

    Examples:

      vqgan evaluate reconstruction --ae runs/faces-ae --data faces/val

      vqgan evaluate reconstruction --data photos/ --native --perceptual alex -o report --json
    """
    from vqgan_cli.core.sizes import parse_size

    crop = parse_size(size) if size else None

    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.cli.evaluate.showing import show_evaluation
    from vqgan_cli.core.newest import newest_tokenizer
    from vqgan_cli.core.recipes.evaluate_reconstruction import (
        EvaluateReconstructionOptions,
        evaluate_reconstruction,
    )

    reporter = ConsoleReporter()
    tokenizer = ae or newest_tokenizer()
    if ae is None:
        reporter.info(f"no --ae given: taking the newest tokenizer, {tokenizer}")
    options = EvaluateReconstructionOptions(
        data=data,
        tokenizer=tokenizer,
        size=crop,
        native=native,
        limit=limit,
        perceptual=perceptual,
        features=features,
        weights=weights,
        resamples=resamples,
        batch_size=batch_size,
        precision=precision,
        device=device,
        out=out,
        force=force,
    )
    result = evaluate_reconstruction(options, reporter)
    show_evaluation(result.figures, result.metrics, result.failed, as_json=as_json, out=out)
