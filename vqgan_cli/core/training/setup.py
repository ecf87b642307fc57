"""Device, precision and processes of a training run."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

from vqgan_cli.core.config import OptimisationConfig, TrainAEConfig
from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import UsageError, did_you_mean
from vqgan_cli.core.processes import launched_processes

__all__ = ["make_accelerator"]

TRACKERS = {"tensorboard": "tensorboard", "wandb": "wandb"}
"""Package that each tracker needs, which is also the name of our extra."""


def make_accelerator(
    config: OptimisationConfig, device: str, trackers: tuple[str, ...], run_folder: Path
) -> Accelerator:
    """One accelerator for however many processes a launcher has started; its trackers are still to be started.

    Raises:
        UsageError: the device, the precision on it, or a tracker is not available.
    """
    for name in trackers:
        if name not in TRACKERS:
            raise UsageError(
                f"unknown tracker {name!r}{did_you_mean(name, TRACKERS)}", hint="tensorboard or wandb"
            )
        if importlib.util.find_spec(TRACKERS[name]) is None:
            raise UsageError(f"--tracker {name} needs a package", hint=f"pip install 'vqgan[{name}]'")
    launched = launched_processes() > 1
    chosen = resolve_device(device)
    if config.precision == "fp16" and chosen.type == "cpu":
        raise UsageError("fp16 does not train on a CPU", hint="take --precision bf16 or fp32")
    if (
        isinstance(config, TrainAEConfig)
        and config.adversarial.norm == "sync-batch"
        and chosen.type != "cuda"
    ):
        raise UsageError(
            "train_ae.adversarial.norm sync-batch needs CUDA", hint="take batch, group or actnorm"
        )
    if not launched and chosen.type == "cuda" and chosen.index:
        # accelerate has no argument for it.
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(chosen)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision={"fp32": "no"}.get(config.precision, config.precision),
        # The loader is endless, so a batch never ends early.
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=config.accumulate, sync_with_dataloader=False
        ),
        step_scheduler_with_optimizer=False,
        log_with=list(trackers) or None,
        project_dir=str(run_folder),
    )
