"""``vqgan evaluate samples``: how near a set of images is to a reference set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from vqgan_cli.core.data.listing import user_path
from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.evaluation.collecting import FeatureSet, collect_features
from vqgan_cli.core.evaluation.comparison import (
    ClassFigures,
    compare_classes,
    compare_features,
    score_figure,
    score_parts,
)
from vqgan_cli.core.evaluation.copies import Copies, find_copies
from vqgan_cli.core.evaluation.features import FID, load_features
from vqgan_cli.core.evaluation.figures import Figure, figures_json
from vqgan_cli.core.evaluation.image_sets import ImageSet, describe_size, open_image_set
from vqgan_cli.core.evaluation.report import report_folder, write_report
from vqgan_cli.core.evaluation.samples_report import samples_sections
from vqgan_cli.core.evaluation.statistics import SUFFIX, ReferenceFile, read_statistics
from vqgan_cli.core.evaluation.stopping import all_or_nothing
from vqgan_cli.core.memory import memory_errors
from vqgan_cli.core.metrics.frechet import Gaussian
from vqgan_cli.core.metrics.inception_score import ClassifierScore
from vqgan_cli.core.processes import in_one_process
from vqgan_cli.core.reporting import Reporter

__all__ = ["EvaluateSamplesOptions", "SamplesEvaluation", "evaluate_samples"]

Features = npt.NDArray[np.float32]

_NAMED = 10  # classes in a message


@dataclass(frozen=True)
class EvaluateSamplesOptions:
    """What to compare, and how.

    Attributes:
        samples: images, as `open_image_set` takes them, such as a folder of ``vqgan generate``.
        reference: images, or a file of ``vqgan evaluate statistics``.
        train: images that the model was trained on, among which copies are looked for; None: the reference.
        features: network, see `load_features`.
        weights: its file; None: cached or downloaded.
        size: (height, width) in pixels that samples and reference are brought to; None: that of the samples.
        limit: at most so many samples, spread evenly over them.
        reference_limit: at most so many reference images, likewise.
        neighbours: samples that are shown beside their nearest training images.
        resamples: of the bootstrap; 0: no intervals.
        seed: of the bootstrap.
        batch_size: images at a time.
        device: see `resolve_device`.
        out: folder of the report; None: no report.
        force: replace a report that is there.
    """

    samples: str
    reference: str
    train: str | None = None
    features: str = FID
    weights: Path | None = None
    size: tuple[int, int] | None = None
    limit: int | None = None
    reference_limit: int | None = None
    neighbours: int = 8
    resamples: int = 100
    seed: int = 0
    batch_size: int = 32
    device: str = "auto"
    out: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class SamplesEvaluation:
    """What was found.

    Attributes:
        figures: in the order in which they are shown.
        classes: the same of each class that both sets have; empty without classes.
        copies: samples beside their nearest training images; None where there are none to compare with.
        metrics: all of it as plain values of JSON.
        failed: name and reason of images that could not be read.
    """

    figures: list[Figure]
    classes: list[ClassFigures]
    copies: Copies | None
    metrics: dict[str, Any]
    failed: list[tuple[str, str]]


@in_one_process
def evaluate_samples(options: EvaluateSamplesOptions, reporter: Reporter) -> SamplesEvaluation:
    """Compare samples with a reference.

    Raises:
        VqganError: see `vqgan_cli.core.errors`.
    """
    with (
        report_folder(options.out, force=options.force),
        all_or_nothing(reporter),
    ):
        return _Evaluation(options, reporter).run()


class _Evaluation:
    """The sets, the network, and the steps from pictures to figures."""

    def __init__(self, options: EvaluateSamplesOptions, reporter: Reporter) -> None:
        self.options, self.reporter = options, reporter
        self.device = resolve_device(options.device)
        self.samples = open_image_set(options.samples, options.size, limit=options.limit)
        self.size = options.size or self.samples.size()
        self.reference = _open_reference(options, self.size)
        self.train = open_image_set(options.train, self.size) if options.train else None
        self.network = load_features(options.features, options.weights).to(self.device)
        if isinstance(self.reference, ReferenceFile):
            self.reference.require_comparable(self.network, self.size)
        self.bootstrap = {"resamples": options.resamples, "seed": options.seed}

    def run(self) -> SamplesEvaluation:
        """Everything."""
        options, network = self.options, self.network
        self.reporter.info(
            f"{len(self.samples)} samples of {self.samples.name} against {self._reference_name()}, all "
            f"{describe_size(self.size)}; features {network.name}, {network.preparation}"
        )
        score = ClassifierScore(score_parts(len(self.samples)), **self.bootstrap)
        with memory_errors(f"with --batch-size {options.batch_size}", "lower --batch-size"):
            samples = self._collect(self.samples, "samples", score.update, as_it_is=options.size is None)
            compared, reference = self._collect_reference()
            with self.reporter.progress("resampling", options.resamples, "resamples") as progress:
                figures = compare_features(
                    samples.features,
                    compared,
                    network.labels,
                    device=self.device,
                    progress=progress,
                    **self.bootstrap,
                )
            figures.append(score_figure(score, network.labels))
            classes = self._compare_classes(samples, reference)
            training = self._collect(self.train, "training images") if self.train else reference
            copies = self._find_copies(samples, training)
        if copies is not None:
            figures += copies.figures
        sets = {id(each): each for each in (samples, reference, training) if each is not None}
        failed = [failure for each in sets.values() for failure in each.failed]
        metrics = self._metrics(samples, score, figures, classes, copies, failed)
        if options.out is not None:
            title = f"{self.samples.name} against {self._reference_name()}"
            write_report(options.out, title, samples_sections(metrics, figures, classes, copies), metrics)
        return SamplesEvaluation(figures, classes, copies, metrics, failed)

    def _reference_name(self) -> str:
        if isinstance(self.reference, ReferenceFile):
            return f"statistics of {self.reference.description.source}"
        return self.reference.name

    def _collect(
        self,
        images: ImageSet,
        what: str,
        each: Callable[[Tensor], None] = lambda logits: None,
        *,
        as_it_is: bool = False,
    ) -> FeatureSet:
        return collect_features(
            self.network,
            images,
            self.size,
            as_it_is=as_it_is,
            batch_size=self.options.batch_size,
            device=self.device,
            reporter=self.reporter,
            what=what,
            each=each,
        )

    def _collect_reference(self) -> tuple[Features | Gaussian, FeatureSet | None]:
        """What the samples are compared with; and the reference's images, if their features are at hand."""
        if isinstance(self.reference, ImageSet):
            images = self._collect(self.reference, "reference")
            return images.features, images
        if self.reference.images is None:
            self.reporter.warning(
                f"{str(self.reference.path)!r} keeps no features, only their mean and covariance: no kernel distance, "
                "precision, recall, density, coverage and classes; vqgan evaluate statistics --keep-features keeps them"
            )
            return self.reference.gaussian, None
        return self.reference.images.features, self.reference.images

    def _compare_classes(self, samples: FeatureSet, reference: FeatureSet | None) -> list[ClassFigures]:
        if reference is None or not samples.classes or not reference.classes:
            return []
        with self.reporter.progress("classes", None, "classes") as progress:
            classes = compare_classes(
                samples,
                reference,
                self.network.labels,
                device=self.device,
                progress=progress,
                **self.bootstrap,
            )
        present = {int(label) for label in np.unique(samples.labels)} - {-1}
        if lacking := sorted(present - {each.label for each in classes}):
            names = ", ".join(samples.classes[label] for label in lacking[:_NAMED])
            more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
            self.reporter.info(f"the reference has no images of the samples' classes {names}{more}")
        return classes

    def _find_copies(self, samples: FeatureSet, training: FeatureSet | None) -> Copies | None:
        if training is None or len(training) < 2 or not self.options.neighbours:
            return None
        return find_copies(samples, training, self.options.neighbours, device=self.device, **self.bootstrap)

    def _metrics(
        self,
        samples: FeatureSet,
        score: ClassifierScore,
        figures: list[Figure],
        classes: list[ClassFigures],
        copies: Copies | None,
        failed: list[tuple[str, str]],
    ) -> dict[str, Any]:
        """All of it as plain values of JSON."""
        reference = self.reference
        return {
            "samples": self.samples.name,
            "reference": reference.description.source
            if isinstance(reference, ReferenceFile)
            else reference.name,
            "reference_statistics": str(reference.path) if isinstance(reference, ReferenceFile) else None,
            "training_images": self.train.name if self.train else None,
            "features": self.network.name,
            "features_fingerprint": self.network.fingerprint,
            "features_preparation": self.network.preparation,
            "preparation": describe_size(self.size),
            "images": len(samples),
            "reference_images": figures[0].reference,
            "resamples": self.options.resamples,
            "classifier_score_parts": score.parts,
            **figures_json(figures),
            "classes": [
                {"label": each.label, "name": each.name, **figures_json(each.figures)} for each in classes
            ],
            "nearest_training_images": copies.as_json() if copies else [],
            "failed": [{"name": name, "reason": reason} for name, reason in failed],
        }


def _open_reference(options: EvaluateSamplesOptions, size: tuple[int, int]) -> ImageSet | ReferenceFile:
    if not options.reference.lower().endswith(SUFFIX):
        return open_image_set(options.reference, size, limit=options.reference_limit, unseen=True)
    if options.reference_limit is not None:
        raise UsageError(
            "--reference-limit does not go with a file of statistics",
            hint="they are of all images they were made of",
        )
    return read_statistics(user_path(options.reference))
