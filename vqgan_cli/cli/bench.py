"""``vqgan bench``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Device, DrawingPrecision, Json, Quiet, SetOption
from vqgan_cli.core.errors import UsageError

if TYPE_CHECKING:
    from vqgan_cli.core.bench.settings import EncodeFolder
    from vqgan_cli.core.bench.work import Result
    from vqgan_cli.core.recipes.bench import BenchResult

__all__ = ["bench"]

_SHAPES = "What is measured"


class Work(StrEnum):
    """What can be asked for."""

    ENCODE = "encode"
    DECODE = "decode"
    TRAIN = "train"
    SAMPLE = "sample"
    WINDOW = "window"
    IO = "io"
    ALL = "all"


def bench(
    works: Annotated[
        list[Work] | None,
        typer.Argument(
            metavar="[WORK]...",
            help="encode, decode: images in memory to codes and back; train: a step of each trainer; sample: the codes "
            "of images of the training size; window: one large image by the sliding window; io: encoding a folder of "
            "files. Default: all.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME|FILE",
            help="Architecture, with random weights: a name of `vqgan presets list`, or your own .yaml file. Default: "
            "demo.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A trained tokenizer or transformer in place of --preset: a weights file, a run folder, or a name of "
            "`vqgan models list`.",
        ),
    ] = None,
    set_: SetOption = None,
    device: Device = "auto",
    precision: DrawingPrecision = "fp32",
    rounds: Annotated[
        int,
        typer.Option(
            "--rounds",
            min=1,
            metavar="N",
            help="Timed calls of each way, by turns; window draws its image once.",
        ),
    ] = 5,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            "-b",
            min=1,
            metavar="N",
            rich_help_panel=_SHAPES,
            help="Images at a time in encode, decode, train and io; train takes four times as many sequences of codes. "
            "Default: 1 on a CPU, else 16.",
        ),
    ] = None,
    sequences: Annotated[
        list[int] | None,
        typer.Option(
            "--sequences",
            min=1,
            metavar="N",
            rich_help_panel=_SHAPES,
            help="sample: images drawn at a time; may be given many times, for a row each. Default: 1 and 8.",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            metavar="HxW",
            rich_help_panel=_SHAPES,
            help="window: height x width of the image in pixels; may be given many times. Default: 2 x 4 training "
            "sizes, 512x1024 for models of 256x256.",
        ),
    ] = None,
    stride: Annotated[
        list[int] | None,
        typer.Option(
            "--stride",
            min=1,
            metavar="N",
            rich_help_panel=_SHAPES,
            help="window: cells drawn before the window moves, 1 is exact; may be given many times. Default: 1 and 4.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="SOURCE",
            rich_help_panel=_SHAPES,
            help="encode, train, io: images in place of synthetic ones.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            min=1,
            metavar="N",
            rich_help_panel=_SHAPES,
            help="io: files that are encoded; default: as many as take the network some seconds. encode with --data: "
            "images whose codes are compared; default: 64.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also write a plot. Default: none.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure how fast this machine does the work, against the straightforward way and against its own limits.

    The straightforward way computes in float32 what the reference implementations compute, as they do: both run in this
    process by turns, with the same weights, and the ratio of each pair tells what is gained. Rates are images per
    second, for sample and window codes per second. The limit is measured too: the time in which large products and
    reading of memory would do as much, or for io the slower of network and reading. Memory (MB) is the most that a call
    takes beyond what is there before it.

    Examples:

      vqgan bench

      vqgan bench encode decode --preset imagenet --precision bf16

      vqgan bench sample window --model runs/demo-transformer --json

      vqgan bench io --data photos/ --images 500
    """
    from vqgan_cli.cli.display import ConsoleReporter
    from vqgan_cli.core.sizes import parse_size

    if preset is not None and model is not None:
        raise UsageError("--preset and --model both say what to measure", hint="give one of them")
    if set_ and model is not None:
        raise UsageError("--set changes a preset, and a model is as it is", hint="leave --set or --model out")
    sizes = tuple(map(parse_size, size or ()))
    names = list(dict.fromkeys(works or [Work.ALL]))

    from vqgan_cli.core.bench.settings import BenchSettings
    from vqgan_cli.core.bench.works import WORKS
    from vqgan_cli.core.recipes.bench import BenchOptions
    from vqgan_cli.core.recipes.bench import bench as recipe

    everything = Work.ALL in names
    settings = BenchSettings(
        encode_folder=_encode_folder(device, precision),
        batch_size=batch_size,
        sequences=tuple(sequences or BenchSettings.sequences),
        sizes=sizes,
        strides=tuple(stride or BenchSettings.strides),
        data=data,
        images=images,
    )
    options = BenchOptions(
        works=list(WORKS) if everything else names,
        everything=everything,
        preset=preset or BenchOptions.preset,
        overrides=set_ or [],
        model=model,
        device=device,
        precision=precision,
        rounds=rounds,
        settings=settings,
        plot=plot,
    )
    done = recipe(options, ConsoleReporter())
    _show(done)
    if json:
        console.json_data(done.json)
    elif plot is not None:
        console.data(str(plot))


def _encode_folder(device: str, precision: str) -> EncodeFolder:
    """What encodes a folder, without a word."""
    from vqgan_cli.core.recipes.encode import EncodeOptions, encode
    from vqgan_cli.core.reporting import Reporter

    def run(source: str, out: Path, model: Path, batch_size: int, limit: int) -> None:
        options = EncodeOptions(
            source,
            out,
            model,
            batch_size=batch_size,
            precision=precision,
            device=device,
            limit=limit,
            force=True,
        )
        encode(options, Reporter())

    return run


def _show(done: BenchResult) -> None:
    console.info(f"{done.subject}, {done.device}, {done.precision}; the straightforward way in fp32")
    console.info(
        f"limits: {done.limits.flops / 1e9:,.0f} GFLOP/s in matrix products, "
        f"{done.limits.bandwidth / 1e9:,.1f} GB/s of memory read"
    )
    columns = ["work, per second", "vqgan", "plain", "ratio (from - to)", "of limit", "MB", "plain MB"]
    console.table(columns, [_row(result) for result in done.results])
    for result in done.results:
        facts = result.counts | result.agreement
        words = [f"limited by {result.limited_by}"] if result.limited_by else []
        words += [f"{name.replace('_', ' ')} {value:,.6g}" for name, value in facts.items()]
        console.info(f"{result.name}: {', '.join(words)}")


def _row(result: Result) -> list[str]:
    ratio = "-"
    if result.ratio is not None:
        ratio = f"{result.ratio:.2f} ({result.ratios[0]:.2f} - {result.ratios[-1]:.2f})"
    return [
        result.name,
        _number(result.ours_per_second, ",.3g"),
        _number(result.plain_per_second, ",.3g"),
        ratio,
        _number(result.share_of_limit, ".0%"),
        _number(result.ours_memory, ",.0f", 1e6),
        _number(result.plain_memory, ",.0f", 1e6),
    ]


def _number(value: float | None, form: str, unit: float = 1.0) -> str:
    return "-" if value is None else format(value / unit, form)
