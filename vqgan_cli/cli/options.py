"""Options that several commands share, each declared once.

A command takes the alias as the type of its parameter and states only the default::

    def encode(device: Device = "auto", quiet: Quiet = False, debug: Debug = False) -> None: ...

``quiet`` and ``debug`` act where they are parsed, before the body runs, so a body has no use for their values.
They are options of the whole program as well: ``vqgan --debug encode`` and ``vqgan encode --debug`` are the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from vqgan_cli.cli.console import console

__all__ = [
    "AE",
    "DEBUG_VARIABLE",
    "SAMPLING",
    "AllowChange",
    "BatchSize",
    "Data",
    "Debug",
    "Deterministic",
    "Device",
    "DrawingPrecision",
    "EvaluationOut",
    "Force",
    "Gpus",
    "InferenceBatchSize",
    "InferencePrecision",
    "Json",
    "MaxBatch",
    "MaxTime",
    "Precision",
    "Preset",
    "Quiet",
    "Resume",
    "RunArgument",
    "SamplingSeed",
    "Seed",
    "SetOption",
    "Steps",
    "Stride",
    "Temperature",
    "TopK",
    "Tracker",
    "Val",
]

DEBUG_VARIABLE = "VQGAN_DEBUG"
"""Environment variable behind ``--debug``. The option sets it, so processes that a command starts have it too."""


def _set_debug(value: bool) -> bool:
    if value:
        os.environ[DEBUG_VARIABLE] = "1"
    return value


def _set_quiet(value: bool) -> bool:
    if value:
        console.quiet = True
    return value


def _complete_preset(incomplete: str) -> list[str]:
    from vqgan_cli.core.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        metavar="NAME|FILE",
        autocompletion=_complete_preset,
        help="Experiment to start from: a name of `vqgan presets list`, or your own .yaml file.",
    ),
]

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one key of the preset, such as tokenizer.codebook_size=512; may be given many times. "
        "`vqgan presets keys` lists all keys. Named flags win over it.",
    ),
]

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        "-d",
        metavar="SOURCE",
        help="Images: a folder (searched recursively), a quoted glob, a text file of paths, synthetic:faces or "
        "synthetic:scenes. With maps: a folder with image/ and a folder named as the kind, or a csv or jsonl of pairs. "
        "Without it, data.source of the preset.",
    ),
]

Force = Annotated[
    bool, typer.Option("--force", "-f", help="Overwrite what exists; without it, that is refused.")
]

EvaluationOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Also write report.html, with pictures, and metrics.json, with all figures. Default: no report.",
    ),
]

Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto (a CUDA GPU, else Apple's MPS, else the CPU), cpu, cuda, cuda:1, or mps.",
    ),
]

BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "-b",
        min=1,
        metavar="N",
        help="Images at a time in each process; lower it when memory runs out. "
        "Without it in training: batch_size of the preset.",
    ),
]

InferenceBatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        "-b",
        min=1,
        metavar="N",
        help="Images at a time in each process; lower it when memory runs out.",
    ),
]

InferencePrecision = Annotated[
    Literal["fp32", "bf16", "fp16"],
    typer.Option(
        "--precision",
        help="Number format of the networks; the quantizer always computes in fp32. Lower precision is faster and "
        "changes some codes: bf16 1 to 2 in 100 of those of Kodak photos, with three small tokenizers.",
    ),
]

DrawingPrecision = Annotated[
    Literal["fp32", "bf16", "fp16", "int8"],
    typer.Option(
        "--precision",
        help="Number format of the networks; the quantizer always computes in fp32. int8, on a CPU with VNNI: the "
        "transformer multiplies integers of 8 bits, and all else is in fp32.",
    ),
]

AE = Annotated[
    Path | None,
    typer.Option(
        "--ae",
        metavar="MODEL",
        help="Tokenizer: a weights file, a run folder, or a name of `vqgan models list`. Default: the newest finished "
        "one under runs/.",
    ),
]

Precision = Annotated[
    Literal["fp32", "bf16", "fp16"] | None,
    typer.Option(
        "--precision",
        help="Number format of the networks. Without it in training: precision of the preset.",
    ),
]

Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        metavar="N",
        help="Seed of all randomness: the same seed gives the same result on the same machine. "
        "Without it in training: seed of the preset.",
    ),
]

Deterministic = Annotated[
    bool | None,
    typer.Option(
        "--deterministic",
        help="Use only kernels that give the same result each time, which are slower on a GPU; one that has none ends "
        "the run by name. A CPU repeats itself without. Default: deterministic of the preset.",
    ),
]

RunArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN|CHECKPOINT",
        help="With --resume: the run or the checkpoint folder to go on from. Default: the run named by --out.",
        show_default=False,
    ),
]

Val = Annotated[
    str | None,
    typer.Option(
        "--val",
        metavar="SOURCE",
        help="Images to validate on, named as --data is. Default: a part of the data is held out.",
    ),
]

Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, help="Optimiser steps. Default: steps of the preset."),
]

MaxTime = Annotated[
    str | None,
    typer.Option(
        "--max-time",
        metavar="TIME",
        help="Stop after so long, such as 90s, 20m or 1h30m, as if all steps were done. Default: no limit.",
    ),
]

Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on from the newest good checkpoint with the run's own settings. Default: start anew.",
    ),
]

AllowChange = Annotated[
    bool,
    typer.Option(
        "--allow-change",
        help="Resume although batch size or number of processes differ. Default: that is refused.",
    ),
]

Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=1,
        help="Train on so many GPUs of this machine, one process each, through accelerate's launcher. "
        "Default: one process.",
    ),
]

Tracker = Annotated[
    list[str] | None,
    typer.Option(
        "--tracker",
        metavar="NAME",
        help="Also log to tensorboard or wandb; may be given twice. Default: none.",
    ),
]

Json = Annotated[
    bool, typer.Option("--json", help="Write the result to stdout as JSON instead of plain text.")
]

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=_set_quiet,
        rich_help_panel="Every command",
        help="No messages and no progress on stderr, only errors.",
    ),
]

Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        callback=_set_debug,
        rich_help_panel="Every command",
        help=f"Show the traceback of an error; {DEBUG_VARIABLE}=1 does the same.",
    ),
]

SAMPLING = "Sampling"
"""Panel of the options that say how codes are drawn."""

Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0,
        metavar="T",
        rich_help_panel=SAMPLING,
        help="Divides the logits: below 1 likelier codes, above 1 more variety, 0 always the likeliest. Default: the "
        "model's own, which its preset set.",
    ),
]

TopK = Annotated[
    int | None,
    typer.Option(
        "--top-k",
        min=0,
        metavar="K",
        rich_help_panel=SAMPLING,
        help="Draw among the K likeliest codes; 0: all. Default: the model's own.",
    ),
]

SamplingSeed = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        metavar="N",
        rich_help_panel=SAMPLING,
        help="Seed of all randomness: the same seed gives the same images, whatever --max-batch.",
    ),
]

Stride = Annotated[
    int,
    typer.Option(
        "--stride",
        min=1,
        metavar="S",
        rich_help_panel="Speed and memory",
        help="Beyond the training size: codes drawn at each place of the window. 1 is exact, as published; more is "
        "faster, and each code sees less.",
    ),
]

MaxBatch = Annotated[
    int,
    typer.Option(
        "--max-batch",
        min=1,
        metavar="N",
        rich_help_panel="Speed and memory",
        help="Images, or codes of one large image, drawn at a time; lower it when memory runs out.",
    ),
]
