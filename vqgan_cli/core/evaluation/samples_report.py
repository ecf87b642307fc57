"""The report on samples: what was compared, figures, classes, and the samples that look most like copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.images import contact_sheet
from vqgan_cli.core.data.transforms import resize
from vqgan_cli.core.errors import DataError
from vqgan_cli.core.evaluation.comparison import ClassFigures
from vqgan_cli.core.evaluation.copies import Copies
from vqgan_cli.core.evaluation.figures import Figure, figures_table, shown
from vqgan_cli.core.evaluation.report import Picture, Section, Table

__all__ = ["INTERVALS", "classes_table", "samples_sections"]

INTERVALS = (
    "The intervals are 95 % by bootstrap over images. Those of distances and of the classifier score are the value "
    "plus and minus 1.96 standard deviations of the resamples, because sets in which images repeat are further apart; "
    "precision and density draw the samples again, recall and coverage the reference images, each among the "
    "neighbours that it has, and take quantiles, as the medians do. All distances depend on the number of images: "
    "compare figures of equal numbers only."
)
"""How they are found, for people."""

_SHOWN_SIDE = 256  # pixels
_OF_A_CLASS = ("precision", "recall", "density", "coverage")

UInt8 = npt.NDArray[np.uint8]


def samples_sections(
    metrics: Mapping[str, Any],
    figures: Sequence[Figure],
    classes: Sequence[ClassFigures],
    copies: Copies | None,
) -> list[Section]:
    """Parts of the report.

    Args:
        metrics: all figures as plain values of JSON.
        figures: of all samples.
        classes: of each class.
        copies: samples and their nearest training images.
    """
    facts = Table(("", ""), [(name, str(metrics[key])) for name, key in (
        ("samples", "samples"), ("reference", "reference"), ("statistics file", "reference_statistics"),
        ("samples, number", "images"), ("reference images, number", "reference_images"),
        ("both sets", "preparation"), ("features", "features"), ("pictures in the network", "features_preparation"),
        ("fingerprint of the weights", "features_fingerprint"), ("resamples", "resamples"),
    ) if metrics[key] is not None])  # fmt: skip
    sections = [
        Section("What was compared", table=facts),
        Section("Figures", INTERVALS if metrics["resamples"] else "", figures_table(figures)),
    ]
    if classes:
        sections.append(
            Section("Classes", "Each class against its own in the reference.", classes_table(classes))
        )
    if copies is not None:
        note = (
            "The samples nearest to a training image, left, each with its nearest training images. Copies would look "
            "the same. A low distance to the reference can come from memorising."
        )
        pictures = [_beside(copies, row) for row in range(len(copies.shown))]
        sections.append(Section("Nearest training images", note, pictures=pictures))
    return sections


def classes_table(classes: Sequence[ClassFigures]) -> Table:
    """A row per class: what fits beside each other; the other figures and intervals are in JSON."""
    columns = ("class", "images", classes[0].figures[0].label, "95 % interval", *_OF_A_CLASS)
    rows = []
    for each in classes:
        frechet = each.figures[0]
        rest = [figure for figure in each.figures if figure.key in _OF_A_CLASS]
        interval = " to ".join(map(shown, frechet.interval)) if frechet.interval else ""
        counts = f"{frechet.images} against {frechet.reference}"
        rows.append((each.name, counts, shown(frechet.value), interval, *(shown(f.value) for f in rest)))
    return Table(columns, rows)


def _beside(copies: Copies, row: int) -> Picture:
    """A sample and its nearest training images, as far as there are pictures of them."""
    number = copies.shown[row]
    distances, indices = copies.neighbours.distances[row], copies.neighbours.indices[row]
    pictures, lines = [], [copies.samples.names[number]]
    for which, place in ((copies.samples, number), *((copies.training, int(index)) for index in indices)):
        if which.picture is None:
            continue
        try:
            pictures.append(_small(which.picture(place)))
        except DataError:  # gone since its features were taken
            continue
    for index, distance in zip(indices, distances, strict=True):
        lines.append(f"{shown(float(distance))}: {copies.training.names[int(index)]}")
    return Picture(contact_sheet(pictures, columns=len(pictures)), "\n".join(lines))


def _small(image: UInt8) -> UInt8:
    scale = min(1.0, _SHOWN_SIDE / max(image.shape[:2]))
    return resize(image, *(max(1, round(side * scale)) for side in image.shape[:2]))
