"""``vqgan evaluate``: how good reconstructions, samples and models are. One module per subcommand."""

from __future__ import annotations

import typer

from vqgan_cli.cli.evaluate.likelihood import likelihood
from vqgan_cli.cli.evaluate.reconstruction import reconstruction
from vqgan_cli.cli.evaluate.samples import samples
from vqgan_cli.cli.evaluate.statistics import statistics

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)
app.command()(reconstruction)
app.command()(samples)
app.command()(statistics)
app.command()(likelihood)
