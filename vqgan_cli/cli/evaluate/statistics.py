"""``vqgan evaluate statistics``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.evaluate.options import FeaturesName, FeatureWeights
from vqgan_cli.cli.options import Debug, Device, Force, InferenceBatchSize, Json, Quiet

__all__ = ["statistics"]


def statistics(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            "-d",
            metavar="SOURCE",
            help="Reference images: a folder, a quoted glob, a text file of paths, synthetic:faces or "
            "synthetic:scenes.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.npz", help="Where to; no pickles are in it.")
    ] = Path("statistics.npz"),
    features: FeaturesName = "fid",
    weights: FeatureWeights = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="HEIGHTxWIDTH",
            help="Resize and centre-crop to this size in pixels, that of the samples to come. Default: the images have "
            "one size already.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=2,
            metavar="N",
            help="Use N images, spread evenly over all. Default: all; 1000 of a synthetic set.",
        ),
    ] = None,
    keep_features: Annotated[
        bool,
        typer.Option(
            "--keep-features",
            help="Keep the features of each image too, which all figures but the Frechet distance need: 8 KB an image "
            "with fid.",
        ),
    ] = False,
    batch_size: InferenceBatchSize = 32,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Save what comparisons need to know of a reference set, so that its images are read once.

    The file holds mean and covariance of the features, how many images, which network (with the fingerprint of its
    weights) and how the images were resized; evaluate samples takes it as --reference, and refuses one of other
    features or another size.

    Examples:

      vqgan evaluate statistics --data imagenet/val --size 256 -o imagenet-256.npz

      vqgan evaluate statistics --data photos/ --size 64 --keep-features --features torchvision:resnet50 -o photos.npz
    """
    from vqgan_cli.core.sizes import parse_size

    crop = parse_size(size) if size else None

    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.core.recipes.evaluate_statistics import EvaluateStatisticsOptions, evaluate_statistics

    reporter = ConsoleReporter()
    options = EvaluateStatisticsOptions(
        data=data,
        out=out,
        features=features,
        weights=weights,
        size=crop,
        limit=limit,
        keep_features=keep_features,
        batch_size=batch_size,
        device=device,
        force=force,
    )
    result = evaluate_statistics(options, reporter)
    if as_json:
        console.json_data(result.facts)
    else:
        console.data(str(out))
    if result.failed:
        reporter.warning(
            f"{len(result.failed)} image{'s' if len(result.failed) > 1 else ''} left out, named above"
        )
        raise typer.Exit(3)
