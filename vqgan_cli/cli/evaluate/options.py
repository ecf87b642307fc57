"""Options of the subcommands that compare features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["FeatureWeights", "FeaturesName"]

FEATURES = "Features"

FeaturesName = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="NETWORK",
        rich_help_panel=FEATURES,
        help="fid: Inception by torch-fidelity (the extra eval); or torchvision:NAME, a classifier, by "
        "whose name the distances are then called.",
    ),
]

FeatureWeights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        rich_help_panel=FEATURES,
        help="Weights of the network, .pth or .safetensors; those of fid must be the published file, by its hash. "
        "Default: cached, or downloaded.",
    ),
]
