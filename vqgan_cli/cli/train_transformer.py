"""``vqgan train-transformer``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from vqgan_cli.core.errors import UsageError

if TYPE_CHECKING:
    from vqgan_cli.core.config import ExperimentConfig

__all__ = ["train_transformer"]


def train_transformer(
    checkpoint: RunArgument = None,
    preset: Preset = None,
    ae: Annotated[
        Path | None,
        typer.Option(
            "--ae",
            metavar="MODEL",
            help="Tokenizer: a weights file, a run folder, or a name of `vqgan models list`. Default: the newest one "
            "of the preset under runs/.",
        ),
    ] = None,
    condition_ae: Annotated[
        Path | None,
        typer.Option(
            "--condition-ae",
            metavar="MODEL",
            help="Tokenizer of the maps that are the condition (train-ae --target condition): a weights file, a run "
            "folder, or the name of a pulled model. Default: the newest one of the preset under runs/, where the "
            "preset has one.",
        ),
    ] = None,
    data: Data = None,
    codes: Annotated[
        Path | None,
        typer.Option(
            "--codes",
            metavar="FILE",
            help="Train on a codes file of `vqgan encode` in place of images. Default: images are encoded first, "
            "and their codes kept in ~/.cache/vqgan (or $VQGAN_CACHE).",
        ),
    ] = None,
    val: Val = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Classes of the images: a csv of name,class lines or a json object. Default: their folders.",
        ),
    ] = None,
    unconditional: Annotated[
        bool,
        typer.Option("--unconditional", help="Learn without classes. Default: condition.kind of the preset."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="RUN",
            help="Run folder. Default: runs/<preset>-transformer, or the next free name after it.",
        ),
    ] = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    max_time: MaxTime = None,
    resume: Resume = False,
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
    """Train a transformer over the codes of a tokenizer, which then makes images.

    The model (model.safetensors in the run folder) holds the tokenizer too: `vqgan generate` needs nothing else.
    Ctrl-C saves and stops; --resume goes on.

    Examples:

      vqgan train-transformer --preset faces --ae runs/faces-ae

      vqgan train-transformer --preset demo --data photos/ --unconditional --max-time 20m

      vqgan train-transformer --preset demo --codes codes.npy --ae runs/demo-ae

      vqgan train-transformer --preset streets --data camvid/train --val camvid/val
    """
    if codes is not None and (data is not None or val is not None or labels is not None):
        raise UsageError("--codes replaces images and labels", hint="leave out --data, --val and --labels")
    if unconditional and labels is not None:
        raise UsageError("--unconditional needs no --labels", hint="give one of them")
    check_resume_flags(checkpoint, resume, {"--force": force, "--ae": ae, "--condition-ae": condition_ae})
    launch_if_asked(gpus)
    flags = {
        "data.source": data,
        "data.validation_source": val,
        "condition.kind": "none" if unconditional else "class" if labels else None,
        "condition.labels": str(labels) if labels else None,
        "train_transformer.codes": str(codes) if codes else None,
        "train_transformer.steps": steps,
        "train_transformer.batch_size": batch_size,
        "train_transformer.precision": precision,
        "train_transformer.seed": seed,
        "train_transformer.deterministic": deterministic,
    }
    max_seconds = parse_duration(max_time) if max_time else None
    config, run, resume_from = plan_run(
        "transformer", preset, set_ or [], flags, out=out, resume=resume, checkpoint=checkpoint, force=force
    )
    tokenizer = _tokenizer(config, ae, resume_from)
    condition_tokenizer = _condition_tokenizer(config, condition_ae, resume_from)

    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.core.presets import read_overrides

    reporter = ConsoleReporter()
    if data is None and codes is None and not resume:
        report_source(config, reporter)

    from vqgan_cli.core.recipes.train_transformer import TrainTransformerOptions
    from vqgan_cli.core.recipes.train_transformer import train_transformer as recipe
    from vqgan_cli.core.run_report.live import REPORT_FILE

    # A preset has the size of the tokenizer that it describes, which may be another one than that given here.
    size_asked = resume_from is not None or "size" in read_overrides(set_ or []).get("data", {})
    result = recipe(
        config,
        TrainTransformerOptions(
            out=run,
            tokenizer=tokenizer,
            condition_tokenizer=condition_tokenizer,
            size=config.data.size if size_asked else None,
            device=device,
            resume_from=resume_from,
            force=force,
            allow_change=allow_change,
            max_seconds=max_seconds,
            trackers=tuple(tracker or ()),
            resume_command=f"vqgan train-transformer --resume --out {shlex.quote(str(run))}",
        ),
        reporter,
    )
    report_model(result, json=json, reporter=reporter)
    reporter.info(f"samples: {run / 'samples'}")
    reporter.info(f"report: {run / REPORT_FILE}")
    reporter.info(f"next: vqgan generate --model {shlex.quote(str(run))} -n 8 -o samples/")
    report_failures(result, reporter)


def _tokenizer(config: ExperimentConfig, ae: Path | None, resume_from: Path | None) -> Path:
    """The one that was named, that of the resumed run, or the newest one of the preset."""
    from vqgan_cli.core.newest import newest_tokenizer

    if ae is not None:
        return ae
    if resume_from is not None:
        from vqgan_cli.core.training.run_folder import TOKENIZER_FILE

        return _run_of(resume_from) / TOKENIZER_FILE
    return newest_tokenizer(preset=config.name)


def _condition_tokenizer(
    config: ExperimentConfig, named: Path | None, resume_from: Path | None
) -> Path | None:
    """As `_tokenizer`, for maps; None where they have no tokenizer of their own."""
    from vqgan_cli.core.newest import newest_tokenizer

    kind = config.condition.map_kind
    if kind is None or config.condition.tokenizer != "own":
        if named is not None:
            raise UsageError(
                f"--condition-ae: condition.kind {config.condition.kind} has no tokenizer of its own here",
                hint="set condition.kind and condition.tokenizer=own, or take a preset such as streets",
            )
        return None
    if named is not None:
        return named
    if resume_from is not None:
        from vqgan_cli.core.training.run_folder import CONDITION_FILE

        return _run_of(resume_from) / CONDITION_FILE
    return newest_tokenizer(preset=config.name, kind=kind)


def _run_of(source: Path) -> Path:
    """The run folder of a run or of one of its checkpoints."""
    return source.parent.parent if source.parent.name == "checkpoints" else source
