"""Drawing what a folder of samples still misses, with or without rejection."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.batching import THREADS, Background
from vqgan_cli.core.data.codes_writer import CodesWriter
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.generation.drawer import ImageDrawer
from vqgan_cli.core.generation.folder import Sample, SampleFolder
from vqgan_cli.core.generation.rejection import BestCandidates, class_scores
from vqgan_cli.core.generation.templates import Template
from vqgan_cli.core.models.classifiers import ImageClassifier
from vqgan_cli.core.reporting import Progress, Reporter

__all__ = ["SampleWork", "Share", "batches_of", "draw_candidates"]

Codes = npt.NDArray[np.int64]


class Share(NamedTuple):
    """Images of one class and one template; for a model without classes and without maps, all of them."""

    template: Template
    label: int | None
    name: str | None
    images: int  # to keep
    drawn: int  # of which so many are drawn
    first: int  # image index of the first one
    files: list[str]


def batches_of(templates: Sequence[Template], drawer: ImageDrawer) -> list[range]:
    """Which images are drawn together: runs of one grid, no longer than what is drawn at a time."""
    batches = []
    start = 0
    while start < len(templates):
        grid, end = templates[start].grid, start + 1
        while end < len(templates) and templates[end].grid == grid and end - start < drawer.batch(grid):
            end += 1
        batches.append(range(start, end))
        start = end
    return batches


def draw_candidates(
    entry: Share,
    best: BestCandidates,
    drawer: ImageDrawer,
    scorer: ImageClassifier,
    draw: Callable[[int, Sequence[Template], Sequence[int | None]], Codes],
) -> None:
    """Draw those candidates of a class that were not seen, and keep the best.

    Args:
        entry: of the class.
        best: takes them in.
        drawer: says how many are drawn at a time, and decodes them.
        scorer: says how likely they are.
        draw: draws the codes [N, h, w] of consecutive images, as `ImageDrawer.codes`.
    """
    assert entry.label is not None
    while best.seen < entry.drawn:
        count = min(drawer.batch(entry.template.grid), entry.drawn - best.seen)
        first = entry.first + best.seen
        codes = draw(first, [entry.template] * count, [entry.label] * count)
        best.add(first, class_scores(scorer, drawer.pictures(codes), entry.label), codes)


class SampleWork:
    """Draws what is missing and writes it.

    Args:
        drawer: draws.
        folder: where the images go.
        writer: where their codes go, if they are wanted.
        seed: noted with every image.
        reporter: who listens.
        process: number of this process; its share is every ``processes``-th batch, or class where some are rejected.
        processes: number of all processes.
    """

    def __init__(
        self,
        drawer: ImageDrawer,
        folder: SampleFolder,
        writer: CodesWriter | None,
        seed: int,
        reporter: Reporter,
        *,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self._drawer = drawer
        self._folder = folder
        self._writer = writer
        self._without_codes = set(writer.pending(of_all=True)) if writer else set[int]()
        self._share = slice(process, None, processes)
        self._seed = seed
        self._reporter = reporter

    def draw_all(self, plan: Sequence[Share]) -> list[Sample]:
        """Draw every image of the share, in batches that are the same in every call, so that neither resuming nor the
        number of processes changes anything.

        Returns:
            All images, in their order.
        """
        samples = [
            self._sample(entry, number, index=entry.first + number)
            for entry in plan
            for number in range(entry.images)
        ]
        templates = [entry.template for entry in plan for _ in range(entry.images)]
        batches = [
            batch
            for batch in batches_of(templates, self._drawer)[self._share]
            if any(self._is_missing(place, samples[place]) for place in batch)
        ]
        if not batches:
            return samples
        cells = sum(math.prod(templates[place].grid) for batch in batches for place in batch)
        with (
            self._progress(sum(map(len, batches)), cells) as progress,
            Background(THREADS, ahead=max(map(len, batches))) as writers,
        ):
            for batch in batches:
                codes = self._draw(
                    progress,
                    samples[batch.start].index,
                    [templates[place] for place in batch],
                    [samples[place].label for place in batch],
                )
                for place, row, picture in zip(batch, codes, self._drawer.pictures(codes), strict=True):
                    photo = templates[place].photo
                    picture = photo.finish(picture) if photo else picture
                    self._write(place, samples[place], row, picture, writers)
        return samples

    def draw_best(self, plan: Sequence[Share], scorer: ImageClassifier) -> list[Sample]:
        """Draw the candidates of each class of the share, and write those that the scorer finds likeliest.

        Returns:
            The images of the share, class by class, the best first.
        """
        samples: list[Sample] = []
        images, grid = sum(entry.drawn for entry in plan[self._share]), plan[0].template.grid
        starts = [0, *itertools.accumulate(entry.images for entry in plan)][:-1]
        with (
            self._progress(images, images * math.prod(grid)) as progress,
            Background(THREADS, ahead=self._drawer.batch(grid)) as writers,
        ):
            for start, entry in list(zip(starts, plan, strict=True))[self._share]:
                places = range(start, start + entry.images)
                known = [self._folder.known[file] for file in entry.files if file in self._folder.known]
                if len(known) == len(places) and not any(map(self._is_missing, places, known)):
                    samples += known
                    progress.skip(entry.drawn, entry.template.grid)
                    continue
                best = self._best(entry, scorer, progress)
                found = [
                    self._sample(entry, number, index=int(index), score=float(score))
                    for number, (index, score) in enumerate(zip(best.indices, best.scores, strict=True))
                ]
                for place, sample, row in zip(places, found, best.codes, strict=True):
                    if self._is_missing(place, sample):
                        self._write(place, sample, row, self._drawer.pictures(row[None])[0], writers)
                samples += found
        return samples

    def _best(self, entry: Share, scorer: ImageClassifier, progress: _CodeProgress) -> BestCandidates:
        """The best candidates of a class, drawing those that were not drawn before."""
        self._folder.candidates.mkdir(exist_ok=True)
        path = self._folder.candidates / f"{entry.label}.npz"
        best = BestCandidates(path, entry.images, entry.template.grid)
        progress.skip(best.seen, entry.template.grid)
        draw_candidates(entry, best, self._drawer, scorer, partial(self._draw, progress))
        return best

    def _draw(
        self,
        progress: _CodeProgress,
        first: int,
        templates: Sequence[Template],
        labels: Sequence[int | None],
    ) -> Codes:
        self._drawer.require_going()
        codes = self._drawer.codes(first, templates, labels, progress.within_batch)
        progress.batch_done(len(labels), codes.size)
        return codes

    def _sample(self, entry: Share, number: int, *, index: int, score: float | None = None) -> Sample:
        return Sample(
            file=entry.files[number],
            index=index,
            seed=self._seed,
            size=self._drawer.pixels(entry.template.grid),
            label=entry.label,
            class_name=entry.name,
            source=entry.template.name or None,
            score=score,
        )

    def _is_missing(self, place: int, sample: Sample) -> bool:
        return place in self._without_codes or not (self._folder.folder / sample.file).exists()

    def _write(
        self,
        place: int,
        sample: Sample,
        codes: Codes,
        picture: npt.NDArray[Any],
        writers: Background,
    ) -> None:
        """Keep the codes now, and the picture while the next ones are drawn."""
        if self._writer is not None and place in self._without_codes:
            label = -1 if sample.label is None else sample.label
            self._writer.add(
                place, codes, name=sample.file, size=sample.size, resized=sample.size, label=label
            )
        if not (self._folder.folder / sample.file).exists():
            writers.submit(write_image, self._folder.folder / sample.file, picture)

    @contextmanager
    def _progress(self, images: int, cells: int) -> Iterator[_CodeProgress]:
        with self._reporter.progress("drawing", cells, "codes") as progress:
            yield _CodeProgress(progress, images)


class _CodeProgress:
    """Counts codes of all batches."""

    def __init__(self, progress: Progress, images: int) -> None:
        self._progress = progress
        self._images = images
        self._images_done = 0
        self._done = 0
        self._drawn = 0
        self._started = time.monotonic()

    def within_batch(self, codes: int) -> None:
        """So many codes of the batch are drawn."""
        rate = (self._drawn + codes) / max(time.monotonic() - self._started, 1e-9)
        values = {
            "codes/s": f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}",
            "images": f"{self._images_done} of {self._images}",
        }
        self._progress.update(self._done + codes, values)

    def batch_done(self, images: int, codes: int) -> None:
        """The batch that was watched has so many images and codes."""
        self._drawn += codes
        self._done += codes
        self._images_done += images
        self.within_batch(0)

    def skip(self, images: int, grid: tuple[int, int]) -> None:
        """So many images were drawn by an earlier call."""
        self._images_done += images
        self._done += images * math.prod(grid)
