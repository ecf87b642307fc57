"""Import torchvision, and what is built on top of it, even where torchvision's compiled operators cannot be loaded.

A torchvision built for another torch (a CUDA wheel beside a CPU-only torch is the usual case) fails on import:
it registers shape functions for ``torchvision::nms`` and ``torchvision::qnms``, operators that only its compiled
library would have defined. The classifiers used here need no such operator. So where, and only where, that
import fails, the two schemas are declared without an implementation and the import is tried again. What needs
the compiled library, such as ``torchvision.io`` and detection, stays unusable.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

__all__ = ["import_lpips", "import_torch_fidelity", "import_torchvision", "torchvision_mismatch"]

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# Declared operators live as long as the library object that declared them.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The torchvision package; an import that works by itself is left untouched."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # Submodules that were imported before the failure belong to a package object that is gone.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return importlib.import_module("torchvision")


def import_lpips() -> ModuleType:
    """The lpips package, which imports torchvision."""
    import_torchvision()
    return importlib.import_module("lpips")


def import_torch_fidelity() -> ModuleType:
    """The torch_fidelity package, which imports torchvision.

    Raises:
        ModuleNotFoundError: it is not installed; it comes with the extra ``eval``.
    """
    import_torchvision()
    return importlib.import_module("torch_fidelity")


def torchvision_mismatch() -> str | None:
    """What is wrong with the installed torchvision and the remedy, or None where its operators load."""
    torchvision = import_torchvision()
    if torchvision.extension._has_ops():
        return None
    return (
        f"torchvision {torchvision.__version__} cannot load its compiled operators with torch {torch.__version__}: "
        "the two were built apart. Everything in vqgan works all the same. To repair it, install both from one "
        "index: pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/"
        f"{_wheel_variant()}"
    )


def _wheel_variant() -> str:
    """Name of the PyTorch wheel index for the torch that is installed: cpu, cu128 and the like."""
    cuda = torch.version.cuda
    return f"cu{cuda.replace('.', '')}" if cuda else "cpu"
