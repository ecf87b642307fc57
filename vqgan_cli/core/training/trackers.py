"""TensorBoard and wandb, beside the log that every run keeps: scalars, the config, and the pictures of training."""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.data.images import read_image
from vqgan_cli.core.errors import TrackerError
from vqgan_cli.core.files import write_text
from vqgan_cli.core.presets import dump
from vqgan_cli.core.training.run_folder import TRACKER_FOLDERS

__all__ = ["WANDB_ID_FILE", "keep_wandb_id", "log_picture", "start_trackers"]

WANDB_ID_FILE = "wandb-id.txt"
"""In the run folder: by it a resumed run is the same one at wandb."""


def start_trackers(
    accelerator: Accelerator, run: Path, config: ExperimentConfig, start: int, *, goes_on: bool
) -> None:
    """Start the trackers that the accelerator was made with; where one does not start, nothing is left of any.

    Args:
        accelerator: the processes; the main one alone tracks.
        run: folder of the run, which keeps the trackers' files.
        config: what they show of the experiment.
        start: steps done before; TensorBoard hides what an earlier process logged of later ones.
        goes_on: whether it is the run that is in the folder, for which wandb has a run already.

    Raises:
        TrackerError: wandb cannot be reached, or does not know the user.
    """
    if not accelerator.is_main_process:
        return
    identity = (_stored_wandb_id(run) if goes_on else "") or secrets.token_hex(4)
    tensorboard = {"purge_step": start + 1} if start else {}
    wandb = {"dir": str(run), "name": run.name, "id": identity, "resume": "allow"}
    before = _files(run)
    try:
        accelerator.init_trackers(
            TRACKER_FOLDERS["tensorboard"], init_kwargs={"tensorboard": tensorboard, "wandb": wandb}
        )
    except BaseException as error:
        for tracker in accelerator.trackers:
            with suppress(Exception):  # one that has not begun cannot be ended
                tracker.finish()
        accelerator.trackers = []
        for path in sorted(_files(run) - before):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        # wandb has its own errors, and they are no part of what we depend on.
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


def keep_wandb_id(accelerator: Accelerator, run: Path) -> None:
    """Note in the run folder which run it is at wandb, if it is one there.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    for tracker in accelerator.trackers:
        if tracker.name == "wandb":
            write_text(run / WANDB_ID_FILE, f"{tracker.tracker.id}\n")


def log_picture(accelerator: Accelerator, path: Path, step: int) -> None:
    """Show a picture of the run folder in the trackers; nothing without them, or where it was not written."""
    if not accelerator.trackers or not path.is_file():
        return
    pixels = read_image(path)[np.newaxis]  # [1, H, W, 3]
    for tracker in accelerator.trackers:
        layout: dict[str, Any] = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({"samples": pixels}, step=step, **layout)


def _stored_wandb_id(run: Path) -> str:
    path = run / WANDB_ID_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _files(run: Path) -> set[Path]:
    """Of trackers, and the folders in which they are."""
    folders = [run / name for name in TRACKER_FOLDERS.values() if (run / name).is_dir()]
    return {*folders, *(path for folder in folders for path in folder.iterdir())}
