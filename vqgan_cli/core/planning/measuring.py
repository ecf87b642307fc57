"""How long a step of each training takes on this device, by doing a few."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig, OptimisationConfig
from vqgan_cli.core.data.codes_format import codes_type
from vqgan_cli.core.data.dataset import make_loader
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.sampler import SeededBatchSampler
from vqgan_cli.core.data.training_sets import open_training_sets
from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import MemoryLimitError, WeightsError
from vqgan_cli.core.memory import is_out_of_memory, memory_errors
from vqgan_cli.core.models.priors import PriorSpec
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.pretrained import load_perceptual
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.autoencoder_experiment import AutoencoderExperiment
from vqgan_cli.core.training.code_batches import code_batches
from vqgan_cli.core.training.code_sets import CodeSet
from vqgan_cli.core.training.measure import peak_memory_gb
from vqgan_cli.core.training.setup import make_accelerator
from vqgan_cli.core.training.transformer_experiment import TransformerExperiment

__all__ = [
    "Phase",
    "Speed",
    "measure_encoding",
    "measure_steps",
    "measure_tokenizer",
    "measure_transformer",
    "planned_spec",
]

_IMAGES = 256  # of random codes
_MOST = 200  # calls that are timed
_ENCODED = 16  # squares at a time, as before a training


@dataclass(frozen=True)
class Speed:
    """What was measured of one training.

    Attributes:
        batch_size: images of a micro-batch that fit into memory.
        accumulate: micro-batches of a step, so that it sees as many images as the preset says.
        steps: of the whole training.
        steps_measured: how many were done, but for the first of each kind, which does not count.
        seconds: that all steps will take.
        images_per_second: in the slowest part of the training.
        memory_gb: the most that was used, in 10^9 bytes; of the GPU, else of the whole process.
    """

    batch_size: int
    accumulate: int
    steps: int
    steps_measured: int
    seconds: float
    images_per_second: float
    memory_gb: float


@dataclass(frozen=True)
class Phase:
    """Steps from ``first`` on that cost the same, ``count`` of them."""

    first: int
    count: int


def measure_tokenizer(config: ExperimentConfig, device: str, seconds: float, reporter: Reporter) -> Speed:
    """A few steps on the images themselves: without the discriminator, and with it from where it starts.

    Args:
        config: the experiment.
        device: see `resolve_device`.
        seconds: about how long to measure each of both.
        reporter: hears it if the perceptual network cannot be had and is left out.

    Raises:
        MemoryLimitError: not one image fits.
        VqganError: the data cannot be used.
    """
    settings = config.train_ae
    sets = open_training_sets(config.data, seed=settings.seed)
    try:
        perceptual = load_perceptual(settings.perceptual)
    except WeightsError as error:
        reporter.warning(f"measured without the perceptual network, so it will be slower: {error.message}")
        perceptual = None
    start = min(settings.adversarial_start() + settings.adversarial.pretrain_steps, settings.steps)
    start = settings.steps if settings.adversarial.weight == 0 else start
    phases = [Phase(0, start), Phase(start, settings.steps - start)]

    def prepare(accelerator: Accelerator, batch_size: int) -> tuple[AutoencoderExperiment, Iterator[Any]]:
        sampler = SeededBatchSampler(len(sets.train), batch_size, settings.seed)
        pin = accelerator.device.type == "cuda"
        loader = make_loader(
            sets.train, sampler, workers=config.data.workers, seed=settings.seed, pin_memory=pin
        )
        return AutoencoderExperiment(config, sets, perceptual, accelerator), iter(loader)

    return measure_steps(settings, device, phases, prepare, seconds)


def measure_encoding(config: ExperimentConfig, device: str, seconds: float) -> float:
    """Seconds that the codes of one square take, which the transformer is trained on.

    Args:
        config: the experiment.
        device: see `resolve_device`.
        seconds: about how long to measure.

    Raises:
        MemoryLimitError: a batch does not fit.
    """
    chosen = resolve_device(device)
    tokenizer = Tokenizer(config.tokenizer).eval().requires_grad_(False).to(chosen)
    shape = (_ENCODED, config.tokenizer.in_channels, config.data.size, config.data.size)
    images = torch.zeros(shape, device=chosen).contiguous(memory_format=torch.channels_last)
    with memory_errors("while encoding", "a smaller preset: vqgan presets list"):
        each, _ = _repeated(lambda: tokenizer.encode(images).cpu(), seconds)
    return each / _ENCODED


def measure_transformer(
    config: ExperimentConfig, device: str, seconds: float, classes: tuple[str, ...]
) -> Speed:
    """A few steps on random codes, which cost what real ones do.

    Args:
        config: the experiment.
        device: see `resolve_device`.
        seconds: about how long to measure.
        classes: names of the classes.

    Raises:
        MemoryLimitError: not one image fits.
    """
    settings = config.train_transformer
    tokenizer, encoder = _stand_ins(config)
    side = config.data.size // tokenizer.downsampling
    generator = np.random.default_rng(settings.seed)

    def drawn(codebook_size: int) -> Any:
        codes = generator.integers(0, codebook_size, (_IMAGES, 1, side, side))
        return codes.astype(codes_type(codebook_size))

    labels = generator.integers(0, max(1, len(classes)), _IMAGES)
    condition = None if encoder is None else drawn(encoder.codebook_size)
    codes = CodeSet(drawn(tokenizer.codebook_size), labels, classes, [], condition)

    def prepare(accelerator: Accelerator, batch_size: int) -> tuple[TransformerExperiment, Iterator[Any]]:
        experiment = TransformerExperiment(
            config, codes, codes, tokenizer, encoder, accelerator, data_name="random codes"
        )
        sampler = SeededBatchSampler(_IMAGES, batch_size, settings.seed)
        return experiment, code_batches(codes, sampler, settings.seed)

    return measure_steps(settings, device, [Phase(0, settings.steps)], prepare, seconds)


def planned_spec(config: ExperimentConfig, classes: int) -> PriorSpec:
    """What the prior of an experiment will model, with so many classes in its images."""
    tokenizer, encoder = _stand_ins(config)
    side, kind = config.data.size // tokenizer.downsampling, config.condition.kind
    return PriorSpec(
        codebook_size=tokenizer.codebook_size,
        grid=(side, side),
        condition="codes" if encoder else "class" if kind == "class" else "none",
        condition_size=encoder.codebook_size if encoder else classes if kind == "class" else 0,
        null_condition=kind != "none" and config.condition.dropout > 0,
    )


def _stand_ins(config: ExperimentConfig) -> tuple[Tokenizer, MapEncoder | None]:
    """Tokenizers by which a prior knows its sizes; they have no weights and never run."""
    with torch.device("meta"):
        tokenizer = Tokenizer(config.tokenizer)
        kind, condition = config.condition.map_kind, config.condition
        if kind is None:
            return tokenizer, None
        of_maps = {"same": tokenizer, "none": None, "own": None}[condition.tokenizer]
        if condition.tokenizer == "own" and condition.first_stage is not None:
            of_maps = Tokenizer(condition.first_stage.tokenizer)
    return tokenizer, MapEncoder(build_map_kind(kind, config.data.maps), of_maps, tokenizer.downsampling)


def measure_steps(
    settings: OptimisationConfig,
    device: str,
    phases: list[Phase],
    prepare: Callable[[Accelerator, int], tuple[Any, Iterator[Any]]],
    seconds: float,
) -> Speed:
    """Measure with the batch of the preset, or the largest half, quarter and so on of it that fits into memory."""
    batch_size = settings.batch_size
    while True:
        speed = None
        with _own_accelerator(settings, device) as accelerator:
            try:
                speed = _measured(settings, accelerator, phases, prepare, batch_size, seconds)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
        if speed is not None:
            return speed
        if batch_size == 1:
            raise MemoryLimitError(
                "out of memory with a batch of one image", hint="a smaller preset: vqgan presets list"
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        batch_size //= 2


def _measured(
    settings: OptimisationConfig,
    accelerator: Accelerator,
    phases: list[Phase],
    prepare: Callable[[Accelerator, int], tuple[Any, Iterator[Any]]],
    batch_size: int,
    seconds: float,
) -> Speed:
    torch.manual_seed(settings.seed)
    experiment, batches = prepare(accelerator, batch_size)
    accumulate = -(-settings.batch_size * settings.accumulate // batch_size)
    total, done, slowest = 0.0, 0, 0.0
    for phase in phases:
        if not phase.count:
            continue
        each, measured = _seconds_per_batch(experiment, batches, phase.first, accelerator.device, seconds)
        total += each * accumulate * phase.count
        done, slowest = done + measured, max(slowest, each)
    return Speed(
        batch_size,
        accumulate,
        settings.steps,
        done,
        total,
        batch_size / slowest,
        peak_memory_gb(accelerator.device),
    )


def _seconds_per_batch(
    experiment: Any, batches: Iterator[Any], step: int, device: torch.device, seconds: float
) -> tuple[float, int]:
    """Mean time of a micro-batch, reading included, and of how many."""

    def once() -> None:
        experiment.micro_step(next(batches), step)
        experiment.finish_step(step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return _repeated(once, seconds)


def _repeated(once: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """Mean time of a call and of how many calls; the first one starts things up and is left out."""
    once()
    begun, count = time.monotonic(), 0
    while count < 1 or (time.monotonic() - begun < seconds and count < _MOST):
        once()
        count += 1
    return (time.monotonic() - begun) / count, count


@contextmanager
def _own_accelerator(settings: OptimisationConfig, device: str) -> Iterator[Accelerator]:
    """One accelerator after the other: they share their precision, and both trainings may have different ones."""
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        yield make_accelerator(settings, device, (), Path())
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
