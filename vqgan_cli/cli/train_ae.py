"""``vqgan train-ae``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from vqgan_cli.cli.options import (
    AllowChange,
    BatchSize,
    Data,
    Debug,
    Deterministic,
    Device,
    Force,
    Gpus,
    Json,
    MaxTime,
    Precision,
    Preset,
    Quiet,
    Resume,
    RunArgument,
    Seed,
    SetOption,
    Steps,
    Tracker,
    Val,
)
from vqgan_cli.cli.training import (
    check_resume_flags,
    launch_if_asked,
    parse_duration,
    plan_run,
    report_failures,
    report_model,
    report_source,
)

__all__ = ["train_ae"]


def train_ae(
    checkpoint: RunArgument = None,
    preset: Preset = None,
    target: Annotated[
        Literal["image", "condition"],
        typer.Option(
            "--target",
            help="What the tokenizer is one of: the images, or the maps that are the condition of a transformer (the "
            "condition section of the preset, with its own tokenizer and train_ae under condition.first_stage).",
        ),
    ] = "image",
    data: Data = None,
    val: Val = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="RUN",
            help="Run folder. Default: runs/<preset>-ae (or -condition), or the next free name after it.",
        ),
    ] = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    max_time: MaxTime = None,
    resume: Resume = False,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            metavar="MODEL",
            help="Start from a trained tokenizer's weights; says which do not fit. Default: random weights.",
        ),
    ] = None,
    allow_change: AllowChange = False,
    set_: SetOption = None,
    precision: Precision = None,
    seed: Seed = None,
    deterministic: Deterministic = None,
    device: Device = "auto",
    gpus: Gpus = None,
    tracker: Tracker = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a VQGAN or VQ-VAE tokenizer on images, or on maps that go with them.

    The run folder keeps the config, the log, pictures of reconstructions, checkpoints and the model
    (model.safetensors), which encode and decode load. Ctrl-C saves and stops; --resume goes on.

    Examples:

      vqgan train-ae --preset faces

      vqgan train-ae --preset demo --data photos/ --set data.size=128 --max-time 20m

      vqgan train-ae --preset streets --target condition --data camvid/train

      vqgan train-ae --resume --out runs/demo-ae --steps 20000
    """
    check_resume_flags(checkpoint, resume, {"--force": force, "--init-from": init_from})
    launch_if_asked(gpus)
    # A run of a condition's tokenizer keeps its settings where every tokenizer's are, and goes on with those.
    section = "train_ae" if target == "image" or resume else "condition.first_stage.train_ae"
    flags = {
        "data.source": data,
        "data.validation_source": val,
        f"{section}.steps": steps,
        f"{section}.batch_size": batch_size,
        f"{section}.precision": precision,
        f"{section}.seed": seed,
        f"{section}.deterministic": deterministic,
    }
    max_seconds = parse_duration(max_time) if max_time else None
    config, run, resume_from = plan_run(
        "ae" if target == "image" else "condition",
        preset,
        set_ or [],
        flags,
        out=out,
        resume=resume,
        checkpoint=checkpoint,
        force=force,
    )

    from vqgan_cli.cli.display import ConsoleReporter

    reporter = ConsoleReporter()
    if data is None and not resume:
        report_source(config, reporter)

    from vqgan_cli.core.recipes.train_ae import TrainAEOptions
    from vqgan_cli.core.recipes.train_ae import train_ae as recipe
    from vqgan_cli.core.run_report.live import REPORT_FILE

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
    report_model(result, json=json, reporter=reporter)
    reporter.info(f"reconstructions: {run / 'samples'}")
    reporter.info(f"report: {run / REPORT_FILE}")
    reporter.info(
        f"next: vqgan encode IMAGES -o codes.npy --ae {shlex.quote(str(run))}, then vqgan decode codes.npy -o out/"
    )
    report_failures(result, reporter)
