"""What the training commands share on the command line's side."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from vqgan_cli.cli import console
from vqgan_cli.core.errors import UsageError

if TYPE_CHECKING:
    from vqgan_cli.core.config import ExperimentConfig
    from vqgan_cli.core.reporting import Reporter
    from vqgan_cli.core.training.run import TrainResult

__all__ = [
    "check_resume_flags",
    "launch_if_asked",
    "parse_duration",
    "plan_run",
    "report_failures",
    "report_model",
    "report_source",
]

Stage = Literal["ae", "condition", "transformer"]

_SECONDS_TO_SAVE = "300"
"""That the launcher gives processes which are asked to stop, before it kills them; torch's own 30 are few."""


def check_resume_flags(checkpoint: Path | None, resume: bool, anew: Mapping[str, object]) -> None:
    """Refuse what contradicts itself.

    Args:
        checkpoint: the positional argument.
        resume: whether --resume is given.
        anew: options by name that only make sense for a new run, with their values.
    """
    if checkpoint is not None and not resume:
        raise UsageError(
            f"what is {str(checkpoint)!r}?", hint="images are named with --data, a run to go on with --resume"
        )
    for name, given in anew.items():
        if given and resume:
            raise UsageError(f"--resume goes on with a run, {name} starts anew", hint="give one of them")


def plan_run(
    stage: Stage,
    preset: str | None,
    overrides: list[str],
    flags: Mapping[str, Any],
    *,
    out: Path | None,
    resume: bool,
    checkpoint: Path | None,
    force: bool,
) -> tuple[ExperimentConfig, Path, Path | None]:
    """The config, the run folder, and what to resume from."""
    from vqgan_cli.core.presets import resolve

    command = "vqgan train-transformer" if stage == "transformer" else "vqgan train-ae"
    given = {key: value for key, value in flags.items() if value is not None}
    if not resume:
        named = {"data.source", "train_transformer.codes"} & given.keys()
        if preset is None and not overrides and not named:
            raise UsageError(
                f"{command} needs a preset to start from, or images",
                hint=f"to see it run: {command} --preset demo; with images of your own: {command} --preset demo --data "
                "FOLDER; other presets: vqgan presets list",
            )
        config = resolve(preset, overrides, given)
        if stage == "condition":
            config = config.of_condition()
        default = Path("runs") / f"{config.name}-{stage}"
        # All processes of one launch must agree, so only a default is moved aside, and only by a single process.
        run = out or (default if force or "LOCAL_RANK" in os.environ else _next_free(default))
        return config, run, None

    source = checkpoint or out or Path("runs") / f"{preset or 'custom'}-{stage}"
    run = source.parent.parent if source.parent.name == "checkpoints" else source
    stored = run / "config.yaml"
    if not stored.is_file():
        if source.is_file():
            raise UsageError(
                f"--resume: {str(source)!r} is a file, and a run is a folder",
                hint="name the run; a checkpoint of another project becomes a model with `vqgan import`",
            )
        raise UsageError(
            f"--resume: {str(run)!r} is no run folder",
            hint=f"name the run: {command} --resume --out runs/NAME",
        )
    # The run's own settings are the base; what is typed now comes on top, and the recipe checks that it may change.
    return resolve(str(stored), overrides, given), out or run, source


def _next_free(path: Path) -> Path:
    from vqgan_cli.core.training.run_folder import next_free

    return next_free(path)


def launch_if_asked(gpus: int | None) -> None:
    """Become accelerate's launcher, which starts this command once per GPU; return in those processes.

    One GPU needs no launcher, and this process trains on it.
    """
    if gpus is None or "LOCAL_RANK" in os.environ:
        return
    import torch

    if torch.cuda.device_count() < gpus:
        raise UsageError(
            f"--gpus {gpus}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use",
            hint="see vqgan info; without --gpus one process trains on what is there",
        )
    if gpus == 1:
        return
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _SECONDS_TO_SAVE)
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
        "--multi_gpu",
    ]
    command += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ]  # the config decides, and no question is asked
    os.execv(sys.executable, [*command, "-m", "vqgan_cli", *arguments])


def parse_duration(text: str, option: str = "--max-time") -> float:
    """Seconds in ``90s``, ``20m``, ``1h30m`` or a bare number of seconds; ``option`` is where it stands.

    Raises:
        UsageError: it is none of these, or zero.
    """
    import re

    match = re.fullmatch(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?", text.strip().lower())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise UsageError(f"{option} {text!r} is no duration", hint="such as 90s, 20m or 1h30m")
    return total


def report_source(config: ExperimentConfig, reporter: Reporter) -> None:
    """Say what is trained on where nobody named it."""
    kind = config.data.source
    if kind is not None:
        if kind.startswith("synthetic:"):
            kind = f"built-in synthetic {kind.removeprefix('synthetic:')}"
        reporter.info(f"no --data given: training on {kind}")


def report_model(result: TrainResult, *, json: bool, reporter: Reporter) -> None:
    """The result on stdout, by one process."""
    from vqgan_cli.cli.display import is_main_process

    outcome = result.outcome
    if outcome.reason == "time limit":
        reporter.info(f"time limit reached after step {outcome.step}, as asked for; --resume goes on")
    elif outcome.reason:
        reporter.info(f"ended after step {outcome.step}: {outcome.reason}")
    if not is_main_process():
        return
    if json:
        values = {"model": str(result.model), "step": outcome.step, "validation": outcome.validation}
        values["unreadable_files"] = [{"path": path, "reason": reason} for path, reason in result.failures]
        console.json_data(values)
    else:
        console.data(str(result.model))


def report_failures(result: TrainResult, reporter: Reporter) -> None:
    """Name the files that could not be read, and exit with 3 if there are any."""
    if not result.failures:
        return
    reporter.warning(f"{len(result.failures)} files could not be read and were skipped:")
    for path, reason in result.failures[:20]:
        reporter.info(f"  {path!r}: {reason}")
    raise typer.Exit(3)
