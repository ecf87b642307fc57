"""``vqgan evaluate likelihood``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli.options import (
    Debug,
    Device,
    DrawingPrecision,
    EvaluationOut,
    Force,
    InferenceBatchSize,
    Json,
    Quiet,
)

__all__ = ["likelihood"]


def likelihood(
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="SOURCE",
            help="Images that the model was not trained on, named as in training: with a model of classes in folders "
            "of their names, with one of maps beside their maps. Without it: --codes.",
        ),
    ] = None,
    codes: Annotated[
        Path | None,
        typer.Option(
            "--codes",
            metavar="FILE.npy",
            help="Codes of the model's tokenizer, of `vqgan encode`, in place of images. Without it: --data.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Transformer or another prior: a weights file, a run folder, or a name of `vqgan models list`. "
            "Default: the newest one under runs/.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="csv or json file that maps file names to classes. Default: the folders are the classes.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            metavar="N",
            help="Only the first N images. Default: all; 1000 of a synthetic set.",
        ),
    ] = None,
    batch_size: InferenceBatchSize = 8,
    precision: DrawingPrecision = "fp32",
    device: Device = "auto",
    out: EvaluationOut = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how likely a model finds the codes of images, in nats per code and bits per pixel.

    In all, by position in the grid and by class, with intervals by bootstrap over the images. The bits are those of the
    codes alone: what the tokenizer loses of an image, `vqgan evaluate reconstruction` measures. Images are prepared as
    for the validation of a training, encoded once, and their codes kept in the cache.

    Examples:

      vqgan evaluate likelihood --model runs/faces-transformer --data faces/val

      vqgan evaluate likelihood --codes codes.npy -o report --json
    """
    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.cli.evaluate.showing import show_evaluation
    from vqgan_cli.core.newest import newest_transformer
    from vqgan_cli.core.recipes.evaluate_likelihood import EvaluateLikelihoodOptions, evaluate_likelihood

    reporter = ConsoleReporter()
    if model is None:
        model = newest_transformer()
        reporter.info(f"no --model given: taking the newest one, {model}")
    options = EvaluateLikelihoodOptions(
        model=model,
        data=data,
        codes=codes,
        labels=labels,
        limit=limit,
        batch_size=batch_size,
        precision=precision,
        device=device,
        out=out,
        force=force,
    )
    result = evaluate_likelihood(options, reporter)
    show_evaluation(result.figures, result.metrics, result.failed, as_json=as_json, out=out)
