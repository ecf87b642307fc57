"""What the subcommands say at their end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vqgan_cli.cli import console

if TYPE_CHECKING:
    from vqgan_cli.core.evaluation.figures import Figure

__all__ = ["show_evaluation"]

_NAMED = 20  # of the images that failed


def show_evaluation(
    figures: Sequence[Figure],
    metrics: Mapping[str, Any],
    failed: Sequence[tuple[str, str]],
    *,
    as_json: bool,
    out: Path | None,
) -> None:
    """Write the result to stdout, and leave with code 3 if there were inputs that failed.

    Args:
        figures: for people a table on a terminal; elsewhere a line each of key, value, both ends of the interval and
            number of images, with tabs between them.
        metrics: in place of the figures where JSON is asked for.
        failed: name and reason of inputs that were left out.
        as_json: whether it is.
        out: folder of the report, if there is one.
    """
    from vqgan_cli.core.evaluation.figures import figures_table
    from vqgan_cli.core.evaluation.report import REPORT_FILE

    if as_json:
        console.json_data(metrics)
    elif sys.stdout.isatty():
        table = figures_table(figures)
        console.table(table.columns, table.rows, stdout=True)
    else:
        for figure in figures:
            ends = figure.interval or ("", "")
            console.data("\t".join(map(str, (figure.key, figure.value, *ends, figure.images))))
    if out is not None:
        console.info(f"report: {out / REPORT_FILE}")
    if failed:
        console.warning(f"{len(failed)} image{'s' if len(failed) > 1 else ''} left out:")
        for name, reason in failed[:_NAMED]:
            console.info(f"  {name!r}: {reason}")
        if len(failed) > _NAMED:
            console.info(f"  and {len(failed) - _NAMED} more, all named by --json and in metrics.json")
        raise typer.Exit(3)
