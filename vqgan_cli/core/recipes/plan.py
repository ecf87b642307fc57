"""``vqgan info --plan``: which settings suit some data and this machine, and how long they would take."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.device import described, resolve_device
from vqgan_cli.core.planning.choosing import Choice, choose
from vqgan_cli.core.planning.looking import DataFacts, look_at
from vqgan_cli.core.planning.measuring import (
    Speed,
    measure_encoding,
    measure_tokenizer,
    measure_transformer,
    planned_spec,
)
from vqgan_cli.core.planning.memory import MemoryNeed, memory_needs, memory_rows
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.code_sets import VIEWS

__all__ = ["PlanFacts", "StageFacts", "plan"]


@dataclass(frozen=True)
class StageFacts:
    """One training.

    Attributes:
        command: what to type.
        speed: as measured.
        passes: over the data that its steps make; None for an endless set.
    """

    command: str
    speed: Speed
    passes: float | None


@dataclass(frozen=True)
class PlanFacts:
    """What `plan` finds.

    Attributes:
        data: what the images are like.
        device: where the steps were measured, in words.
        preset: name or file.
        settings: what to change in it, ``section.key=value`` each.
        reasons: for preset and settings, a sentence each.
        image_size: side of the training square in pixels.
        downsampling: f.
        grid: codes of an image, each way.
        codebook_size: K.
        condition: of the transformer.
        stages: ``train-ae``, of maps too where they have a tokenizer of their own, and ``train-transformer``.
        memory: of a GPU that trains the transformer, on paper; empty where no formula says it.
        encoding_seconds: for the codes of all images, before the transformer trains.
        seconds: all together, without validation and pictures.
    """

    kind: ClassVar[str] = "plan"
    data: DataFacts
    device: str
    preset: str
    settings: list[str]
    reasons: list[str]
    image_size: int
    downsampling: int
    grid: int
    codebook_size: int
    condition: str
    stages: list[StageFacts]
    memory: list[MemoryNeed]
    encoding_seconds: float
    seconds: float


def plan(data: str, preset: str | None, device: str, reporter: Reporter, *, seconds: float) -> PlanFacts:
    """Look at some data, choose settings for them, and measure a few steps of each training; nothing is written.

    Args:
        data: images, as ``open_source`` takes them, perhaps with maps beside them.
        preset: to plan with; None: the one that suits.
        device: see `resolve_device`.
        reporter: who listens.
        seconds: about how long each kind of step is measured.

    Raises:
        VqganError: see `vqgan_cli.core.errors`: the data or the preset cannot be used, or not one image fits into
            memory.
    """
    chosen = resolve_device(device)
    found = look_at(data)
    choice = choose(found, gpu=chosen.type != "cpu", preset=preset)
    config = choice.config(found)
    needs = memory_needs(config, planned_spec(config, len(found.classes)))
    if needs:  # said first: what follows may find that this machine has less
        reporter.facts("memory of the transformer's training on each GPU, on paper", memory_rows(needs))
    reporter.info(f"measuring a few steps of preset {choice.preset} on {chosen}")
    stages = []
    for target, experiment in _tokenizers(config):
        speed = measure_tokenizer(experiment, device, seconds, reporter)
        stages.append(_stage(f"train-ae{target}", "train_ae", choice, found, speed))
    views = VIEWS[config.train_transformer.augmentation]
    images = min(found.images, config.train_transformer.max_images or found.images)
    encoding = measure_encoding(config, device, seconds) * views * images
    speed = measure_transformer(config, device, seconds, tuple(found.classes))
    stages.append(_stage("train-transformer", "train_transformer", choice, found, speed))
    f = config.tokenizer.downsampling
    return PlanFacts(
        data=found,
        device=described(chosen),
        preset=choice.preset,
        settings=choice.settings,
        reasons=choice.reasons,
        image_size=config.data.size,
        downsampling=f,
        grid=config.data.size // f,
        codebook_size=config.tokenizer.codebook_size,
        condition=config.condition.kind,
        stages=stages,
        memory=needs,
        encoding_seconds=encoding,
        seconds=encoding + sum(stage.speed.seconds for stage in stages),
    )


def _tokenizers(config: ExperimentConfig) -> list[tuple[str, ExperimentConfig]]:
    """The trainings of tokenizers: of the pictures, and of the maps if they have their own; with their flag."""
    condition = config.condition
    own = condition.map_kind is not None and condition.tokenizer == "own"
    return [("", config), *([(" --target condition", config.of_condition())] if own else [])]


def _stage(command: str, section: str, choice: Choice, data: DataFacts, speed: Speed) -> StageFacts:
    words = ["vqgan", *command.split(), "--preset", choice.preset, "--data", data.source]
    # The size and the architecture that a transformer sees are those of the tokenizer that it is trained on.
    others = ("tokenizer.", "data.size=") if section == "train_transformer" else ("condition.kind=",)
    settings = [setting for setting in choice.settings if not setting.startswith(others)]
    if speed.accumulate > 1:
        of_maps = "condition.first_stage." if "--target" in command else ""
        settings += [
            f"{of_maps}{section}.batch_size={speed.batch_size}",
            f"{of_maps}{section}.accumulate={speed.accumulate}",
        ]
    for setting in settings:
        words += ["--set", setting]
    seen = speed.steps * speed.batch_size * speed.accumulate
    return StageFacts(shlex.join(words), speed, None if data.endless else seen / data.images)
