"""How well a tokenizer reconstructs held-out images."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vqgan_cli.core.config import map_form
from vqgan_cli.core.data.dataset import ImageDataset, make_loader
from vqgan_cli.core.data.maps import MapKind
from vqgan_cli.core.data.sampler import sequential_batches
from vqgan_cli.core.data.tensors import to_arrays, to_input
from vqgan_cli.core.losses import reconstruction_loss
from vqgan_cli.core.metrics.codebook import CodebookUsage
from vqgan_cli.core.metrics.reconstruction import RunningMeans, l1, picture_distances
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.training.stopping import BY_SIGNAL, StopRequest

__all__ = ["reconstruction_pairs", "validate_tokenizer"]


@torch.inference_mode()
def validate_tokenizer(
    tokenizer: Tokenizer,
    dataset: ImageDataset,
    *,
    kind: str,
    perceptual: nn.Module | None,
    perceptual_weight: float = 1.0,
    batch_size: int,
    accelerator: Accelerator,
    stop: StopRequest,
    usage: CodebookUsage,
) -> dict[str, float]:
    """Means over all validation images, shared among the processes.

    ``usage`` is new, and has the counts of all processes afterwards.

    Returns:
        For pictures ``l1``, ``psnr`` (dB), ``ssim``, ``perceptual`` if there is a network; for label maps
        ``cross_entropy`` (nats per pixel) and ``accuracy``; for values such as depth ``l1``; for all ``loss`` (by which
        models are compared), ``codebook_usage``, ``perplexity`` and ``codes_never_used``. Empty if asked to stop.
    """
    device = accelerator.device
    was_training = tokenizer.training
    tokenizer.eval()
    means = RunningMeans(
        [*_metrics_of(kind), *(["perceptual"] if perceptual is not None else []), "loss"], device
    )
    batches = sequential_batches(
        len(dataset), batch_size, rank=accelerator.process_index, world_size=accelerator.num_processes
    )
    try:
        for batch in make_loader(dataset, batches, workers=0):
            if stop.pending():
                break
            images = to_input(batch["image"], tokenizer, device)
            with accelerator.autocast():
                output = tokenizer(images)
            usage.update(output.quantized.codes)
            means.update(
                **_distances(kind, output.reconstruction.float(), images, perceptual, perceptual_weight)
            )
    finally:
        tokenizer.train(was_training)
    if stop.agreed(device) in BY_SIGNAL:
        return {}
    means.totals = accelerator.reduce(means.totals)
    usage.counts = accelerator.reduce(usage.counts)
    return means.compute() | {
        "codebook_usage": usage.usage,
        "perplexity": usage.perplexity,
        "codes_never_used": float(usage.never_used),
    }


def _metrics_of(kind: str) -> list[str]:
    return {"labels": ["cross_entropy", "accuracy"], "value": ["l1"]}.get(
        map_form(kind), ["l1", "psnr", "ssim"]
    )


def _distances(
    kind: str, output: Tensor, images: Tensor, perceptual: nn.Module | None, perceptual_weight: float
) -> dict[str, Tensor]:
    """Values per image, [B] each."""
    form = map_form(kind)
    if form == "labels":
        entropy = reconstruction_loss("cross-entropy", output, images)
        right = (output.argmax(1) == images.argmax(1)).float().flatten(1).mean(1)
        return {"cross_entropy": entropy, "accuracy": right, "loss": entropy}
    clamped = output.clamp(-1, 1)
    if form == "value":
        error = l1(clamped, images)
        return {"l1": error, "loss": error}
    values = picture_distances(clamped, images, perceptual)
    values["loss"] = values["l1"]
    if perceptual is not None:
        values["loss"] = values["l1"] + perceptual_weight * values["perceptual"]
    return values


@torch.inference_mode()
def reconstruction_pairs(
    tokenizer: Tokenizer,
    dataset: ImageDataset,
    count: int,
    device: torch.device,
    map_kind: MapKind | None = None,
) -> list[npt.NDArray[Any]]:
    """The first ``count`` validation images, then their reconstructions, uint8 [H, W, 3]; maps as people see them."""
    was_training = tokenizer.training
    tokenizer.eval()
    items = [dataset[(0, position)]["image"] for position in range(min(count, len(dataset)))]
    images = to_input(torch.stack(items), tokenizer, device)
    shown = tokenizer.pixels(tokenizer(images).reconstruction.float())
    tokenizer.train(was_training)
    arrays = to_arrays(tokenizer.pixels(images)) + to_arrays(shown)
    return [map_kind.picture(array) for array in arrays] if map_kind else arrays
