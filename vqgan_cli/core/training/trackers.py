"""TensorBoard and wandb, beside the log that every run keeps: scalars, the config, and the pictures of training."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.images import read_image
from vqgan_cli.core.errors import TrackerError
from vqgan_cli.core.files import write_text
from vqgan_cli.core.presets import dump

__all__ = ["WANDB_ID_FILE", "log_picture", "start_trackers"]

_PROJECT = "vqgan"

WANDB_ID_FILE = "wandb-id.txt"
"""In the run folder: by it a resumed run is the same one at wandb."""


def start_trackers(accelerator: Accelerator, run: Path, config: ExperimentConfig, start: int) -> None:
    """Start the trackers that the accelerator was made with.

    Args:
        accelerator: the processes; the main one alone tracks.
        run: folder of the run, which keeps the trackers' files.
        config: what they show of the experiment.
        start: steps done before; TensorBoard hides what an earlier process logged of later ones.

    Raises:
        TrackerError: wandb cannot be reached, or does not know the user.
    """
    if not accelerator.is_main_process:
        return
    tensorboard = {"purge_step": start + 1} if start else {}
    wandb = {"dir": str(run), "name": run.name, "id": _wandb_id(accelerator, run), "resume": "allow"}
    try:
        accelerator.init_trackers(_PROJECT, init_kwargs={"tensorboard": tensorboard, "wandb": wandb})
    except Exception as error:  # wandb has its own errors, and they are no part of what we depend on
        accelerator.trackers = []  # one that has not begun cannot be ended
        if type(error).__module__.partition(".")[0] != "wandb":
            raise
        raise TrackerError(
            f"--tracker wandb cannot start: {' '.join(str(error).split())}",
            hint="log in with `wandb login`, or keep everything here with WANDB_MODE=offline and send it later with "
            "`wandb sync`",
        ) from error
    for tracker in accelerator.trackers:
        if tracker.name == "wandb":
            tracker.store_init_configuration(config.model_dump(mode="json"))
        else:
            tracker.tracker.add_text("config", f"```yaml\n{dump(config)}```", global_step=start)


def log_picture(accelerator: Accelerator, path: Path, step: int) -> None:
    """Show a picture of the run folder in the trackers; nothing without them, or where it was not written."""
    if not accelerator.trackers or not path.is_file():
        return
    pixels = read_image(path)[np.newaxis]  # [1, H, W, 3]
    for tracker in accelerator.trackers:
        layout: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"samples": pixels}, step=step, **layout)


def _wandb_id(accelerator: Accelerator, run: Path) -> str:
    """The one that the run has, or a new one that it keeps if wandb is asked for."""
    path = run / WANDB_ID_FILE
    if path.is_file() and (stored := path.read_text(encoding="utf-8").strip()):
        return stored
    new = secrets.token_hex(4)
    if any(str(tracker) == "wandb" for tracker in accelerator.log_with):
        write_text(path, f"{new}\n")
    return new
