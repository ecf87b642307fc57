"""``vqgan study``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Data, Debug, Device, Force, Json, Quiet, SetOption, Steps, Val
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.reporting import Reporter

if TYPE_CHECKING:
    from vqgan_cli.core.config import ExperimentConfig
    from vqgan_cli.core.recipes.study import DrawArm, RunArm, StudyOptions
    from vqgan_cli.core.studies.base import Command, Run

__all__ = ["study"]

_MEASURES = "What is measured"


def study(
    name: Annotated[
        Literal["prior", "compression", "codebook", "order", "loss", "sampling"],
        typer.Argument(
            metavar="STUDY",
            help="prior: transformers against PixelCNN and PixelSNAIL on the same codes; compression: f = 1 (pixels) "
            "to 16; codebook: its size and its quantizer; order: the sequence of the cells; loss: VQ-VAE, perceptual "
            "term, GAN; sampling: k, p, temperature, guidance, rejection.",
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME|FILE",
            help="Experiment that the arms change: a name of `vqgan presets list`, or your own .yaml file. Default: "
            "demo; with --ae or --model the experiment of that model.",
        ),
    ] = None,
    data: Data = None,
    val: Val = None,
    unconditional: Annotated[
        bool,
        typer.Option("--unconditional", help="Learn without classes. Default: condition.kind of the preset."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder of the study, with a run folder per arm and seed; the same command goes on there. Default: "
            "runs/study-STUDY.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME",
            help="Training time of each run, such as 10m: the speed of each arm is measured over a few steps, and it "
            "gets as many as fit. Validations are not counted. Default: --steps.",
        ),
    ] = None,
    steps: Steps = None,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=1, metavar="N", help="Runs of each arm, with seeds one after the other."),
    ] = 3,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            "--arm", metavar="NAME", help="Only this arm; may be given many times. Default: all of the study."
        ),
    ] = None,
    ae: Annotated[
        Path | None,
        typer.Option(
            "--ae",
            metavar="MODEL",
            help="prior, order: tokenizer of all arms: a weights file, a run folder, or a name of `vqgan models list`. "
            "Default: one is trained first, for as many steps as the preset says.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="sampling: transformer to draw from. Default: one is trained first, for as many steps as the preset "
            "says.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="NETWORK",
            rich_help_panel=_MEASURES,
            help="Network for Frechet distances: fid, or torchvision:NAME. Default: these are left out.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            rich_help_panel=_MEASURES,
            help="Weights of --features. Default: the published ones, cached or downloaded.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=1,
            metavar="N",
            rich_help_panel=_MEASURES,
            help="compression, sampling: images that are drawn of each run, and of the data, with which they are "
            "compared. Default: 200.",
        ),
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            metavar="CLASSIFIER",
            rich_help_panel=_MEASURES,
            help="sampling: classifier for rejection, as in `vqgan generate`, for models of ImageNet's classes. "
            "Default: no arm rejects.",
        ),
    ] = None,
    set_: SetOption = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Answer a question of the paper on your own data: train the arms of a study alike, measure, and compare.

    Each arm is an ordinary run of train-ae, train-transformer or generate, several times with other seeds; runs that
    are finished are not made again. Writes results.json, table.md and plot.svg.

    Examples:

      vqgan study prior --data photos/ --budget 10m

      vqgan study order --ae runs/demo-ae --steps 800 --seeds 2

      vqgan study codebook --budget 5m --arm vq-1024 --arm l2-1024 --arm ema-1024

      vqgan study loss --data photos/ --features torchvision:squeezenet1_0 --weights squeezenet1_0.pth

      vqgan study compression --data photos/ --set data.size=32 --budget 10m --features fid

      vqgan study sampling --model runs/demo-transformer --samples 1000 --features fid
    """
    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.cli.training import parse_duration

    if budget is not None and steps is not None:
        raise UsageError("--budget and --steps both say how long a run is", hint="give one of them")
    if weights is not None and features is None:
        raise UsageError("--weights are those of --features", hint="add --features torchvision:NAME")
    seconds = parse_duration(budget, "--budget") if budget else None

    from vqgan_cli.core.recipes.study import StudyOptions
    from vqgan_cli.core.recipes.study import study as recipe
    from vqgan_cli.core.studies import STUDIES

    given = {"--ae": ae, "--model": model, "--features": features, "--samples": samples, "--scorer": scorer}
    for option, value in given.items():
        if value is not None and option not in STUDIES[name].takes:
            raise UsageError(f"study {name} has no use for {option}", hint=f"leave {option} out")
    reporter = ConsoleReporter()
    options = StudyOptions(
        name=name,
        out=out or Path("runs") / f"study-{name}",
        preset=preset,
        overrides=set_ or [],
        flags={
            "data.source": data,
            "data.validation_source": val,
            "condition.kind": "none" if unconditional else None,
        },
        seeds=seeds,
        budget=seconds,
        steps=steps,
        arms=arm or [],
        ae=ae,
        model=model,
        features=features,
        weights=weights,
        samples=samples or 200,
        scorer=scorer,
        device=device,
        force=force,
    )
    quiet_reporter = _ProgressOnly(reporter)
    result = recipe(options, _trainer(device, quiet_reporter), _drawer(options, quiet_reporter), reporter)
    console.table(*result.table())
    reporter.info(f"paper: {result.study.paper}")
    if json:
        console.json_data(result.json)
    else:
        console.data("\n".join(map(str, result.files)))


class _ProgressOnly(Reporter):
    """Of the runs of a study, progress and warnings; what else they say stands in their folders."""

    def __init__(self, reporter: Reporter) -> None:
        self.warning = reporter.warning  # type: ignore[method-assign]
        self.progress = reporter.progress  # type: ignore[method-assign]


def _trainer(device: str, reporter: Reporter) -> RunArm:
    """What makes a run of a training command."""
    from vqgan_cli.core.recipes.train_ae import TrainAEOptions, train_ae
    from vqgan_cli.core.recipes.train_transformer import TrainTransformerOptions, train_transformer

    def run(
        command: Command, config: ExperimentConfig, out: Path, start: Path | None, resume_from: Path | None
    ) -> None:
        common: dict[str, Any] = {
            "out": out,
            "device": device,
            "resume_from": resume_from,
            "force": resume_from is None,
            "resume_command": "the same vqgan study",
        }
        if command == "train-ae":
            train_ae(config, TrainAEOptions(**common), reporter)
        else:
            assert start is not None
            train_transformer(config, TrainTransformerOptions(**common, tokenizer=start), reporter)

    return run


def _drawer(options: StudyOptions, reporter: Reporter) -> DrawArm:
    """What draws the samples of an arm."""
    from vqgan_cli.core.recipes.generate import GenerateOptions, generate

    def run(arm: Run) -> None:
        assert arm.start is not None
        sampling = arm.arm.changes.get("sampling", {})
        scorer: dict[str, Any] = {"scorer": options.scorer} if options.scorer else {}
        generate(
            GenerateOptions(
                arm.start,
                arm.path,
                images=options.samples,
                seed=arm.seed,
                keep=arm.arm.keep,
                device=options.device,
                **sampling,
                **scorer,
            ),
            reporter,
        )

    return run
