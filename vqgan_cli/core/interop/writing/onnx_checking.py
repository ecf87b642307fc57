"""Do ONNX graphs give what the tokenizer gives? Compared by onnxruntime, at sizes that they were not traced at."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["GraphCheck", "check_graphs"]

_SIZES = ((1, 16, 12), (2, 9, 23))  # batch, rows and columns of codes

# float32 sums in another order tip a code now and then where two rows are as near; more than this is another model.
_MOST_DIFFERING = 0.01
_MOST_APART = 1e-3


@dataclass(frozen=True)
class GraphCheck:
    """What came of the comparison.

    Attributes:
        runtime: onnxruntime's version; empty where it is not installed, and then nothing was compared.
        codes: codes of the encoder that were compared.
        differing: those that differ.
        apart: largest difference of a pixel's value of the decoder, or for label maps share of pixels of another
            class.
    """

    runtime: str
    codes: int = 0
    differing: int = 0
    apart: float = 0.0

    @property
    def summary(self) -> str:
        """One sentence."""
        if not self.runtime:
            return "not compared with torch, because onnxruntime is not installed: pip install 'vqgan[onnx]'"
        return (
            f"compared with torch by onnxruntime {self.runtime}: {self.differing} of {self.codes} codes differ, pixels "
            f"by {self.apart:.1e} at most"
        )

    @property
    def facts(self) -> dict[str, Any] | None:
        """For JSON; None where nothing was compared."""
        if not self.runtime:
            return None
        return {
            "onnxruntime": self.runtime,
            "codes": self.codes,
            "differing": self.differing,
            "largest_pixel_difference": self.apart,
        }


def check_graphs(tokenizer: Tokenizer, encoder: Path, decoder: Path) -> GraphCheck:
    """Run both graphs and the tokenizer on the same pictures of noise and the same codes.

    Raises:
        ModelError: they do not agree.
    """
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        return GraphCheck("")
    sessions = [
        runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (encoder, decoder)
    ]
    codes = differing = 0
    apart = 0.0
    for seed, size in enumerate(_SIZES):
        images = _images(tokenizer, size, torch.Generator().manual_seed(seed))
        expected = tokenizer.encode(images)
        found, pictures = (
            torch.from_numpy(session.run(None, {name: given.numpy()})[0])
            for session, name, given in zip(sessions, ("images", "codes"), (images, expected), strict=True)
        )
        shown = tokenizer.decode(expected)
        if found.shape != expected.shape or pictures.shape != shown.shape:
            raise ModelError(
                f"the graphs written give codes {list(found.shape)} and pictures {list(pictures.shape)}, and the model "
                f"{list(expected.shape)} and {list(shown.shape)}"
            )
        codes += expected.numel()
        differing += int((found != expected).sum())
        apart = max(apart, _apart(tokenizer, pictures, shown))
    check = GraphCheck(runtime.__version__, codes, differing, apart)
    if differing > _MOST_DIFFERING * codes or not apart <= (
        _MOST_DIFFERING if tokenizer.makes_labels else _MOST_APART
    ):
        raise ModelError(
            f"the graphs written give something else than the model ({check.summary})",
            hint="another --opset may help; this is a fault of the exporter or of the runtime",
        )
    return check


def _images(tokenizer: Tokenizer, size: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    batch, height, width = size[0], size[1] * tokenizer.downsampling, size[2] * tokenizer.downsampling
    channels = tokenizer.config.in_channels
    if tokenizer.makes_labels:
        return tokenizer.one_hot(torch.randint(channels, (batch, height, width), generator=generator))
    return torch.rand(batch, channels, height, width, generator=generator) * 2 - 1


def _apart(tokenizer: Tokenizer, found: Tensor, expected: Tensor) -> float:
    if tokenizer.makes_labels:
        return float((found != expected).double().mean())
    return float((found - expected).abs().max())
