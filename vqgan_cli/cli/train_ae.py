"""``vqgan train-ae``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import (
    BatchSize,
    Data,
    Debug,
    Device,
    Force,
    Json,
    Precision,
    Preset,
    Quiet,
    Seed,
    SetOption,
)
from vqgan_cli.core.errors import UsageError

if TYPE_CHECKING:
    from vqgan_cli.core.config import ExperimentConfig

__all__ = ["train_ae"]


def train_ae(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|CHECKPOINT",
            help="With --resume: the run or the checkpoint folder to go on from. Default: the run named by --out.",
            show_default=False,
        ),
    ] = None,
    preset: Preset = None,
    data: Data = None,
    val: Annotated[
        str | None,
        typer.Option(
            "--val",
            metavar="SOURCE",
            help="Images to validate on, named as --data is. Default: a part of the data is held out.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="RUN",
            help="Run folder. Default: runs/<preset>-ae, or the next free name after it.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Optimiser steps. Default: train_ae.steps of the preset."),
    ] = None,
    batch_size: BatchSize = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            "--max-time",
            metavar="TIME",
            help="Stop after so long, such as 90s, 20m or 1h30m, as if all steps were done. Default: no limit.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the newest good checkpoint with the run's own settings. Default: start anew.",
        ),
    ] = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            metavar="MODEL",
            help="Start from a trained tokenizer's weights; says which do not fit. Default: random weights.",
        ),
    ] = None,
    allow_change: Annotated[
        bool,
        typer.Option(
            "--allow-change",
            help="Resume although batch size or number of processes differ. Default: that is refused.",
        ),
    ] = False,
    set_: SetOption = None,
    precision: Precision = None,
    seed: Seed = None,
    device: Device = "auto",
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus",
            min=1,
            help="Train on so many GPUs of this machine, one process each, through accelerate's launcher. "
            "Default: one process.",
        ),
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            "--tracker",
            metavar="NAME",
            help="Also log to tensorboard or wandb; may be given twice. Default: none.",
        ),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a VQGAN or VQ-VAE tokenizer on images.

    The run folder keeps the config, the log, pictures of reconstructions, checkpoints and the model
    (model.safetensors), which encode and decode load. Ctrl-C saves and stops; --resume goes on.

    Examples:

      vqgan train-ae --preset faces

      vqgan train-ae --preset demo --data photos/ --set data.size=128 --max-time 20m

      vqgan train-ae --resume --out runs/demo-ae --steps 20000
    """
    if checkpoint is not None and not resume:
        raise UsageError(
            f"what is {str(checkpoint)!r}?", hint="images are named with --data, a run to go on with --resume"
        )
    for name, given in (("--force", force), ("--init-from", init_from)):
        if given and resume:
            raise UsageError(f"--resume goes on with a run, {name} starts anew", hint="give one of them")
    if gpus is not None and "LOCAL_RANK" not in os.environ:
        _launch(gpus)
    flags = {
        "data.source": data,
        "data.validation_source": val,
        "train_ae.steps": steps,
        "train_ae.batch_size": batch_size,
        "train_ae.precision": precision,
        "train_ae.seed": seed,
    }
    max_seconds = parse_duration(max_time) if max_time else None
    config, run, resume_from = _plan(preset, set_ or [], flags, out, resume, checkpoint, force)

    from vqgan_cli.cli.display import ConsoleReporter, is_main_process

    reporter = ConsoleReporter()
    if data is None and not resume and config.data.source is not None:
        kind = config.data.source
        if kind.startswith("synthetic:"):
            kind = f"built-in synthetic {kind.removeprefix('synthetic:')}"
        reporter.info(f"no --data given: training on {kind}")

    from vqgan_cli.core.recipes.train_ae import TrainAEOptions
    from vqgan_cli.core.recipes.train_ae import train_ae as recipe

    result = recipe(
        config,
        TrainAEOptions(
            out=run,
            device=device,
            resume_from=resume_from,
            init_from=init_from,
            force=force,
            allow_change=allow_change,
            max_seconds=max_seconds,
            trackers=tuple(tracker or ()),
            resume_command=f"vqgan train-ae --resume --out {shlex.quote(str(run))}",
        ),
        reporter,
    )
    outcome = result.outcome
    if outcome.reason:
        reporter.info(f"{outcome.reason} reached after step {outcome.step}; --resume goes on")
    if json:
        values = {"model": str(result.model), "step": outcome.step, "validation": outcome.validation}
        values["unreadable_files"] = [{"path": path, "reason": reason} for path, reason in result.failures]
        if is_main_process():
            console.json_data(values)
    elif is_main_process():
        console.data(str(result.model))
    reporter.info(f"reconstructions: {run / 'samples'}")
    reporter.info(
        f"next: vqgan encode IMAGES -o codes.npy --ae {shlex.quote(str(run))}, then vqgan decode codes.npy -o out/"
    )
    if result.failures:
        reporter.warning(f"{len(result.failures)} files could not be read and were skipped:")
        for path, reason in result.failures[:20]:
            reporter.info(f"  {path!r}: {reason}")
        raise typer.Exit(3)


def _plan(
    preset: str | None,
    overrides: list[str],
    flags: dict[str, Any],
    out: Path | None,
    resume: bool,
    checkpoint: Path | None,
    force: bool,
) -> tuple[ExperimentConfig, Path, Path | None]:
    """The config, the run folder, and what to resume from."""
    from vqgan_cli.core.presets import resolve

    given = {key: value for key, value in flags.items() if value is not None}
    if not resume:
        config = resolve(preset, overrides, given)
        default = Path("runs") / f"{config.name}-ae"
        # All processes of one launch must agree, so only a default is moved aside, and only by a single process.
        run = out or (default if force or "LOCAL_RANK" in os.environ else _next_free(default))
        return config, run, None

    source = checkpoint or out or Path("runs") / f"{preset or 'custom'}-ae"
    run = source.parent.parent if source.parent.name == "checkpoints" else source
    stored = run / "config.yaml"
    if not stored.is_file():
        raise UsageError(
            f"--resume: {str(run)!r} is no run folder",
            hint="name the run: vqgan train-ae --resume --out runs/NAME",
        )
    # The run's own settings are the base; what is typed now comes on top, and the recipe checks that it may change.
    return resolve(str(stored), overrides, given), out or run, source


def _next_free(path: Path) -> Path:
    from vqgan_cli.core.training.run_folder import next_free

    return next_free(path)


def _launch(gpus: int) -> None:
    """Become accelerate's launcher, which starts this command once per GPU."""
    import torch

    if torch.cuda.device_count() < gpus:
        raise UsageError(
            f"--gpus {gpus}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use",
            hint="see vqgan info; without --gpus one process trains on what is there",
        )
    arguments = sys.argv[1:]
    index = next(i for i, word in enumerate(arguments) if word.split("=")[0] == "--gpus")
    del arguments[index : index + (1 if "=" in arguments[index] else 2)]
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--num_processes",
        str(gpus),
        "--num_machines",
        "1",
    ]
    command += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ]  # the config decides, and no question is asked
    if gpus > 1:
        command.append("--multi_gpu")
    os.execv(sys.executable, [*command, "-m", "vqgan_cli", *arguments])


def parse_duration(text: str) -> float:
    """Seconds in ``90s``, ``20m``, ``1h30m`` or a bare number of seconds.

    Raises:
        UsageError: it is none of these, or zero.
    """
    import re

    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip().lower())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise UsageError(f"--max-time {text!r} is no duration", hint="such as 90s, 20m or 1h30m")
    return total
