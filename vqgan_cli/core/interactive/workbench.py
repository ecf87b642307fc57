"""A loaded model, and which tools it has."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.artifacts import (
    TRANSFORMER_FORMAT,
    ModelInfo,
    Transformer,
    load_tokenizer,
    load_transformer,
    read_model_info,
)
from vqgan_cli.core.data.images import read_image
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.data.transforms import cover_crop
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.model_info import about_prior
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.sampling.preparing import require_precision

__all__ = ["MAX_PIXELS", "TOOLS", "Workbench", "fitted", "load_workbench", "read_photo", "require_size"]

MAX_PIXELS = 2**22
"""Pixels of the largest picture that is worked on while somebody waits: 2048x2048."""

TOOLS = ("reconstruct", "generate", "condition", "complete", "upscale")
"""In the order of the page's tabs: what a model keeps of photos first, which every model shows, then what it draws."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Workbench:
    """A model in memory, which all that use it at once take in turns.

    Attributes:
        info: what its file says.
        tokenizer: images to codes and back.
        transformer: draws codes; None where the model is a tokenizer alone.
        precision: one of `vqgan_cli.core.sampling.preparing.DRAWING_PRECISIONS`.
        max_batch: images, or codes of one large image, drawn at a time.
        turn: held by who computes with the model.
    """

    info: ModelInfo
    tokenizer: Tokenizer
    transformer: Transformer | None
    precision: str = "fp32"
    max_batch: int = 16
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.tokenizer.parameters()).device

    @property
    def downsampling(self) -> int:
        """f: pixels of image side per code."""
        return self.tokenizer.downsampling

    @property
    def tokenizer_fingerprint(self) -> str:
        """By which codes remember the tokenizer."""
        if self.transformer is None:
            return self.info.fingerprint
        return about_prior(self.info).tokenizer_fingerprint

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images of the training, in pixels."""
        if self.transformer is None:
            return self.info.config.data.size, self.info.config.data.size
        height, width = self.transformer.prior.spec.grid
        return height * self.downsampling, width * self.downsampling

    @property
    def kind(self) -> str:
        """What images are drawn by: ``none``, ``class``, or a kind of maps."""
        if self.transformer is None:
            return "none"
        encoder = self.transformer.map_encoder
        return self.transformer.prior.spec.condition if encoder is None else encoder.map_kind.name

    @property
    def classes(self) -> list[str]:
        """Names by label, as people know them; empty for a model without classes."""
        if self.transformer is None or self.transformer.prior.spec.condition != "class":
            return []
        names = ClassNames(self.transformer.classes, self.transformer.prior.spec.condition_size)
        return [names.name(label) for label in range(names.count)]

    @property
    def label_names(self) -> list[str]:
        """Of a model of segmentation maps the names of its labels, by number."""
        encoder = self.transformer.map_encoder if self.transformer is not None else None
        if encoder is None or encoder.map_kind.name != "segmentation":
            return []
        count = encoder.map_kind.codes or encoder.codebook_size
        if encoder.tokenizer is not None:
            count = encoder.tokenizer.config.in_channels
        source = (self.info.config.data.source or "").partition(":")
        drawn_by = SYNTHETIC_SETS.get(source[2]) if source[0] == "synthetic" else None
        if drawn_by is not None and len(drawn_by.parts) == count:
            return list(drawn_by.parts)
        return [f"label {number}" for number in range(count)]

    def missing(self, tool: str) -> str:
        """Why a tool of `TOOLS` is not there, as a sentence; empty where it is."""
        if tool == "reconstruct":
            return ""
        encoder = self.transformer.map_encoder if self.transformer is not None else None
        if self.transformer is None:
            return "This model is a tokenizer alone; `vqgan train-transformer` trains what draws its codes."
        by_maps = encoder is not None and not encoder.map_kind.of_whole_image
        if tool == "generate" and by_maps:
            return f"This model draws by {self.kind} maps, which the tab Condition takes."
        if tool == "condition" and not by_maps:
            return "It takes a model that was trained with maps, such as `--preset streets`."
        if tool == "complete" and encoder is not None and not encoder.map_kind.computable:
            return (
                f"It would need the {self.kind} map of the photo; "
                "`vqgan generate --complete PHOTO --condition MAP` takes both."
            )
        if tool == "upscale" and self.kind != "lowres":
            return "It takes a model of low resolution: `vqgan train-transformer --preset superres`."
        return ""


def load_workbench(
    path: Path | str, device: torch.device, *, precision: str = "fp32", max_batch: int = 16
) -> Workbench:
    """Load a model with all its tools.

    Args:
        path: a weights file, a run folder, or a name of a published model; a transformer or a tokenizer.
        device: where it computes.
        precision: one of `DRAWING_PRECISIONS`.
        max_batch: see `Workbench`.

    Raises:
        ModelError: there is no such model, or it is damaged.
        UsageError: it is a tokenizer of maps, or nothing can be drawn in the precision there.
    """
    require_precision(device, precision)
    info = read_model_info(path)
    if info.format == TRANSFORMER_FORMAT:
        transformer = load_transformer(path, device)
        return Workbench(info, transformer.tokenizer, transformer, precision, max_batch)
    if info.config.data.kind != "image":
        raise UsageError(
            f"{str(info.path)!r} is a tokenizer of {info.config.data.kind} maps, and this page shows photos",
            hint="name a tokenizer of images, or the transformer that uses it",
        )
    return Workbench(info, load_tokenizer(path, device), None, precision, max_batch)


def read_photo(bench: Workbench, path: Path | str, side: int | None = None) -> Picture:
    """A photo in a file as the model's own were read, at a size that it takes.

    Args:
        bench: the model.
        path: the file.
        side: pixels of the shorter side, see `fitted`; None: as it is.

    Raises:
        ImageError: it cannot be read, or is refused.
        UsageError: it is too large to work on.
    """
    data = bench.info.config.data
    picture = read_image(
        path,
        background=data.background,
        max_megapixels=data.max_megapixels,
        min_side=None if side is None else 2 * side,
    )
    return picture if side is None else fitted(picture, side, bench.downsampling)


def fitted(picture: Picture, side: int, f: int) -> Picture:
    """A picture whose shorter side has about ``side`` pixels, both sides the nearest multiples of f.

    Raises:
        UsageError: it would have more than `MAX_PIXELS`.
    """
    scale = side / min(picture.shape[:2])
    height, width = (max(1, round(each * scale / f)) * f for each in picture.shape[:2])
    require_size(height, width)
    return np.ascontiguousarray(cover_crop(picture, height, width)[0])


def require_size(height: int, width: int) -> None:
    """Refuse a picture that nobody would wait for.

    Raises:
        UsageError: it has more than `MAX_PIXELS`.
    """
    if height * width > MAX_PIXELS:
        raise UsageError(
            f"{height}x{width} (height x width) is more than the {MAX_PIXELS / 2**20:.0f} million pixels of this page",
            hint="make it smaller; the commands have no such limit",
        )
