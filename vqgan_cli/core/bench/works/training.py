"""Training steps of both trainers, on data in memory."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vqgan_cli.core.bench.limits import Pass
from vqgan_cli.core.bench.plain.training import PlainPriorTrainer, PlainTokenizerTrainer
from vqgan_cli.core.bench.plain.transformers import plain_transformer
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject
from vqgan_cli.core.bench.work import Way, Work
from vqgan_cli.core.bench.works.tokenizing import counted_flops, sample_images
from vqgan_cli.core.config import AdversarialConfig, OptimisationConfig, TrainAEConfig
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.discriminator import Discriminator
from vqgan_cli.core.models.layers import use_channels_last
from vqgan_cli.core.training.autoencoder import AutoencoderTrainer, Networks
from vqgan_cli.core.training.code_batches import batch_of
from vqgan_cli.core.training.code_sets import CodeSet
from vqgan_cli.core.training.setup import make_accelerator
from vqgan_cli.core.training.transformer_experiment import TransformerExperiment

__all__ = ["check_training", "train_works"]


_SEQUENCES = 4
"""Sequences of codes in a training step for each image in one of the tokenizer."""


def check_training(subject: Subject, settings: BenchSettings) -> None:
    """Find what cannot be trained before anything is measured.

    Raises:
        UsageError: fp16 on a CPU.
    """
    if subject.precision == "fp16" and subject.device.type == "cpu":
        raise UsageError("fp16 does not train on a CPU", hint="take --precision bf16 or fp32")


def train_works(subject: Subject, settings: BenchSettings) -> Iterator[Work]:
    """A step of the tokenizer with both updates, and a step of the prior."""
    yield _tokenizer_work(subject, settings)
    if subject.prior is not None:
        yield _prior_work(subject, settings)


def _tokenizer_work(subject: Subject, settings: BenchSettings) -> Work:
    """After the adversarial start, without a perceptual network: its weights may not be here."""
    batch = settings.batch(subject.device.type)
    config = tokenizer_training(subject)
    laid_out = sample_images(subject, settings, batch)
    images = laid_out.contiguous()
    networks = new_networks(subject, config)
    assert networks.discriminator is not None
    plain = PlainTokenizerTrainer(networks.tokenizer, networks.discriminator, config)  # type: ignore[arg-type]
    for module in (networks.tokenizer.encoder, networks.tokenizer.decoder, networks.discriminator):
        use_channels_last(module)
    trainer = AutoencoderTrainer(_accelerator(config, subject.device), networks, config)

    def ours() -> object:
        return trainer.step(laid_out, config.steps)

    def theirs() -> object:
        return plain.step(images)

    side = subject.config.data.size
    name = f"train-ae {side}x{side}, batch {batch}"
    return Work(name, "images", Way(ours, batch), Way(theirs, batch), lambda: [Pass(counted_flops(ours))])


def tokenizer_training(subject: Subject) -> TrainAEConfig:
    """The settings of the experiment but for the loss, which both ways have: L1, hinge, adaptive weight."""
    settings = subject.config.train_ae
    adversarial = AdversarialConfig(
        channels=settings.adversarial.channels, layers=settings.adversarial.layers, start=0, weight=0.8
    )
    return settings.model_copy(
        update={
            "adversarial": adversarial,
            "reconstruction": "l1",
            "precision": subject.precision,
            "accumulate": 1,
            "forward_passes": 1,
            "perceptual": settings.perceptual.model_copy(update={"weight": 0.0}),
        }
    )


def new_networks(subject: Subject, config: TrainAEConfig) -> Networks:
    """Copies to be trained."""
    torch.manual_seed(0)
    discriminator = Discriminator(config.adversarial, subject.config.tokenizer.out_channels)
    tokenizer = copy.deepcopy(subject.tokenizer).train().requires_grad_(True)
    return Networks(tokenizer, discriminator.to(subject.device), None)


def _prior_work(subject: Subject, settings: BenchSettings) -> Work:
    """Codes and classes at random, without dropout in the network."""
    prior = subject.require_prior()
    spec, batch = prior.spec, _SEQUENCES * settings.batch(subject.device.type)
    classes = tuple(map(str, range(spec.condition_size))) if spec.condition == "class" else ()
    still = {"embedding_dropout": 0.0, "attention_dropout": 0.0, "residual_dropout": 0.0}
    config = subject.config.model_copy(
        update={
            "transformer": subject.config.transformer.model_copy(update=still),
            "train_transformer": subject.config.train_transformer.model_copy(
                update={"precision": subject.precision, "accumulate": 1, "ema_decay": 0.0}
            ),
            "condition": subject.config.condition.model_copy(update={"kind": "class" if classes else "none"}),
        }
    )
    generator = np.random.default_rng(0)
    grids = generator.integers(0, spec.codebook_size, (batch, 1, *spec.grid))
    codes = CodeSet(grids, generator.integers(0, max(1, len(classes)), batch), classes)
    accelerator = _accelerator(config.train_transformer, subject.device)
    experiment = TransformerExperiment(
        config, codes, codes, subject.tokenizer, None, accelerator, data_name="random codes"
    )
    everything = batch_of(codes, np.arange(batch), np.zeros(batch, np.int64))
    model = plain_transformer(experiment.prior)
    plain = (
        None if model is None else PlainPriorTrainer(model.train(), config.train_transformer.learning_rate)
    )
    rows = everything.codes.flatten(1).to(subject.device)
    condition = experiment.condition(everything)

    def ours() -> object:
        return experiment.micro_step(everything, 0)

    def theirs() -> object:
        assert plain is not None
        return plain.step(rows, condition)

    name = f"train-transformer, batch {batch}"
    return Work(
        name,
        "images",
        Way(ours, batch),
        Way(theirs, batch) if plain else None,
        lambda: [Pass(counted_flops(ours))],
    )


def _accelerator(config: OptimisationConfig, device: torch.device) -> Accelerator:
    """A new one: they share their precision, and both trainings may have different ones."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return make_accelerator(config, str(device), (), Path())
