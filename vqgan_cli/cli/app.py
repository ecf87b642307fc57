"""The command ``vqgan``: its commands, and the one place where errors become messages and exit codes.

A command is a module of this folder that imports nothing heavy at its top, and a line below.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from vqgan_cli import __version__
from vqgan_cli.cli import console, evaluate, models, presets
from vqgan_cli.cli.bench import bench
from vqgan_cli.cli.decode import decode
from vqgan_cli.cli.display import is_main_process
from vqgan_cli.cli.encode import encode
from vqgan_cli.cli.export import export
from vqgan_cli.cli.generate import generate
from vqgan_cli.cli.help_text import use_docstrings
from vqgan_cli.cli.import_ import import_
from vqgan_cli.cli.info import info
from vqgan_cli.cli.options import DEBUG_VARIABLE, Debug, Quiet
from vqgan_cli.cli.report import report
from vqgan_cli.cli.study import study
from vqgan_cli.cli.synthetic import synthetic
from vqgan_cli.cli.train_ae import train_ae
from vqgan_cli.cli.train_transformer import train_transformer
from vqgan_cli.cli.ui import ui
from vqgan_cli.cli.upscale import upscale
from vqgan_cli.core.allocator import keep_freed_memory
from vqgan_cli.core.errors import LostProcessError, StoppedError, VqganError
from vqgan_cli.core.memory import is_out_of_memory

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="vqgan",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Start here:  vqgan train-ae --preset demo",
)
_TRAIN, _USE, _MEASURE, _OTHERS, _LOOK = (
    "Train",
    "Use a model",
    "Measure",
    "Models of other projects",
    "Look around",
)
app.command("train-ae", rich_help_panel=_TRAIN)(train_ae)
app.command("train-transformer", rich_help_panel=_TRAIN)(train_transformer)
app.command(rich_help_panel=_TRAIN)(report)
app.command(rich_help_panel=_USE)(encode)
app.command(rich_help_panel=_USE)(decode)
app.command(rich_help_panel=_USE)(generate)
app.command(rich_help_panel=_USE)(upscale)
app.command(rich_help_panel=_USE)(ui)
app.command(rich_help_panel=_MEASURE)(bench)
app.command(rich_help_panel=_MEASURE)(study)
app.command("import", rich_help_panel=_OTHERS)(import_)
app.command(rich_help_panel=_OTHERS)(export)
app.command(rich_help_panel=_LOOK)(info)
app.command(rich_help_panel=_LOOK)(synthetic)
for each in (app, evaluate.app, models.app, presets.app):
    use_docstrings(each)
for group, name, panel, words in (
    (evaluate.app, "evaluate", _MEASURE, "How good reconstructions, samples and models are."),
    (models.app, "models", _OTHERS, "Published models by name: list, show, pull."),
    (presets.app, "presets", _LOOK, "The experiments that ship with vqgan: list, show, copy, keys."),
):
    app.add_typer(group, name=name, rich_help_panel=panel, help=words)


def _print_version(value: bool) -> None:
    if value:
        console.data(f"vqgan {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train image tokenizers and transformers over their codes; encode, decode and draw images at any size."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        arguments: without the program's name; None: those of this process.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage or config, 3 some inputs failed, 129 hung up, 130 interrupted,
        143 terminated.
    """
    try:
        try:
            app(arguments, prog_name="vqgan")
            code = 0
        except SystemExit as stop:  # Typer's way out, usage errors included.
            code = stop.code if isinstance(stop.code, int) else 1
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of stdout left, as `head` does. The interpreter flushes again on its way out, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except VqganError as error:
        _print_traceback_if_asked()
        # These meet all processes of a launch; others may meet one of them alone.
        if is_main_process() or not isinstance(error, (LostProcessError, StoppedError)):
            console.error(error.message, error.hint)
        return error.exit_code
    except Exception as error:
        _print_traceback_if_asked()
        if is_out_of_memory(error):
            console.error("out of memory", "free some, or give the command less to hold at once")
            return 1
        hint = None if _debug() else "This is a bug in vqgan. The same command with --debug shows where."
        console.error(f"internal error: {type(error).__name__}: {error}", hint)
        return 1
    return code


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    # For as long as no recipe has a better answer, such as during the import of torch.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, lambda number, frame: sys.exit(129))
    keep_freed_memory()
    code = run()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Of several processes: everything is written, and taking gloo's threads down may abort the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _debug() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")


def _print_traceback_if_asked() -> None:
    if _debug():
        traceback.print_exc()
