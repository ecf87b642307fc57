"""``vqgan evaluate reconstruction``: how much of an image is left after its codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.artifacts import ModelInfo, load_tokenizer, read_model_info
from vqgan_cli.core.batching import full_batches
from vqgan_cli.core.config import map_form
from vqgan_cli.core.data.failures import ReadFailures
from vqgan_cli.core.data.images import contact_sheet
from vqgan_cli.core.data.maps import MapKind, build_map_kind
from vqgan_cli.core.data.tensors import to_arrays, to_input, to_tensor
from vqgan_cli.core.data.transforms import resize
from vqgan_cli.core.device import autocast_for, resolve_device
from vqgan_cli.core.errors import DataError, UsageError
from vqgan_cli.core.evaluation.code_figures import code_figures
from vqgan_cli.core.evaluation.figures import Figure, figures_json, figures_table, shown
from vqgan_cli.core.evaluation.paired_features import PairedFeatures, features_or_none
from vqgan_cli.core.evaluation.per_image import IMAGES_FILE, Extremes, PerImage
from vqgan_cli.core.evaluation.reconstruction_scores import PictureScores, Scores, scores_for
from vqgan_cli.core.evaluation.report import Picture, Section, report_folder, write_report
from vqgan_cli.core.evaluation.stopping import all_or_nothing
from vqgan_cli.core.memory import in_batch, memory_errors
from vqgan_cli.core.metrics.codebook import CodebookUsage
from vqgan_cli.core.metrics.reconstruction import SSIM_WINDOW
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.pretrained import perceptual_network
from vqgan_cli.core.processes import in_one_process
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.tokenizer_inputs import TokenizerInputs, open_inputs, utf8

__all__ = ["EvaluateReconstructionOptions", "ReconstructionEvaluation", "evaluate_reconstruction"]

OF_AN_ENDLESS_SET = 1000
"""Images of a synthetic set without a limit."""

_SHOWN = 8  # of the best images, and of the worst
_SHOWN_SIDE = 512  # pixels

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class EvaluateReconstructionOptions:
    """What to measure, and how.

    Attributes:
        data: images, as ``open_source`` takes them.
        tokenizer: model file or run folder.
        size: (height, width) of the crop in pixels; None: the tokenizer's training size.
        native: each image at its own size, rounded to a multiple of f.
        limit: at most so many images, from the first.
        perceptual: network of the perceptual distance, see `perceptual_network`; ``none`` for none; None: VGG, for
            pictures.
        features: network of the Frechet distance, see `features_or_none`; ``none`` for none; None: that of FID, for
            pictures.
        weights: its file; None: the published one.
        resamples: of the bootstrap of the Frechet distance; 0: no interval for it.
        batch_size: images at a time.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: see `resolve_device`.
        out: folder of the report; None: no report.
        force: replace a report that is there.
    """

    data: str
    tokenizer: Path
    size: tuple[int, int] | None = None
    native: bool = False
    limit: int | None = None
    perceptual: str | None = None
    features: str | None = None
    weights: Path | None = None
    resamples: int = 100
    batch_size: int = 8
    precision: str = "fp32"
    device: str = "auto"
    out: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class ReconstructionEvaluation:
    """What was found.

    Attributes:
        figures: in the order in which they are shown.
        metrics: the same and what belongs to it, as plain values of JSON.
        failed: name and reason of images that could not be read.
    """

    figures: list[Figure]
    metrics: dict[str, Any]
    failed: list[tuple[str, str]]


@in_one_process
def evaluate_reconstruction(
    options: EvaluateReconstructionOptions, reporter: Reporter
) -> ReconstructionEvaluation:
    """Encode and decode images, and compare.

    Raises:
        VqganError: see `vqgan_cli.core.errors`.
    """
    with (
        report_folder(options.out, force=options.force),
        all_or_nothing(reporter),
        memory_errors(f"with --batch-size {options.batch_size}", "lower --batch-size"),
    ):
        device = resolve_device(options.device)
        info = read_model_info(options.tokenizer)
        inputs = open_inputs(options.data, info, size=options.size, native=options.native)
        inputs = inputs.held_out(options.limit or OF_AN_ENDLESS_SET)
        tokenizer = load_tokenizer(info.path, device)
        evaluation = _Evaluation(options, info, inputs, tokenizer, device, reporter)
        evaluation.run()
        return evaluation.finish()


class _Evaluation:
    """The loop over the images, and what it has found so far."""

    def __init__(
        self,
        options: EvaluateReconstructionOptions,
        info: ModelInfo,
        inputs: TokenizerInputs,
        tokenizer: Tokenizer,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self.options, self.info, self.inputs = options, info, inputs
        self.tokenizer, self.device, self.reporter = tokenizer, device, reporter
        data = info.config.data
        self.map_kind: MapKind | None = None if data.kind == "image" else build_map_kind(data.kind, data.maps)
        _refuse_networks_of_pictures(options, info)
        self.scores = _scores(options, info, self.map_kind, device, reporter)
        self.count = min(len(inputs.source), options.limit or len(inputs.source))
        name = options.features or ("none" if self.map_kind is not None and options.weights is None else None)
        network = features_or_none(name, options.weights, device, reporter)
        self.features = PairedFeatures(network, self.count) if network is not None else None
        self.per_image = PerImage({**self.scores.labels, "codes_used": "different codes in an image"})
        self.usage = CodebookUsage(tokenizer.codebook_size)
        self.extremes: Extremes[Picture] = Extremes(_SHOWN)
        self.failures = ReadFailures()

    def run(self) -> None:
        """Measure every image."""
        options, inputs, count = self.options, self.inputs, self.count
        self.reporter.info(
            f"{count} images of {inputs.source.name}, {inputs.describe()}, tokenizer {self.info.path}"
        )
        batch_size = options.batch_size if inputs.size is not None else 1  # native sizes differ
        with self.reporter.progress("measuring", count, "images") as progress:
            for indices, pixels in full_batches(self._readable(range(count), batch_size), batch_size):
                self._measure(indices, pixels)
                progress.update(len(self.per_image.names) + len(self.failures))
        if not self.per_image.names:
            name, reason = next(iter(self.failures))
            raise DataError(
                f"none of the {count} images of {inputs.source.name!r} can be read: {name!r} {reason}"
            )

    def _readable(self, indices: range, batch_size: int) -> Iterator[tuple[int, Array]]:
        """Images that can be measured; the others are named."""
        for item in self.inputs.read(indices, batch=batch_size, device=self.device.type):
            reason = item.reason
            if item.pixels is not None and isinstance(self.scores, PictureScores):
                reason = _too_small(item.pixels)
            if item.pixels is None or reason:
                name = utf8(self.inputs.source.key(item.position))
                self.reporter.warning(f"skipped {name!r}: {reason}")
                self.failures.add(name, reason)
            else:
                yield item.position, item.pixels

    def _measure(self, indices: list[int], pixels: Array) -> None:
        """One batch, the last image of which may be there several times."""
        images = to_input(torch.stack([to_tensor(each) for each in pixels]), self.tokenizer, self.device)
        codes, decoded, distances = in_batch(
            self._reconstructed,
            images,
            f"on {self.device} with {len(pixels)} images of {pixels.shape[1]}x{pixels.shape[2]} (height x width)",
            f"--precision bf16 or {'a smaller --size' if self.inputs.size else '--size in place of --native'}",
        )
        self.usage.update(codes[: len(indices)])
        arrays = to_arrays(decoded)
        if self.features is not None:
            self.features.add(pixels[: len(indices)], np.stack(arrays[: len(indices)]), self.device)
        for row, index in enumerate(indices):
            values = {name: float(value[row]) for name, value in distances.items()}
            values |= self.scores.count(pixels[row], arrays[row])
            values["codes_used"] = len(codes[row].unique())
            self._add(utf8(self.inputs.source.key(index)), values, pixels[row], arrays[row])

    @torch.inference_mode()
    def _reconstructed(self, images: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Codes, decoded images and distances of a batch, on the CPU."""
        with autocast_for(self.device, self.options.precision):
            codes = self.tokenizer.encode(images.contiguous(memory_format=torch.channels_last))
            decoded = self.tokenizer.decode(codes)
        distances = self.scores.distances(images, decoded)
        return codes.cpu(), decoded.cpu(), {name: value.cpu() for name, value in distances.items()}

    def _add(self, name: str, values: Mapping[str, float], original: Array, decoded: Array) -> None:
        self.per_image.add(name, values)

        def picture() -> Picture:
            pair = [self._shown(original), self._shown(decoded)]
            lines = [f"{self.scores.labels[key]}: {shown(values[key])}" for key in self.scores.labels]
            return Picture(contact_sheet(pair, columns=2), "\n".join([name, *lines]))

        self.extremes.offer(values[self.scores.rank], picture)

    def _shown(self, array: Array) -> npt.NDArray[np.uint8]:
        picture: npt.NDArray[np.uint8] = self.map_kind.picture(array) if self.map_kind else array
        scale = min(1.0, _SHOWN_SIDE / max(picture.shape[:2]))
        return resize(picture, *(max(1, round(side * scale)) for side in picture.shape[:2]))

    def finish(self) -> ReconstructionEvaluation:
        """Figures of all images, and the report."""
        images = len(self.per_image.names)
        quality = [self.per_image.figure(key) for key in self.scores.labels] + self.scores.totals(images)
        if self.features is not None:
            quality.append(self.features.figure(self.options.resamples, self.device, self.reporter))
        codes = code_figures(self.usage, self.tokenizer.downsampling, self.scores.raw_bits, images)
        codes.append(self.per_image.figure("codes_used"))
        metrics = {
            "tokenizer": utf8(str(self.info.path)),
            "tokenizer_fingerprint": self.info.fingerprint,
            "data": utf8(self.inputs.source.name),
            "preparation": self.inputs.describe(),
            "features": None if self.features is None else self.features.network.name,
            "images": images,
            **figures_json([*quality, *codes]),
            **self.scores.details(),
            "failed": [{"name": name, "reason": reason} for name, reason in self.failures],
        }
        if self.options.out is not None:
            self.per_image.write(self.options.out / IMAGES_FILE)
            title = f"Reconstruction of {metrics['data']} by {metrics['tokenizer']}"
            write_report(self.options.out, title, self._sections(images, quality, codes), metrics)
        return ReconstructionEvaluation([*quality, *codes], metrics, list(self.failures))

    def _sections(self, images: int, quality: list[Figure], codes: list[Figure]) -> list[Section]:
        low, high = self.extremes.lowest, self.extremes.highest
        worst, best = (low, high) if self.scores.higher_is_better else (high, low)
        prepared = f"{images} images, {self.inputs.describe()}; {len(self.failures)} could not be used."
        sections = [
            Section("Distance from the originals", prepared, figures_table(quality)),
            *self.scores.sections(),
            Section("Codes", "", figures_table(codes)),
        ]
        for title, found in (("Worst images", worst), ("Best images", best)):
            note = f"By {self.scores.labels[self.scores.rank]}. Left the original, right what is left of it."
            sections.append(Section(title, note, pictures=[picture for _, picture in found]))
        return sections


def _scores(
    options: EvaluateReconstructionOptions,
    info: ModelInfo,
    map_kind: MapKind | None,
    device: torch.device,
    reporter: Reporter,
) -> Scores:
    default = "vgg" if map_kind is None else "none"
    name = options.perceptual or default
    network = None
    if name != "none":
        network = perceptual_network(name, reporter, required=options.perceptual is not None)
    if network is not None:
        network.to(device)
    called = name.partition(":")[0]
    called = f"LPIPS, {called}" if called in ("vgg", "alex", "squeeze") else f"features of {called}"
    return scores_for(map_kind, info.config.tokenizer.in_channels, network, called)


def _refuse_networks_of_pictures(options: EvaluateReconstructionOptions, info: ModelInfo) -> None:
    """Raise UsageError where a network of pictures was named, and the tokenizer is one of maps that are none."""
    kind = info.config.data.kind
    wanted = {
        "--perceptual": options.perceptual,
        "--features": options.features,
        "--weights": options.weights,
    }
    named = [option for option, value in wanted.items() if value not in (None, "none")]
    if map_form(kind) != "picture" and named:
        raise UsageError(
            f"{named[0]} compares pictures, and {str(info.path)!r} is a tokenizer of {kind} maps",
            hint="leave it out: maps have figures of their own",
        )


def _too_small(pixels: Array) -> str:
    """Why a picture cannot be measured, or an empty string."""
    height, width = pixels.shape[:2]
    if min(height, width) >= SSIM_WINDOW:
        return ""
    return f"becomes {height}x{width} (height x width): SSIM compares windows of {SSIM_WINDOW} pixels"
