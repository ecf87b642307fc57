"""``vqgan info``: what it prints about this machine, a model, a run or a codes file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqgan_cli.cli import console
from vqgan_cli.cli.options import Debug, Device, Json, Preset, Quiet
from vqgan_cli.cli.plan_rows import plan_rows
from vqgan_cli.core.errors import UsageError

if TYPE_CHECKING:
    from vqgan_cli.core.config import ExperimentConfig
    from vqgan_cli.core.recipes.info import CodesFacts, Facts, ModelFacts
    from vqgan_cli.core.recipes.plan import PlanFacts
    from vqgan_cli.core.system import DeviceFacts, SystemFacts
    from vqgan_cli.core.training.run_facts import RunFacts, SavedModel

__all__ = ["info"]

Rows = list[tuple[str, str]]


def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="A model (weights file, its folder, or the name of a pulled one), a run folder, or a codes file. "
            "Default: this machine.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Look at --data and say which preset and settings suit them, and how long training would take here, "
            "from a few steps that are measured. Writes nothing.",
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="SOURCE",
            help="With --plan: the images, named as in training. Maps beside them count.",
        ),
    ] = None,
    preset: Preset = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=0, metavar="S", help="With --plan: about how long to measure each kind of step."
        ),
    ] = 8.0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Describe this machine, a model, a run or a codes file; or plan a training.

    Without PATH: versions, devices and their precisions, cached perceptual weights, and what is wrong with the
    installation. A run, at work or not: how far it is, which checkpoints are good, how to go on.

    Examples:

      vqgan info

      vqgan info runs/demo-ae

      vqgan info codes.npy --json

      vqgan info --plan --data photos/
    """
    _require_one_purpose(path, plan, data, preset)
    facts: Facts | PlanFacts
    if plan and data is not None:
        from vqgan_cli.cli.display import ConsoleReporter
        from vqgan_cli.core.recipes.plan import plan as plan_recipe

        facts = plan_recipe(data, preset, device, ConsoleReporter(), seconds=seconds)
    else:
        from vqgan_cli.core.recipes.info import info as recipe

        facts = recipe(path)
    if json:
        from pydantic import TypeAdapter

        console.json_data({"kind": facts.kind, **TypeAdapter(type(facts)).dump_python(facts, mode="json")})
        return
    for title, rows in _sections(facts):
        if not rows:
            continue
        if sys.stdout.isatty():
            console.table((title, ""), rows, stdout=True)
        else:
            width = max(len(name) for name, _ in rows)
            console.data(
                "\n".join([title, *(f"  {name:<{width}}  {value}".rstrip() for name, value in rows)])
            )


def _require_one_purpose(path: Path | None, plan: bool, data: str | None, preset: str | None) -> None:
    if not plan:
        if data is not None or preset is not None:
            raise UsageError(
                f"{'--data' if data else '--preset'} belongs to --plan",
                hint="vqgan info --plan --data SOURCE",
            )
    elif path is not None:
        raise UsageError(f"what is {str(path)!r}?", hint="images are named with --data")
    elif data is None:
        raise UsageError("--plan needs images to plan for", hint="vqgan info --plan --data SOURCE")


def _sections(facts: Facts | PlanFacts) -> list[tuple[str, Rows]]:
    """Titles, each with names and values."""
    from vqgan_cli.core.recipes.info import CodesFacts, ModelFacts
    from vqgan_cli.core.recipes.plan import PlanFacts
    from vqgan_cli.core.training.run_facts import RunFacts

    if isinstance(facts, ModelFacts):
        return _model(facts)
    if isinstance(facts, RunFacts):
        return _run(facts)
    if isinstance(facts, CodesFacts):
        return _codes(facts)
    if isinstance(facts, PlanFacts):
        return plan_rows(facts)
    return _system(facts)


def _system(facts: SystemFacts) -> list[tuple[str, Rows]]:
    from vqgan_cli.core.system import OPTIONAL_PACKAGES

    def version_of(name: str, version: str | None) -> str:
        if version is None and name in OPTIONAL_PACKAGES:
            return f"not installed: pip install 'vqgan[{OPTIONAL_PACKAGES[name]}]'"
        return version or "not installed"

    weights = [
        (w.network, "not cached" if w.bytes is None else f"{w.file} ({_size(w.bytes)})")
        for w in facts.weights
    ]
    if any(w.file is None for w in facts.weights):
        weights.append(("folder", f"{facts.weights_folder} (missing files are downloaded when first needed)"))
    return [
        ("versions", [(name, version_of(name, version)) for name, version in facts.versions.items()]),
        ("devices", [(device.device, _device(device)) for device in facts.devices]),
        ("perceptual weights", weights),
        ("problems", _numbered(facts.problems)),
    ]


def _device(device: DeviceFacts) -> str:
    parts = [device.name]
    if device.cores:
        parts.append(f"{device.cores} {'core' if device.cores == 1 else 'cores'}")
    parts.append(_size(device.memory) + (" RAM" if device.cores else ""))
    formats = [name if state == "yes" else f"{name} {state}" for name, state in device.precisions.items()]
    return f"{', '.join(parts)}; {', '.join(formats)}"


def _model(facts: ModelFacts) -> list[tuple[str, Rows]]:
    made = facts.provenance
    tokenizer = facts.config.tokenizer
    parts = ", ".join(f"{name} {_count(n)}" for name, n in facts.parameters.items() if name != "total" and n)
    blocks = f"{tokenizer.res_blocks} residual {'block' if tokenizer.res_blocks == 1 else 'blocks'} per level"
    if tokenizer.decoder_res_blocks:
        blocks += f", {tokenizer.decoder_res_blocks} in the decoder"
    attention = ", ".join(map(str, tokenizer.attention_resolutions))
    unusual = ", averages of 2x2 in place of strided convolutions" * (tokenizer.downsample == "average")
    unusual += ", pixels in [0, 1]" * (tokenizer.pixel_range == "unit")
    model = [
        ("file", f"{facts.path} ({_size(facts.bytes)})"),
        ("kind", facts.format),
        ("fingerprint", facts.fingerprint),
        ("weights", "intact" if facts.intact else "DAMAGED: they do not have this fingerprint"),
        *_tokens(facts.config),
        *(_prior(facts.config) if facts.prior else []),
        ("parameters", f"{_count(facts.parameters['total'])} ({parts})"),
        (
            "architecture",
            f"{tokenizer.channels} channels x {_numbers(tokenizer.channel_multipliers)}, {blocks}, attention at "
            f"{attention or 'no level'}{' and in the middle' if tokenizer.mid_attention else ''}, "
            f"{tokenizer.z_channels} latent channels, {tokenizer.in_channels} in, {tokenizer.out_channels} out"
            f"{unusual}",
        ),
    ]
    training = [
        ("experiment", facts.config.name),
        ("imported from", _origin(made.get("imported", {}))),
        ("data", made.get("data", "")),
        ("images", str(made.get("images", ""))),
        ("classes", _listed(facts.prior.get("classes") or made.get("classes", ()))),
        ("step", str(made.get("step", ""))),
        ("weights", {"average": "running average", "last": "last step"}.get(made.get("weights", ""), "")),
        ("validation", _metrics(made.get("validation", {}))),
        ("vqgan", str(made.get("version", ""))),
    ]
    return [("model", model), ("training", _filled(training))]


def _run(facts: RunFacts) -> list[tuple[str, Rows]]:
    status = facts.status
    reason = None if facts.state == "starting" else status.get("reason")  # of its last end
    done = f"{facts.step} of {facts.steps}" if facts.steps else str(facts.step)
    newest = facts.training.get("time") or status.get("time")
    state = [
        ("folder", str(facts.path)),
        ("state", f"{facts.state}: {reason}" if reason else facts.state),
        ("step", done + (f" at {_time(newest)}" if newest else "")),
        ("training", _metrics({name: v for name, v in facts.training.items() if _is_headline(name)})),
        ("validation", _validation(facts.validation)),
        ("unreadable", f"{n} files" if (n := len(status.get("unreadable_files", ()))) else ""),
        ("next", facts.next),
    ]
    saved = [(model.path.name, model.problem or _saved(model)) for model in facts.models]
    saved += [
        (checkpoint.path.name, f"{_size(checkpoint.bytes)}, {checkpoint.problem or 'good'}")
        for checkpoint in facts.checkpoints
    ]
    settings = _settings(facts.config, facts.stage) if facts.config else []
    return [
        ("run", _filled(state)),
        ("saved", saved),
        ("settings", settings),
        ("problems", _numbered(facts.problems)),
    ]


def _settings(config: ExperimentConfig, stage: str) -> Rows:
    train = config.train_ae if stage == "train-ae" else config.train_transformer
    return [
        ("experiment", config.name),
        ("data", config.train_transformer.codes or config.data.source or "not named"),
        *_tokens(config),
        *([("loss", _loss(config))] if stage == "train-ae" else _prior(config)),
        ("batch", f"{train.batch_size} images x {train.accumulate} micro-batches in each process"),
        ("learning rate", f"{train.learning_rate:g} ({train.schedule})"),
        ("precision", train.precision),
        ("seed", str(train.seed)),
    ]


def _loss(config: ExperimentConfig) -> str:
    train = config.train_ae
    loss: list[str] = [train.reconstruction]
    if train.perceptual.kind != "none":
        loss.append(f"{train.perceptual.weight:g} x {train.perceptual.kind} ({train.perceptual.network})")
    if train.adversarial.weight and train.adversarial_start() < train.steps:
        loss.append(
            f"{train.adversarial.weighting} GAN {train.adversarial.weight:g} from step {train.adversarial_start()}"
        )
    return " + ".join(loss)


def _prior(config: ExperimentConfig) -> Rows:
    prior = config.transformer
    shape = f"{prior.layers} layers, {prior.heads} heads, width {prior.width}"
    return [
        ("prior", f"{prior.kind}, {shape}, {prior.order} order"),
        ("condition", _condition(config)),
    ]


def _condition(config: ExperimentConfig) -> str:
    kind, tokenizer = config.condition.kind, config.condition.tokenizer
    if config.condition.map_kind is None:
        return kind
    by = {"own": "a tokenizer of their own", "same": "the same tokenizer", "none": "the label of each cell"}
    return f"{kind} maps, by {by[tokenizer]}"


def _tokens(config: ExperimentConfig) -> Rows:
    tokenizer, side = config.tokenizer, config.data.size
    grid = side // tokenizer.downsampling
    return [
        ("image size", f"{side} x {side} pixels"),
        ("tokens", f"{grid} x {grid} = {grid * grid} per image (f = {tokenizer.downsampling})"),
        (
            "codebook",
            f"{tokenizer.codebook_size} codes of {tokenizer.codebook_dim} numbers ({tokenizer.quantizer.kind})",
        ),
    ]


def _codes(facts: CodesFacts) -> list[tuple[str, Rows]]:
    grids = [f"{h} x {w}" + (f" ({n})" if len(facts.grids) > 1 else "") for (h, w), n in facts.grids]
    rows = [
        ("file", f"{facts.path} ({_size(facts.bytes)}, {facts.dtype})"),
        ("images", str(facts.images)),
        ("grids", _listed(grids)),
        ("tokens", str(facts.tokens)),
    ]
    made = facts.metadata
    if made is None:
        rows.append(("metadata", f"none: no {facts.path.with_suffix('.json').name} beside it"))
    else:
        sizing = "each image at its own size"
        if made["size"]:
            sizing = f"cropped to {made['size'][0]} x {made['size'][1]} pixels (height x width)"
        rows += [
            ("codebook", f"{made['codebook_size']} codes, f = {made['downsampling']}"),
            ("sizing", sizing),
            ("tokenizer", made["tokenizer"]),
            ("fingerprint", made["fingerprint"]),
            ("precision", made["precision"]),
            ("source", made["source"]),
            ("classes", _listed([f"{name} ({n})" for name, n in facts.classes.items()])),
            ("failed", f"{facts.failed} of {facts.images + facts.failed}" if facts.failed else ""),
        ]
    return [("codes", _filled(rows))]


def _filled(rows: Iterable[tuple[str, str]]) -> Rows:
    return [(name, value) for name, value in rows if value]


def _numbered(problems: list[str]) -> Rows:
    return [(str(number), problem) for number, problem in enumerate(problems, 1)]


def _numbers(values: Iterable[int]) -> str:
    return f"({', '.join(map(str, values))})"


def _listed(names: Iterable[str], most: int = 10) -> str:
    """All names, or their number and the first few."""
    names = list(names)
    if len(names) <= most:
        return "; ".join(names)  # a class may have a comma in its name
    return f"{len(names)}: {'; '.join(names[:most])}; and {len(names) - most} more"


def _origin(imported: Mapping[str, Any]) -> str:
    """Source, kind and hash of another project's checkpoint."""
    if not imported:
        return ""
    source = imported.get("source") or imported["file"]
    return f"{source} ({imported['layout']}, sha256 {imported['sha256'][:12]})"


def _metrics(values: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in values.items() if name not in ("step", "time")}
    return ", ".join(
        f"{name} {v:.4g}" if isinstance(v, float) else f"{name} {v}" for name, v in shown.items()
    )


def _is_headline(name: str) -> bool:
    return name.startswith("loss/") or name.endswith(("/usage", "_per_second"))


def _validation(record: Mapping[str, Any]) -> str:
    return f"step {record['step']}: {_metrics(record)}" if record else ""


def _saved(model: SavedModel) -> str:
    loss = model.validation.get("loss")
    return f"step {model.step}" + ("" if loss is None else f", validation loss {loss:.4g}")


def _time(stamp: str) -> str:
    return stamp.replace("T", " ").replace("+00:00", " UTC")


def _size(count: int) -> str:
    return f"{_scaled(count)}B"


def _count(count: int) -> str:
    return _scaled(count).rstrip()


def _scaled(count: int) -> str:
    """Three digits and a power of 1000: ``72.1 M``."""
    value, prefixes = float(count), ["", "k", "M", "G", "T"]
    while value >= 999.5 and len(prefixes) > 1:
        value /= 1000
        prefixes.pop(0)
    return f"{value:.3g} {prefixes[0]}"
