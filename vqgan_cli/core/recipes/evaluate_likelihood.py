"""``vqgan evaluate likelihood``: how many bits a prior needs for the codes of images it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqgan_cli.core.artifacts import Transformer, load_transformer
from vqgan_cli.core.data.images import contact_sheet
from vqgan_cli.core.data.tensors import to_arrays
from vqgan_cli.core.device import autocast_for, resolve_device
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.evaluation.figures import Figure, figures_json, figures_table, shown
from vqgan_cli.core.evaluation.likelihood_data import AskedCodes, codes_of_file, codes_of_images
from vqgan_cli.core.evaluation.per_image import IMAGES_FILE, Extremes, PerImage
from vqgan_cli.core.evaluation.report import Picture, Section, Table, heat_map, report_folder, write_report
from vqgan_cli.core.evaluation.stopping import all_or_nothing
from vqgan_cli.core.memory import in_batch, memory_errors
from vqgan_cli.core.metrics.bootstrap import mean_interval
from vqgan_cli.core.metrics.codebook import CodebookUsage
from vqgan_cli.core.metrics.likelihood import code_nats
from vqgan_cli.core.processes import in_one_process
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sampling.preparing import prepare_to_draw, require_precision
from vqgan_cli.core.tokenizer_inputs import utf8

__all__ = ["EvaluateLikelihoodOptions", "LikelihoodEvaluation", "evaluate_likelihood"]

_SHOWN = 8  # of the likeliest images, and of the least likely

Nats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EvaluateLikelihoodOptions:
    """What to ask, and of whom.

    Attributes:
        model: transformer file or run folder.
        data: images, as ``open_source`` takes them, or pairs with maps; None: ``codes``.
        codes: a codes file of the model's tokenizer; None: ``data``.
        labels: csv or json file with the class of each image; None: the folders are the classes.
        limit: at most so many images, from the first.
        batch_size: images at a time.
        precision: one of `vqgan_cli.core.sampling.preparing.DRAWING_PRECISIONS`.
        device: see `resolve_device`.
        out: folder of the report; None: no report.
        force: replace a report that is there.
    """

    model: Path
    data: str | None = None
    codes: Path | None = None
    labels: Path | None = None
    limit: int | None = None
    batch_size: int = 8
    precision: str = "fp32"
    device: str = "auto"
    out: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class LikelihoodEvaluation:
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
def evaluate_likelihood(options: EvaluateLikelihoodOptions, reporter: Reporter) -> LikelihoodEvaluation:
    """Ask a prior for the likelihood of every code of some images.

    Raises:
        VqganError: see `vqgan_cli.core.errors`.
    """
    if (options.data is None) == (options.codes is None):
        raise UsageError("name images with --data, or a codes file with --codes")
    if options.codes is not None and options.labels is not None:
        raise UsageError("--labels goes with --data: a codes file has its own classes")
    with (
        report_folder(options.out, force=options.force),
        all_or_nothing(reporter) as stop,
        memory_errors(f"with --batch-size {options.batch_size}", "lower --batch-size"),
    ):
        device = resolve_device(options.device)
        require_precision(device, options.precision)
        model = load_transformer(options.model, device)
        if options.precision == "int8":
            prepare_to_draw(model.prior, "int8")
        if options.codes is not None:
            asked = codes_of_file(options.codes, model, options.limit)
        else:
            assert options.data is not None
            asked = codes_of_images(
                options.data, model, options.labels, options.limit or 0, stop=stop, reporter=reporter
            )
        evaluation = _Evaluation(options, model, asked, device, reporter)
        evaluation.run()
        return evaluation.finish()


class _Evaluation:
    """The loop over the images, and what it has found so far."""

    def __init__(
        self,
        options: EvaluateLikelihoodOptions,
        model: Transformer,
        asked: AskedCodes,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self.options, self.model, self.asked = options, model, asked
        self.device, self.reporter = device, reporter
        self.per_image = PerImage(
            {"nats_per_code": "nats per code", "accuracy": "codes that were the likeliest, share"}
        )
        self.nats_at = np.zeros(model.prior.spec.grid)  # sums over the images
        self.usage = CodebookUsage(model.prior.spec.codebook_size)
        self.extremes: Extremes[Picture] = Extremes(_SHOWN)

    def run(self) -> None:
        """Ask for every image."""
        asked, spec, size = self.asked, self.model.prior.spec, self.options.batch_size
        count = len(asked.codes)
        self.reporter.info(
            f"{count} images of {asked.name}, {spec.grid[0]}x{spec.grid[1]} codes each, model {self.model.info.path}"
        )
        with self.reporter.progress("asking", count, "images") as progress:
            for begin in range(0, count, size):
                self._ask(np.arange(begin, min(begin + size, count)))
                progress.update(len(self.per_image.names))

    def _ask(self, images: npt.NDArray[np.int64]) -> None:
        grids, of_maps = self.asked.codes.read(images, np.zeros_like(images))
        codes = torch.from_numpy(grids)  # [B, h, w]
        given = self.asked.conditions[images, None] if of_maps is None else of_maps
        condition = torch.from_numpy(given).flatten(1)
        together = torch.cat([condition, codes.flatten(1)], dim=1)  # so that smaller batches can be tried
        nats, right = in_batch(
            self._answers,
            together.to(self.device),
            f"on {self.device} with {len(images)} images of {codes[0].numel()} codes",
            "--precision bf16",
        )
        self.nats_at += nats.sum(0)
        self.usage.update(codes)
        for row, image in enumerate(images):
            mean = float(nats[row].mean())
            name = self.asked.names[image]
            self.per_image.add(name, {"nats_per_code": mean, "accuracy": float(right[row].mean())})
            self._offer(name, mean, codes[row], nats[row])

    def _answers(self, together: Tensor) -> tuple[Nats, Nats]:
        """Nats of each code and whether it was the likeliest, [B, h, w], of conditions and codes in one row each."""
        grid = self.model.prior.spec.grid
        codes = together[:, -grid[0] * grid[1] :].unflatten(1, grid)
        condition = together[:, : -grid[0] * grid[1]]
        with autocast_for(self.device, self.options.precision):
            nats, right = code_nats(self.model.prior, codes, condition)
        return nats.double().cpu().numpy(), right.double().cpu().numpy()

    def _offer(self, name: str, mean: float, codes: Tensor, nats: Nats) -> None:
        def picture() -> Picture:
            decoded = to_arrays(self.model.tokenizer.decode(codes[None].to(self.device)))[0]
            f = self.model.tokenizer.downsampling
            colors = heat_map(nats, (0, self._uniform)).repeat(f, axis=0).repeat(f, axis=1)
            return Picture(
                contact_sheet([decoded, colors], columns=2), f"{name}\n{shown(mean)} nats per code"
            )

        self.extremes.offer(mean, picture)

    @property
    def _uniform(self) -> float:
        """Nats per code of a prior that knows nothing."""
        return math.log(self.model.prior.spec.codebook_size)

    def finish(self) -> LikelihoodEvaluation:
        """Figures of all images, and the report."""
        figures, by_class = self._figures(), self._by_class()
        by_position = self.nats_at / len(self.per_image.names)
        metrics = {
            "model": utf8(str(self.model.info.path)),
            "model_fingerprint": self.model.info.fingerprint,
            "data": utf8(self.asked.name),
            "images": len(self.per_image.names),
            **figures_json(figures),
            "by_position": by_position.tolist(),
            "by_class": figures_json(by_class),
            "failed": [
                {"name": utf8(name), "reason": utf8(reason)} for name, reason in self.asked.codes.failed
            ],
        }
        if self.options.out is not None:
            self.per_image.write(self.options.out / IMAGES_FILE)
            title = f"Likelihood of {metrics['data']} under {metrics['model']}"
            write_report(self.options.out, title, self._sections(figures, by_position, by_class), metrics)
        return LikelihoodEvaluation(figures, metrics, self.asked.codes.failed)

    def _figures(self) -> list[Figure]:
        nats, right = self.per_image.figures()
        images, pixels = nats.images, self.model.tokenizer.downsampling**2  # of one code
        return [
            nats,
            _changed(nats, "bits_per_pixel", "bits per pixel", lambda value: value / math.log(2) / pixels),
            _changed(nats, "perplexity", "perplexity", math.exp),
            right,
            Figure(
                "nats_per_code_by_frequency",
                "nats per code, known only how frequent each is in these images",
                math.log(self.usage.perplexity),
                images,
            ),
            Figure(
                "nats_per_code_uniform",
                f"nats per code, all {self.model.prior.spec.codebook_size} equally likely",
                self._uniform,
                images,
            ),
        ]

    def _by_class(self) -> list[Figure]:
        """Nats per code of each class of the data."""
        nats, labels = self.per_image.column("nats_per_code"), self.asked.codes.labels
        figures = []
        for label, name in enumerate(self.asked.codes.classes):
            values = nats[labels == label]
            if len(values):
                name = utf8(name)
                figures.append(Figure(name, name, float(values.mean()), len(values), mean_interval(values)))
        return figures

    def _sections(self, figures: list[Figure], by_position: Nats, by_class: list[Figure]) -> list[Section]:
        failed = len(self.asked.codes.failed)
        note = f"{len(self.per_image.names)} images; {failed} could not be used."
        low, high = float(by_position.min()), float(by_position.max())
        caption = f"from {shown(low)} nats (dark) to {shown(high)} (yellow)"
        sections = [
            Section("Likelihood of the codes", note, figures_table(figures)),
            Section(
                "By position",
                f"Nats per code at each cell of the grid, mean of all images, order "
                f"{self.model.prior.config.order}: what comes late in the order has more to go by.",
                pictures=[Picture(heat_map(by_position), caption)],
            ),
        ]
        if by_class:
            table = figures_table(by_class)
            sections.append(
                Section("By class", "Nats per code.", Table(("class", *table.columns[1:]), table.rows))
            )
        scale = f"colours go from 0 (dark) to {shown(self._uniform)} nats (yellow)"
        for title, found in (
            ("Least likely images", self.extremes.highest),
            ("Likeliest images", self.extremes.lowest),
        ):
            note = f"Left what the codes show, right the nats of each code: {scale}."
            sections.append(Section(title, note, pictures=[picture for _, picture in found]))
        return sections


def _changed(figure: Figure, key: str, label: str, change: Callable[[float], float]) -> Figure:
    """The same in another unit; ``change`` is increasing, so the interval goes with it."""
    interval = figure.interval and (change(figure.interval[0]), change(figure.interval[1]))
    return Figure(key, label, change(figure.value), figure.images, interval)
