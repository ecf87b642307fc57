"""``vqgan ui``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Device, DrawingPrecision, MaxBatch, Quiet

__all__ = ["ui"]


def ui(
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Transformer, which has all tools, or a tokenizer, which reconstructs: a weights file, a run folder, "
            "or a name of `vqgan models list`. Default: the newest finished transformer under runs/.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, metavar="N", help="Default: the first free one from 7860 on."
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the page in this machine's browser.")
    ] = True,
    max_upload: Annotated[
        int,
        typer.Option("--max-upload", min=1, metavar="MB", help="Refuse larger files, in millions of bytes."),
    ] = 50,
    max_batch: MaxBatch = 16,
    precision: DrawingPrecision = "fp32",
    device: Device = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """A page for this machine alone: reconstruct photos and change their codes, draw, complete, enlarge.

    Takes `pip install 'vqgan[ui]'`. The page is at 127.0.0.1, asks no other machine for anything, and is open to
    whoever can reach this address: every user of this machine. Ctrl-C ends it.

    Examples:

      vqgan ui

      vqgan ui --model runs/faces-transformer --port 8000 --no-open

      vqgan ui --model runs/demo-ae
    """
    from importlib.util import find_spec

    from vqgan_cli.core.errors import UsageError

    if find_spec("gradio") is None:
        raise UsageError("vqgan ui needs gradio, which is not installed", hint="pip install 'vqgan[ui]'")

    from vqgan_cli.core.device import resolve_device
    from vqgan_cli.core.interactive.workbench import load_workbench
    from vqgan_cli.core.newest import newest_transformer
    from vqgan_cli.ui.server import serving

    if model is None:
        model = newest_transformer()
        console.info(f"no --model given: taking the newest transformer, {model}")
    bench = load_workbench(model, resolve_device(device), precision=precision, max_batch=max_batch)
    with serving(bench, port=port, max_upload=max_upload * 1_000_000) as server:
        console.data(server.address)
        console.info(f"{bench.info.path} is at {server.address} for this machine alone; Ctrl-C ends it")
        if open_:
            server.open_when_ready()
        server.run()
