"""``vqgan evaluate samples``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.evaluate.options import FeaturesName, FeatureWeights
from vqgan_cli.cli.options import Debug, Device, EvaluationOut, Force, InferenceBatchSize, Json, Quiet

if TYPE_CHECKING:
    from vqgan_cli.core.recipes.evaluate_samples import SamplesEvaluation

__all__ = ["samples"]

_CLASSES, _COPIES = 20, 3  # that are shown on the terminal


def samples(
    samples: Annotated[
        str,
        typer.Option(
            "--samples",
            "-s",
            metavar="SOURCE",
            help="Images to judge: a folder of vqgan generate, whose classes are known, or any other source of images.",
        ),
    ],
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            "-r",
            metavar="SOURCE|FILE.npz",
            help="Images to compare with, brought to the size of the samples; or a file of vqgan evaluate statistics.",
        ),
    ],
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="SOURCE",
            help="Images that the model was trained on, among which copies are looked for. Default: the reference.",
        ),
    ] = None,
    features: FeaturesName = "fid",
    weights: FeatureWeights = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="HEIGHTxWIDTH",
            help="Resize and centre-crop samples and reference to this size in pixels. Default: the size of the "
            "samples, which must be the same for all.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=2, metavar="N", help="Use N samples, spread evenly over all. Default: all."
        ),
    ] = None,
    reference_limit: Annotated[
        int | None,
        typer.Option(
            "--reference-limit",
            min=2,
            metavar="N",
            help="Use N reference images, spread evenly over all. Default: all; 1000 of a synthetic set.",
        ),
    ] = None,
    neighbours: Annotated[
        int,
        typer.Option(
            "--neighbours",
            min=0,
            metavar="N",
            help="Show the N samples that are nearest to training images beside these; 0: do not look for copies.",
        ),
    ] = 8,
    resamples: Annotated[
        int,
        typer.Option(
            "--resamples",
            min=0,
            metavar="N",
            help="Resamples of the bootstrap, from which the intervals are; 0: no intervals.",
        ),
    ] = 100,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", min=0, metavar="N", help="Seed of the bootstrap, the only thing that is random."
        ),
    ] = 0,
    batch_size: InferenceBatchSize = 32,
    device: Device = "auto",
    out: EvaluationOut = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how near a set of images is to a reference set, in the features of a network.

    FID, KID, Inception score, precision and recall, density and coverage; for each class where there are classes; and
    the training images nearest to samples, so that memorising shows. Reference images are resized and cropped as the
    samples are. Each figure comes with the numbers of images and an interval by bootstrap. In other features than
    Inception's the same figures carry the name of their network. Bad files are named and left out (exit code 3).

    Examples:

      vqgan evaluate samples --samples samples/ --reference faces/val --train faces/train -o report

      vqgan evaluate samples -s samples/ -r photos/ --features torchvision:resnet50 --weights resnet50-11ad3fa6.pth

      vqgan evaluate samples -s samples/ -r imagenet-256.npz --json
    """
    from vqgan_cli.core.sizes import parse_size

    crop = parse_size(size) if size else None

    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.cli.evaluate.showing import show_evaluation
    from vqgan_cli.core.recipes.evaluate_samples import EvaluateSamplesOptions, evaluate_samples

    options = EvaluateSamplesOptions(
        samples=samples,
        reference=reference,
        train=train,
        features=features,
        weights=weights,
        size=crop,
        limit=limit,
        reference_limit=reference_limit,
        neighbours=neighbours,
        resamples=resamples,
        seed=seed,
        batch_size=batch_size,
        device=device,
        out=out,
        force=force,
    )
    result = evaluate_samples(options, ConsoleReporter())
    if not as_json:
        _show_more(result)
    show_evaluation(result.figures, result.metrics, result.failed, as_json=as_json, out=out)


def _show_more(result: SamplesEvaluation) -> None:
    """Classes and copies, on stderr."""
    from vqgan_cli.core.evaluation.figures import shown
    from vqgan_cli.core.evaluation.samples_report import classes_table

    if result.classes:
        table = classes_table(result.classes[:_CLASSES])
        console.table(table.columns, table.rows)
        if len(result.classes) > _CLASSES:
            console.info(f"and {len(result.classes) - _CLASSES} classes more, all with --json and -o")
    for each in result.copies.as_json()[:_COPIES] if result.copies else []:
        first = each["nearest"][0]
        console.info(f"{each['sample']} is {shown(first['distance'])} from {first['image']}")
