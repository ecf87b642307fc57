"""The command line that does the same as the page."""

from __future__ import annotations

import shlex

from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.workbench import Workbench

__all__ = ["generate_command"]


def generate_command(bench: Workbench, request: Request, label: int | None) -> str:
    """``vqgan generate`` with everything that the images depend on; what is as the model says is left out."""
    own = bench.info.config.sampling
    words = ["vqgan", "generate", "--model", str(bench.info.path)]
    if label is not None:
        words += ["--class", str(label)]
    words += ["--images", str(request.images)]
    if request.size not in (None, bench.size):
        words += ["--size", "x".join(map(str, request.size or ()))]
    options = {"temperature": "--temperature", "top_k": "--top-k", "top_p": "--top-p", "guidance": "--cfg"}
    for name, option in options.items():
        value = getattr(request, name)
        if value not in (None, getattr(own, name)):
            words += [option, f"{value:g}"]
    words += ["--seed", str(request.seed)]
    if request.stride != 1:
        words += ["--stride", str(request.stride)]
    if bench.precision != "fp32":
        words += ["--precision", bench.precision]
    return shlex.join(words)
