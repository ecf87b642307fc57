"""``vqgan report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Force, Quiet

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folders of train-ae and train-transformer, at work or not. Several are compared.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The page. Default: report.html in the run folder; of several runs comparison.html here.",
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Show the page in a browser. Default: only its path is printed.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the report of a run, or one page that compares several.

    One HTML file that needs no network: curves, pictures over time, use of the codebook, config, environment and how to
    go on. Training writes that of its run by itself, so this is for runs that were killed or are compared. An earlier
    report is replaced.

    Examples:

      vqgan report runs/demo-ae --open

      vqgan report runs/demo-ae runs/demo-ae-2 -o comparison.html
    """
    from vqgan_cli.core.recipes.report import report as recipe

    result = recipe(runs, out, force=force)
    for problem in result.problems:
        console.warning(problem)
    console.data(str(result.path))
    if open_:
        import webbrowser

        if not webbrowser.open(result.path.resolve().as_uri()):
            console.warning("no browser was found; open the file above")
