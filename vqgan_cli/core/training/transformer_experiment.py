"""The prior's training as the shared loop sees it: state, metrics, samples, and what is saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import save_transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig, TransformerConfig
from vqgan_cli.core.data.images import contact_sheet, write_image
from vqgan_cli.core.data.tensors import to_arrays
from vqgan_cli.core.models.priors import Prior, PriorSpec, build_prior, sequence_order
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.sampling.sampler import Progress, SamplingSettings, Stopped, draw
from vqgan_cli.core.training.checkpoints import Checkpoint, pack_optimizer, unpack_optimizer
from vqgan_cli.core.training.code_batches import CodeBatch, batch_of
from vqgan_cli.core.training.code_sets import CodeSet
from vqgan_cli.core.training.ema import WeightAverage
from vqgan_cli.core.training.loop import Experiment, StepReport
from vqgan_cli.core.training.optimizer import adamw
from vqgan_cli.core.training.schedule import learning_rate_factor
from vqgan_cli.core.training.sharding import load_whole_state, shard, whole, whole_state
from vqgan_cli.core.training.stopping import BY_SIGNAL, StopRequest

__all__ = ["TransformerExperiment", "describe", "saved_architecture"]

_SAMPLES = 8
_FREE = {"embedding_dropout", "attention_dropout", "residual_dropout", "gradient_checkpointing"}
"""Keys of ``transformer`` that decide nothing about tensors."""


class TransformerExperiment(Experiment):
    """Prior, tokenizer and codes, as the training loop sees them."""

    def __init__(
        self,
        config: ExperimentConfig,
        train: CodeSet,
        validation: CodeSet,
        tokenizer: Tokenizer,
        map_encoder: MapEncoder | None,
        accelerator: Accelerator,
        *,
        data_name: str,
    ) -> None:
        self.config, self.accelerator, self.tokenizer = config, accelerator, tokenizer
        self.map_encoder = map_encoder
        self.train_codes, self.held_out_codes, self.data_name = train, validation, data_name
        settings = config.train_transformer
        kind = config.condition.kind
        sizes = {"none": 0, "class": len(train.classes)}
        self.spec = PriorSpec(
            codebook_size=tokenizer.codebook_size,
            grid=train.grid,
            condition="codes" if map_encoder else kind,  # type: ignore[arg-type]
            condition_size=map_encoder.codebook_size if map_encoder else sizes[kind],
            null_condition=kind != "none" and config.condition.dropout > 0,
        )
        self.prior = build_prior(config.transformer, self.spec).to(accelerator.device)
        self.average = WeightAverage(self.prior, settings.ema_decay) if settings.ema_decay > 0 else None
        if settings.compile:
            self.prior.compile()
        self.order = torch.from_numpy(sequence_order(config.transformer.order, *self.spec.grid))
        self.order = self.order.to(accelerator.device)
        self.sharded = settings.sharding == "full" and accelerator.num_processes > 1
        self._gathered: dict[str, Any] = {}
        self.network: nn.Module = self.prior
        if self.sharded:
            for prior in [self.prior] + ([self.model] if self.average else []):
                shard(prior, prior.blocks, accelerator.device, accelerator.num_processes)
        else:
            self.network = accelerator.prepare(self.prior)
        self.optimizer = accelerator.prepare(adamw(self.prior, settings))
        self.samples_seen = 0
        self.samples_per_step = 0

    @property
    def model(self) -> Prior:
        """What is validated, sampled from and saved: the average if there is one."""
        if self.average is None:
            return self.prior
        assert isinstance(self.average.module, Prior)
        return self.average.module

    def condition(self, batch: CodeBatch) -> Tensor:
        """Condition tokens of a batch, [B, C], on the device."""
        condition = batch.condition.to(self.accelerator.device)
        return torch.zeros_like(condition) if self.spec.condition == "none" else condition

    def micro_step(self, batch: CodeBatch, step: int) -> StepReport:
        """One update on a batch."""
        accelerator, settings = self.accelerator, self.config.train_transformer
        self._set_learning_rate(step)
        codes = batch.codes.to(accelerator.device).flatten(1)[:, self.order]  # [B, N]
        condition = self.condition(batch)
        if self.spec.null_condition:
            dropped = torch.rand(len(condition), 1, device=condition.device) < self.config.condition.dropout
            condition = condition.masked_fill(dropped, self.spec.null_token)
        inputs = codes[:, :-1]
        if settings.pkeep < 1:
            noise = torch.randint_like(inputs, self.spec.codebook_size)
            kept = torch.rand(inputs.shape, device=inputs.device) < settings.pkeep
            inputs = torch.where(kept, inputs, noise)
        metrics: dict[str, Tensor] = {}
        skipped = False
        self.network.train()
        with accelerator.accumulate(self.network):
            with accelerator.autocast():
                logits = self.network(inputs, condition)
            loss = F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                norm = accelerator.clip_grad_norm_(self.prior.parameters(), settings.clip_norm or math.inf)
                norm = whole(norm)
                # A scaler finds and skips such updates by itself, and lowers its scale.
                skipped = accelerator.scaler is None and not bool(torch.isfinite(norm))
                metrics["gradient_norm"] = norm.detach()
            if not skipped:
                self.optimizer.step()
            self.optimizer.zero_grad()
        with torch.no_grad():
            metrics["loss"] = loss.detach()
            metrics["accuracy"] = (logits.detach().argmax(-1) == codes).float().mean()
        return StepReport(metrics, skipped)

    def _set_learning_rate(self, step: int) -> None:
        settings = self.config.train_transformer
        factor = learning_rate_factor(
            step,
            total=settings.steps,
            warmup=settings.warmup_steps,
            schedule=settings.schedule,
            final=settings.final_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor

    def finish_step(self, step: int) -> None:
        """Let the average follow."""
        self.samples_seen += self.samples_per_step
        if self.average is not None:
            self.average.update(self.prior)

    def interval_metrics(self) -> dict[str, float]:
        """The learning rate."""
        return {"learning_rate": float(self.optimizer.param_groups[0]["lr"])}

    @torch.no_grad()  # inference mode would leave gathered weights that cannot be trained on
    def validate(self, stop: StopRequest) -> dict[str, float]:
        """Loss in nats per code, bits per pixel, and share of codes that were the likeliest; first view of each image,
        each process on its share.
        """
        accelerator, model = self.accelerator, self.model
        was_training = model.training
        model.eval()
        sums = torch.zeros(3, dtype=torch.float32, device=accelerator.device)
        held_out = self.held_out_codes
        mine = np.arange(accelerator.process_index, len(held_out), accelerator.num_processes)
        size = self.config.train_transformer.batch_size
        most = -(-len(held_out) // accelerator.num_processes) if self.sharded else len(mine)
        for begin in range(0, most, size):
            # Divided weights are gathered by all processes together: none may leave, or have nothing to do.
            if stop.pending() and not self.sharded:
                break
            part = mine[begin : begin + size]
            shown = part if len(part) else np.zeros(1, np.int64)
            batch = batch_of(held_out, shown, np.zeros_like(shown))
            codes = batch.codes.to(accelerator.device).flatten(1)[:, self.order]
            with accelerator.autocast():
                logits = model(codes[:, :-1], self.condition(batch)).float().flatten(0, 1)
            if not len(part):
                continue
            sums[0] += F.cross_entropy(logits, codes.flatten(), reduction="sum")
            sums[1] += (logits.argmax(-1) == codes.flatten()).sum()
            sums[2] += codes.numel()
        model.train(was_training)
        if stop.agreed(accelerator.device) in BY_SIGNAL:
            return {}
        nats, right, count = accelerator.reduce(sums).tolist()
        pixels = self.tokenizer.downsampling**2  # per code
        return {
            "loss": nats / count,
            "bits_per_pixel": nats / count / math.log(2) / pixels,
            "accuracy": right / count,
        }

    def better(self, new: Mapping[str, float], old: Mapping[str, float]) -> bool:
        """By the loss."""
        return new["loss"] < old["loss"]

    @torch.inference_mode()
    def save_samples(self, path: Path, stop: StopRequest) -> None:
        """Images as `vqgan generate` draws them: of classes spread over all, or between the maps and the originals of
        validation images.
        """
        model = self._whole_model()
        was_training = model.training
        model.eval()
        try:
            pictures, columns = self._draw_samples(model, lambda *_: not stop.pending())
        except Stopped:
            return
        finally:
            model.train(was_training)
        write_image(path, contact_sheet(pictures, columns=columns))

    def _draw_samples(self, model: Prior, progress: Progress) -> tuple[list[npt.NDArray[Any]], int]:
        """The pictures, and in how many columns they belong."""
        device = self.accelerator.device
        sampling = self.config.sampling.model_dump()
        if not self.spec.null_condition:
            sampling["guidance"] = 1.0
        settings = SamplingSettings(**sampling, seed=self.config.train_transformer.seed)
        if self.spec.condition != "codes":
            labels = torch.zeros(_SAMPLES, 1, dtype=torch.int64, device=device)
            if self.spec.condition == "class":
                labels[:, 0] = torch.arange(_SAMPLES, device=device) * self.spec.condition_size // _SAMPLES
            drawn = draw(model, labels, self.spec.grid, settings, progress=progress)
            return self._decoded(drawn), _SAMPLES // 2
        assert self.map_encoder is not None
        count = min(_SAMPLES, len(self.held_out_codes))
        batch = batch_of(self.held_out_codes, np.arange(count), np.zeros(count, np.int64))
        condition = batch.condition.to(device).unflatten(1, self.spec.grid)
        maps = self.map_encoder.decode(condition)
        drawn = draw(model, condition, self.spec.grid, settings, progress=progress)
        pictures = [self.map_encoder.map_kind.picture(each) for each in maps]
        return pictures + self._decoded(drawn) + self._decoded(batch.codes.to(device)), count

    def gather(self, *, optimizer: bool = False) -> None:
        """Divided weights and moments, whole, on the main process's CPU."""
        if not self.sharded:
            return
        keep = self.accelerator.is_main_process
        self._gathered = {"prior": whole_state(self.prior.state_dict(), keep=keep)}
        if self.average is not None:
            self._gathered["average"] = whole_state(self.average.module.state_dict(), keep=keep)
        if optimizer:
            tensors, groups = pack_optimizer(self.optimizer)
            self._gathered["optimizer"] = {name: each.cpu() for name, each in tensors.items()}, groups

    def _state(self, name: str) -> dict[str, Tensor]:
        """Whole state dict of the ``prior`` or of its ``average``."""
        if self.sharded:
            state: dict[str, Tensor] = self._gathered[name]
            return state
        return (self.prior if name == "prior" or self.average is None else self.average.module).state_dict()

    def _model_state(self) -> dict[str, Tensor]:
        """That of `model`."""
        return self._state("prior" if self.average is None else "average")

    def _whole_model(self) -> Prior:
        """What is sampled from by one process alone."""
        if not self.sharded:
            return self.model
        model = build_prior(self.config.transformer, self.spec)
        model.load_state_dict(self._model_state())
        return model.to(self.accelerator.device)

    def _decoded(self, codes: Tensor) -> list[npt.NDArray[Any]]:
        return to_arrays(self.tokenizer.decode(codes))

    def save_model(self, path: Path, step: int, validation: Mapping[str, float]) -> None:
        """Prior, tokenizer, config and provenance in one file."""
        save_transformer(
            path,
            self._model_state(),
            self.tokenizer.state_dict(),
            self.config,
            self.spec,
            self.train_codes.classes if self.spec.condition == "class" else (),
            {
                "version": __version__,
                "step": step,
                "data": self.data_name,
                "images": len(self.train_codes),
                "validation_images": len(self.held_out_codes),
                "weights": "average" if self.average is not None else "last",
                "validation": dict(validation),
            },
            self.map_encoder,
        )

    def architecture(self) -> dict[str, Any]:
        """What decides which tensors there are, and what they mean."""
        return {
            "transformer": self.config.transformer.model_dump(mode="json", exclude=_FREE),
            "grid": list(self.spec.grid),
            "codebook_size": self.spec.codebook_size,
            "condition": self.spec.condition,
            "classes": list(self.train_codes.classes) if self.spec.condition == "class" else [],
            "null_condition": self.spec.null_condition,
            "maps": [self.spec.condition_size, self.map_encoder.fingerprint] if self.map_encoder else None,
        }

    def checkpoint(self, step: int) -> Checkpoint:
        """Prior, optimiser, average and position in the data."""
        saved = Checkpoint(step)
        saved.facts = {
            "config": self.config.model_dump(mode="json"),
            "architecture": self.architecture(),
            "samples_seen": self.samples_seen,
            "processes": self.accelerator.num_processes,
        }
        saved.tensors["prior"] = self._state("prior")
        packed = self._gathered["optimizer"] if self.sharded else pack_optimizer(self.optimizer)
        saved.tensors["optimizer"], saved.facts["optimizer"] = packed
        if self.average is not None:
            saved.tensors["average"] = self._state("average")
            saved.facts["average_updates"] = self.average.updates
        if self.accelerator.scaler is not None:
            saved.facts["scaler"] = self.accelerator.scaler.state_dict()
        return saved

    def restore(self, saved: Checkpoint) -> None:
        """Put everything back as it was when the checkpoint was written."""
        load_whole_state(self.prior, saved.tensors["prior"])
        unpack_optimizer(self.optimizer, saved.tensors["optimizer"], saved.facts["optimizer"])
        if self.average is not None:
            load_whole_state(self.average.module, saved.tensors.get("average", saved.tensors["prior"]))
            self.average.updates = saved.facts.get("average_updates", 0)
        if self.accelerator.scaler is not None and "scaler" in saved.facts:
            self.accelerator.scaler.load_state_dict(saved.facts["scaler"])


def saved_architecture(saved: Checkpoint) -> dict[str, Any]:
    """`TransformerExperiment.architecture` of a checkpoint.

    One of an earlier version lacks the options that came later; it was made as their defaults say.
    """
    found: dict[str, Any] = dict(saved.facts.get("architecture", {}))
    defaults = TransformerConfig().model_dump(mode="json", exclude=_FREE)
    return found | {"transformer": {**defaults, **found.get("transformer", {})}}


def describe(experiment: TransformerExperiment, out: Path, start: int) -> list[tuple[str, str]]:
    """The header of a run: names and values for people."""
    config, settings, spec = experiment.config, experiment.config.train_transformer, experiment.spec
    parameters = sum(p.numel() for p in experiment.prior.parameters()) / 1e6
    train, held_out = experiment.train_codes, experiment.held_out_codes
    condition = f"{spec.condition_size} classes" if spec.condition == "class" else config.condition.kind
    if spec.condition == "codes":
        condition += f", {spec.cells} codes of {spec.condition_size} before those of the image"
    if spec.null_condition:
        condition += f", left out for {config.condition.dropout:.0%} of the images"
    views = train.codes.shape[1]
    return [
        ("images", f"{experiment.data_name}: {len(train)} to train, {len(held_out)} to validate"),
        ("views", f"{views} of each image" if views > 1 else "1 of each image, the centre"),
        (
            "sequence",
            f"{spec.grid[0]} x {spec.grid[1]} codes of {spec.codebook_size}, {config.transformer.order} order",
        ),
        ("condition", condition),
        (
            "prior",
            f"{config.transformer.kind}, {config.transformer.layers} layers, {parameters:.1f} M parameters",
        ),
        (
            "batch",
            f"{settings.batch_size} images x {settings.accumulate} micro-batches x "
            f"{experiment.accelerator.num_processes} processes"
            + (", which share the weights" if experiment.sharded else ""),
        ),
        ("steps", f"{settings.steps}" + (f", from {start}" if start else "")),
        ("device", f"{experiment.accelerator.device} in {settings.precision}"),
        ("run folder", str(out)),
    ]
