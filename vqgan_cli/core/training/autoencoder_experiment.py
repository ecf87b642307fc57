"""The tokenizer's training as the shared loop sees it: state, metrics, samples, and what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import read_tokenizer, resolve_model, save_tokenizer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.failures import ReadFailures
from vqgan_cli.core.data.images import contact_sheet, write_image
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.data.tensors import to_input
from vqgan_cli.core.data.training_sets import TrainingSets
from vqgan_cli.core.errors import ConfigError
from vqgan_cli.core.losses import LeCam
from vqgan_cli.core.metrics.codebook import CodebookUsage
from vqgan_cli.core.models.discriminator import Discriminator
from vqgan_cli.core.models.layers import use_channels_last
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.training.autoencoder import AutoencoderTrainer, Networks
from vqgan_cli.core.training.checkpoints import Checkpoint, pack_optimizer, unpack_optimizer
from vqgan_cli.core.training.ema import WeightAverage
from vqgan_cli.core.training.loop import Experiment, StepReport
from vqgan_cli.core.training.schedule import learning_rate_factor
from vqgan_cli.core.training.stopping import StopRequest
from vqgan_cli.core.training.validation import reconstruction_pairs, validate_tokenizer

__all__ = ["AutoencoderExperiment", "describe"]


class AutoencoderExperiment(Experiment):
    """Tokenizer, discriminator and their data, as the training loop sees them."""

    def __init__(
        self,
        config: ExperimentConfig,
        sets: TrainingSets,
        perceptual: torch.nn.Module | None,
        accelerator: Accelerator,
    ) -> None:
        self.config, self.sets, self.accelerator = config, sets, accelerator
        settings = config.train_ae
        tokenizer = Tokenizer(config.tokenizer)
        discriminator: Discriminator | None = None
        if settings.adversarial.weight > 0 and settings.adversarial_start() < settings.steps:
            discriminator = Discriminator(settings.adversarial, config.tokenizer.out_channels)
        lecam = LeCam() if discriminator is not None and settings.adversarial.lecam_weight > 0 else None
        if perceptual is not None:
            perceptual.to(accelerator.device)
            if settings.channels_last:
                use_channels_last(perceptual)
        if lecam is not None:
            lecam.to(accelerator.device)
        for module in (tokenizer.encoder, tokenizer.decoder, discriminator):
            if module is not None and settings.channels_last:
                use_channels_last(module)
            if module is not None and settings.compile:
                module.compile()
        self.networks = Networks(tokenizer, discriminator, perceptual, lecam)
        self.trainer = AutoencoderTrainer(accelerator, self.networks, settings)
        self.average = WeightAverage(tokenizer, settings.ema_decay) if settings.ema_decay > 0 else None
        self.usage = CodebookUsage(tokenizer.codebook_size, accelerator.device)
        self.validation_usage = CodebookUsage(tokenizer.codebook_size, accelerator.device)
        self.failures = ReadFailures()
        self.samples_seen = 0
        self.samples_per_step = 0

    @property
    def model(self) -> Tokenizer:
        """What is validated and saved: the average if there is one."""
        if self.average is None:
            return self.networks.tokenizer
        assert isinstance(self.average.module, Tokenizer)
        return self.average.module

    def micro_step(self, batch: Any, step: int) -> StepReport:
        """Both updates on one micro-batch."""
        for path, reason in batch["failed"]:
            self.failures.add(path, reason)
        self._set_learning_rate(step)
        images = to_input(batch["image"], self.networks.tokenizer, self.accelerator.device)
        if self.config.train_ae.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        result = self.trainer.step(images, step)
        self.usage.update(result.codes)
        return StepReport(result.metrics, result.skipped)

    def _set_learning_rate(self, step: int) -> None:
        settings = self.config.train_ae
        factor = learning_rate_factor(
            step,
            total=settings.steps,
            warmup=settings.warmup_steps,
            schedule=settings.schedule,
            final=settings.final_learning_rate,
        )
        if settings.scale_learning_rate:
            factor *= settings.batch_size * settings.accumulate * self.accelerator.num_processes
        self.trainer.set_learning_rate(factor)

    def finish_step(self, step: int) -> None:
        """Let the average follow."""
        self.samples_seen += self.samples_per_step
        if self.average is not None:
            self.average.update(self.networks.tokenizer)

    def interval_metrics(self) -> dict[str, float]:
        """Codebook usage since the last line, and the learning rate."""
        usage = self.usage
        self.usage = CodebookUsage(len(usage.counts), self.accelerator.device)
        usage.counts = self.accelerator.reduce(usage.counts)
        return {
            "codebook/usage": usage.usage,
            "codebook/perplexity": usage.perplexity,
            "learning_rate": self.trainer.learning_rate,
        }

    def validate(self, stop: StopRequest) -> dict[str, float]:
        """Reconstruction metrics on the validation images, each process on its share."""
        self.validation_usage = CodebookUsage(len(self.usage.counts), self.accelerator.device)
        return validate_tokenizer(
            self.model,
            self.sets.validation,
            kind=self.config.data.kind,
            perceptual=self.networks.perceptual,
            perceptual_weight=self.config.train_ae.perceptual.weight,
            batch_size=self.config.train_ae.batch_size,
            accelerator=self.accelerator,
            stop=stop,
            usage=self.validation_usage,
        )

    def validation_codes(self) -> npt.NDArray[np.int64] | None:
        """How often the newest validation used each code, [K]."""
        return self.validation_usage.counts.cpu().numpy()

    def better(self, new: Mapping[str, float], old: Mapping[str, float]) -> bool:
        """By the reconstruction loss, perceptual term included."""
        return new["loss"] < old["loss"]

    def save_samples(self, path: Path, stop: StopRequest) -> None:
        """Originals above their reconstructions."""
        if stop.pending():
            return
        kind = self.config.data.kind
        map_kind = None if kind == "image" else build_map_kind(kind, self.config.data.maps)
        pictures = reconstruction_pairs(
            self.model, self.sets.validation, 8, self.accelerator.device, map_kind
        )
        write_image(path, contact_sheet(pictures, columns=len(pictures) // 2))

    def save_model(self, path: Path, step: int, validation: Mapping[str, float]) -> None:
        """Weights, config and provenance in one file."""
        save_tokenizer(
            path,
            self.model.state_dict(),
            self.config,
            {
                "version": __version__,
                "step": step,
                "data": self.sets.train.source.name,
                "images": len(self.sets.train),
                "validation_images": len(self.sets.validation),
                "classes": list(self.sets.train.source.classes),
                "weights": "average" if self.average is not None else "last",
                "validation": dict(validation),
            },
        )

    def checkpoint(self, step: int) -> Checkpoint:
        """Networks, optimisers, average and position in the data."""
        saved = Checkpoint(step)
        saved.facts = {
            "config": self.config.model_dump(mode="json"),
            "samples_seen": self.samples_seen,
            "processes": self.accelerator.num_processes,
        }
        networks = self.networks
        saved.tensors["tokenizer"] = networks.tokenizer.state_dict()
        saved.tensors["optimizer"], saved.facts["optimizer"] = pack_optimizer(self.trainer.optimizer)
        if networks.discriminator is not None:
            assert self.trainer.optimizer_d is not None
            saved.tensors["discriminator"] = networks.discriminator.state_dict()
            saved.tensors["optimizer_d"], saved.facts["optimizer_d"] = pack_optimizer(
                self.trainer.optimizer_d
            )
        if networks.lecam is not None:
            saved.tensors["lecam"] = networks.lecam.state_dict()
        if self.average is not None:
            saved.tensors["average"] = self.average.module.state_dict()
            saved.facts["average_updates"] = self.average.updates
        if self.accelerator.scaler is not None:
            saved.facts["scaler"] = self.accelerator.scaler.state_dict()
        return saved

    def restore(self, saved: Checkpoint) -> None:
        """Put everything back as it was when the checkpoint was written."""
        networks = self.networks
        networks.tokenizer.load_state_dict(saved.tensors["tokenizer"])
        unpack_optimizer(self.trainer.optimizer, saved.tensors["optimizer"], saved.facts["optimizer"])
        if networks.discriminator is not None and "discriminator" in saved.tensors:
            assert self.trainer.optimizer_d is not None
            networks.discriminator.load_state_dict(saved.tensors["discriminator"])
            unpack_optimizer(
                self.trainer.optimizer_d, saved.tensors["optimizer_d"], saved.facts["optimizer_d"]
            )
        if networks.lecam is not None and "lecam" in saved.tensors:
            networks.lecam.load_state_dict(saved.tensors["lecam"])
        if self.average is not None:
            # An average that the run had not kept so far begins at the weights, not at a random start.
            self.average.module.load_state_dict(saved.tensors.get("average", saved.tensors["tokenizer"]))
            self.average.updates = saved.facts.get("average_updates", 0)
        if self.accelerator.scaler is not None and "scaler" in saved.facts:
            self.accelerator.scaler.load_state_dict(saved.facts["scaler"])

    def start_from(self, path: Path, reporter: Reporter) -> None:
        """Take over the weights of a trained tokenizer that fit, and say which do not."""
        path = resolve_model(path)
        theirs = read_tokenizer(path)[1]
        mine = self.networks.tokenizer.state_dict()
        fitting = {k: v for k, v in theirs.items() if k in mine and mine[k].shape == v.shape}
        self.networks.tokenizer.load_state_dict(fitting, strict=False)
        if self.average is not None:
            self.average.module.load_state_dict(fitting, strict=False)
        reporter.info(f"started from {str(path)!r}: {len(fitting)} of {len(mine)} tensors taken over")
        for name in sorted(set(mine) - set(fitting)):
            reason = (
                f"shape {tuple(theirs[name].shape)} is not {tuple(mine[name].shape)}"
                if name in theirs
                else "absent"
            )
            reporter.warning(f"not in the start, keeps its random value: {name} ({reason})")
        for name in sorted(set(theirs) - set(mine)):
            reporter.warning(f"in the start but not used: {name}")
        if not fitting:
            raise ConfigError([f"--init-from: no tensor of {str(path)!r} fits this architecture"])


def describe(experiment: AutoencoderExperiment, out: Path, start: int) -> list[tuple[str, str]]:
    """The header of a run: names and values for people."""
    config, settings = experiment.config, experiment.config.train_ae
    networks, processes = experiment.networks, experiment.accelerator.num_processes
    sizes = {
        name: sum(p.numel() for p in module.parameters()) / 1e6
        for name, module in (("tokenizer", networks.tokenizer), ("discriminator", networks.discriminator))
        if module is not None
    }
    copies = 4 + (1 if experiment.average is not None else 0)  # weights, gradients, two moments, average
    side = config.data.size // config.tokenizer.downsampling
    terms: list[str] = [settings.reconstruction]
    if networks.perceptual is not None:
        terms.append(
            f"{settings.perceptual.weight:g} x {settings.perceptual.kind} ({settings.perceptual.network})"
        )
    if networks.discriminator is not None:
        terms.append(
            f"{settings.adversarial.weighting} GAN {settings.adversarial.weight:g} "
            f"from step {settings.adversarial_start() + settings.adversarial.pretrain_steps}"
        )
    return [
        ("images", experiment.sets.describe()),
        ("size", f"{config.data.size} x {config.data.size} pixels"),
        ("tokens", f"{side} x {side} = {side * side} per image (f = {config.tokenizer.downsampling})"),
        (
            "codebook",
            f"{config.tokenizer.codebook_size} codes of {config.tokenizer.codebook_dim} numbers "
            f"({config.tokenizer.quantizer.kind})",
        ),
        ("parameters", ", ".join(f"{name} {size:.1f} M" for name, size in sizes.items())),
        ("loss", " + ".join(terms)),
        (
            "batch",
            f"{settings.batch_size} images x {settings.accumulate} micro-batches x {processes} processes",
        ),
        ("steps", f"{settings.steps}" + (f", from {start}" if start else "")),
        ("device", f"{experiment.accelerator.device} in {settings.precision}"),
        (
            "memory",
            f"{sum(sizes.values()) * 4e-3 * copies:.2f} GB for weights and optimisers, activations come on top",
        ),
        ("run folder", str(out)),
    ]
