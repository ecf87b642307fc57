"""The machine and the installation: versions, devices, precisions, and what is known to be wrong with them."""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

import torch

from vqgan_cli import __version__
from vqgan_cli.core.models.priors.int8 import has_int8
from vqgan_cli.core.models.torchvision_compat import torchvision_mismatch
from vqgan_cli.core.pretrained import cached_weights

__all__ = [
    "OPTIONAL_PACKAGES",
    "DeviceFacts",
    "SystemFacts",
    "WeightsFacts",
    "describe_system",
    "device_facts",
    "installed_versions",
]

_PACKAGES = (
    "torch",
    "torchvision",
    "accelerate",
    "lpips",
    "numpy",
    "pillow",
    "pydantic",
    "safetensors",
    "typer",
)
OPTIONAL_PACKAGES = {"torch-fidelity": "eval", "tensorboard": "tensorboard", "wandb": "wandb"}
"""Packages that only some options need, each with the extra of ours that installs it."""


@dataclass(frozen=True)
class DeviceFacts:
    """Something to compute on.

    Attributes:
        device: as ``--device`` takes it.
        name: what the maker calls it.
        memory: bytes in all; the RAM for a CPU.
        cores: those that this process may use; None for a GPU.
        precisions: for ``fp32``, ``bf16``, ``fp16`` and on a CPU ``int8``: ``yes``, ``no``, or what restricts it.
    """

    device: str
    name: str
    memory: int
    cores: int | None
    precisions: dict[str, str]


@dataclass(frozen=True)
class WeightsFacts:
    """The cached weights of an LPIPS network; no file: they would be downloaded when first needed."""

    network: str
    file: Path | None
    bytes: int | None


@dataclass(frozen=True)
class SystemFacts:
    """What `describe_system` finds.

    Attributes:
        versions: by package; None: not installed.
        devices: the CPU, then every GPU.
        weights: one entry per LPIPS network.
        weights_folder: where cached weights are looked for.
        problems: what is wrong, each with its remedy.
    """

    kind: ClassVar[str] = "system"
    versions: dict[str, str | None]
    devices: list[DeviceFacts]
    weights: list[WeightsFacts]
    weights_folder: Path
    problems: list[str]


def describe_system() -> SystemFacts:
    """Look at this machine; a broken installation is described, not raised."""
    problems: list[str] = []
    devices = [_cpu(), *_cuda(problems), *_mps()]
    return SystemFacts(
        versions=installed_versions(),
        devices=devices,
        weights=_weights(problems),
        weights_folder=Path(torch.hub.get_dir()) / "checkpoints",
        problems=problems,
    )


def device_facts(device: torch.device) -> DeviceFacts:
    """What is known of a device that is there."""
    if device.type == "cuda":
        return _cuda([])[device.index or 0]
    return _mps()[0] if device.type == "mps" else _cpu()


def installed_versions() -> dict[str, str | None]:
    """Versions of this program, of Python, the platform, and the packages that matter; None: not installed."""
    found: dict[str, str | None] = {
        "vqgan": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in (*_PACKAGES, *OPTIONAL_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _cpu() -> DeviceFacts:
    # A container or a batch system may allow fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    int8 = "in drawing" if has_int8() else "no"
    precisions = {"fp32": "yes", "bf16": "yes", "fp16": "not in training", "int8": int8}
    return DeviceFacts("cpu", platform.machine(), memory, cores, precisions)


def _cuda(problems: list[str]) -> list[DeviceFacts]:
    # A driver that is too old is told by a warning, and the GPU is silently not there.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    problems += [str(warning.message) for warning in caught]
    if not torch.backends.cuda.is_built() and shutil.which("nvidia-smi"):
        problems.append(
            f"torch {torch.__version__} is built without CUDA, and this machine seems to have an NVIDIA GPU. To use "
            "it, install torch and torchvision as https://pytorch.org/get-started/locally says for CUDA"
        )
    devices = []
    for index in range(count):
        properties = torch.cuda.get_device_properties(index)
        # NVIDIA GPUs compute in bfloat16 since Ampere (8.0), AMD's all do.
        native = torch.version.hip is not None or properties.major >= 8
        bf16 = "yes" if native else "slow (emulated)"
        precisions = {"fp32": "yes", "bf16": bf16, "fp16": "yes"}
        devices.append(
            DeviceFacts(f"cuda:{index}", properties.name, properties.total_memory, None, precisions)
        )
    return devices


def _mps() -> list[DeviceFacts]:
    if not torch.backends.mps.is_available():
        return []
    bf16 = "yes" if torch.backends.mps.is_macos_or_newer(14, 0) else "no (needs macOS 14)"
    precisions = {"fp32": "yes", "bf16": bf16, "fp16": "yes"}
    return [DeviceFacts("mps", "Apple GPU", torch.mps.recommended_max_memory(), None, precisions)]


def _weights(problems: list[str]) -> list[WeightsFacts]:
    try:
        mismatch = torchvision_mismatch()
        found = cached_weights()
    except (ImportError, RuntimeError, OSError) as error:
        problems.append(
            f"torchvision cannot be imported ({error}). It must be the release made for torch {torch.__version__}: "
            "pip install --upgrade torch torchvision"
        )
        return []
    if mismatch:
        problems.append(mismatch)
    return [WeightsFacts(network, file, file.stat().st_size if file else None) for network, file in found]
