"""``vqgan synthetic``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Force, Json, Quiet

__all__ = ["synthetic"]


def synthetic(
    set_name: Annotated[str, typer.Argument(metavar="faces|scenes", help="The built-in set to draw from.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for the pictures, one subfolder per class, or per kind of maps.",
        ),
    ] = Path("pictures"),
    count: Annotated[int, typer.Option("--number", "-n", min=1, help="Pictures to draw.")] = 100,
    size: Annotated[
        str, typer.Option("--size", metavar="HEIGHTxWIDTH", help="Size in pixels; one number for a square.")
    ] = "256",
    maps: Annotated[
        str | None,
        typer.Option(
            "--maps",
            metavar="KINDS",
            help="Write maps too, in folders beside image/, as a training set of pairs: segmentation, depth, edges, "
            "keypoints, several with commas, or all. Default: pictures only.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed gives other pictures.")] = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write pictures of a built-in synthetic set to files, to try things out.

    Training and encode draw these sets by themselves: --data synthetic:faces needs no files.

    Examples:

      vqgan synthetic faces -n 24 --size 64 -o pictures/

      vqgan synthetic scenes -n 4 --size 256x1024

      vqgan synthetic scenes -n 500 --size 128 --maps segmentation,depth -o pairs/
    """
    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.core.recipes.synthetic import SyntheticOptions
    from vqgan_cli.core.recipes.synthetic import synthetic as recipe
    from vqgan_cli.core.sizes import parse_size

    files = recipe(
        SyntheticOptions(set_name, out, count, parse_size(size), maps, seed, force), ConsoleReporter()
    )
    if json:
        console.json_data([str(file) for file in files])
    else:
        console.data(str(out))
