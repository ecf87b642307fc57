"""``vqgan presets``: list, show, copy, and every key that a preset can have."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Force, Json, Quiet
from vqgan_cli.core.errors import OutputError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `vqgan presets list`, or a .yaml file.")]


@app.command("list", epilog="Example:  vqgan presets list --json")
def list_presets(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the presets: on a terminal with a line about each, else one name a line."""
    from vqgan_cli.core.presets import preset_names, preset_path, preset_summary

    names = preset_names()
    if as_json:
        rows = [{"name": n, "summary": preset_summary(n), "path": str(preset_path(n))} for n in names]
        console.json_data(rows)
    elif sys.stdout.isatty():
        console.table(("preset", "what it trains"), [(n, preset_summary(n)) for n in names], stdout=True)
    else:
        console.data("\n".join(names))


@app.command(epilog="Example:  vqgan presets show faces")
def show(name: Name, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print a preset as YAML, with its comments."""
    from vqgan_cli.core.presets import read_preset

    console.data(read_preset(name).rstrip("\n"))


@app.command(epilog="Example:  vqgan presets copy faces my-faces.yaml")
def copy(
    name: Name,
    destination: Annotated[
        Path | None,
        typer.Argument(metavar="DEST", help="File or folder to write.", show_default="NAME.yaml here"),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Copy a preset to a file of your own to edit; its path works wherever a preset name does."""
    from vqgan_cli.core.presets import preset_path, read_preset

    text = read_preset(name)
    target = destination or Path()
    if target.is_dir():
        target /= preset_path(name).name
    try:
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise OutputError(f"{str(target)!r} exists", hint="Add --force to overwrite it.") from None
    except OSError as error:
        raise OutputError(f"{str(target)!r} cannot be written: {error.strerror}") from None
    console.info(f"Edit the file, then: vqgan train-ae --preset {target}")
    console.data(str(target))


@app.command(epilog="Example:  vqgan presets keys gumbel")
def keys(
    word: Annotated[
        str | None,
        typer.Argument(metavar="WORD", help="Only keys with this in name or meaning.", show_default="all"),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List every key of a preset: what it means, the values it takes, and its default."""
    from vqgan_cli.core.schema import settings

    found = [s for s in settings() if (word or "").lower() in f"{s.key} {s.description}".lower()]
    if as_json:
        console.json_data([asdict(s) for s in found])
        return
    for s in found:
        console.data(f"{s.key}: {s.expected}; default {json.dumps(s.default)}\n    {s.description}")
