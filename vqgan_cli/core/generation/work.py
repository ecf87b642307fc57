"""Drawing what a folder of samples still misses, with or without rejection."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.data.codes_writer import CodesWriter
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.generation.drawer import ImageDrawer
from vqgan_cli.core.generation.folder import Sample, SampleFolder
from vqgan_cli.core.generation.rejection import BestCandidates
from vqgan_cli.core.models.classifiers import ImageClassifier
from vqgan_cli.core.reporting import Progress, Reporter

__all__ = ["ClassShare", "SampleWork"]


class ClassShare(NamedTuple):
    """The share of one class in the work; for a model without classes, all of it."""

    label: int | None
    name: str | None
    images: int  # to keep
    drawn: int  # of which so many are drawn
    first: int  # image index of the first one
    files: list[str]


class SampleWork:
    """Draws what is missing and writes it."""

    def __init__(
        self,
        drawer: ImageDrawer,
        folder: SampleFolder,
        writer: CodesWriter | None,
        seed: int,
        size: tuple[int, int],
        reporter: Reporter,
    ) -> None:
        self._drawer = drawer
        self._folder = folder
        self._writer = writer
        self._without_codes = set(writer.pending()) if writer else set[int]()
        self._seed = seed
        self._size = size
        self._reporter = reporter

    def draw_all(self, plan: Sequence[ClassShare]) -> list[Sample]:
        """Draw every image, in batches that are the same in every call, so that resuming changes nothing."""
        samples = [
            self._sample(entry, number, index=entry.first + number)
            for entry in plan
            for number in range(entry.images)
        ]
        step = self._drawer.batch
        batches = [range(start, min(start + step, len(samples))) for start in range(0, len(samples), step)]
        batches = [batch for batch in batches if any(self._is_missing(i, samples[i]) for i in batch)]
        if not batches:
            return samples
        with self._progress(sum(map(len, batches))) as progress:
            for batch in batches:
                codes = self._draw(batch.start, [samples[index].label for index in batch], progress)
                for index, row, picture in zip(batch, codes, self._drawer.pictures(codes), strict=True):
                    self._write(index, samples[index], row, picture)
        return samples

    def draw_best(self, plan: Sequence[ClassShare], scorer: ImageClassifier) -> list[Sample]:
        """Draw the candidates of each class, and write those that the scorer finds likeliest, the best first."""
        samples: list[Sample] = []
        with self._progress(sum(entry.drawn for entry in plan)) as progress:
            for entry in plan:
                places = range(len(samples), len(samples) + entry.images)
                known = [self._folder.known[file] for file in entry.files if file in self._folder.known]
                if len(known) == len(places) and not any(map(self._is_missing, places, known)):
                    samples += known
                    progress.skip(entry.drawn)
                    continue
                best = self._best(entry, scorer, progress)
                found = [
                    self._sample(entry, number, index=int(index), score=float(score))
                    for number, (index, score) in enumerate(zip(best.indices, best.scores, strict=True))
                ]
                for place, sample, row in zip(places, found, best.codes, strict=True):
                    if self._is_missing(place, sample):
                        self._write(place, sample, row, self._drawer.pictures(row[None])[0])
                samples += found
        return samples

    def _best(self, entry: ClassShare, scorer: ImageClassifier, progress: _CodeProgress) -> BestCandidates:
        """The best candidates of a class, drawing those that were not drawn before."""
        self._folder.candidates.mkdir(exist_ok=True)
        path = self._folder.candidates / f"{entry.label}.npz"
        best = BestCandidates(path, entry.images, self._drawer.grid)
        progress.skip(best.seen)
        while best.seen < entry.drawn:
            labels = [entry.label] * min(self._drawer.batch, entry.drawn - best.seen)
            first = entry.first + best.seen
            codes = self._draw(first, labels, progress)
            pictures = torch.from_numpy(np.stack(self._drawer.pictures(codes))).permute(0, 3, 1, 2)
            device = next(scorer.parameters()).device
            scores = scorer(pictures.to(device))[:, entry.label].double().cpu().numpy()
            best.add(first, scores, codes)
        return best

    def _draw(self, first: int, labels: list[int | None], progress: _CodeProgress) -> npt.NDArray[np.int64]:
        self._drawer.require_going()
        codes = self._drawer.codes(first, labels, progress.within_batch)
        progress.batch_done(len(labels))
        return codes

    def _sample(self, entry: ClassShare, number: int, *, index: int, score: float | None = None) -> Sample:
        return Sample(
            file=entry.files[number],
            index=index,
            seed=self._seed,
            size=self._size,
            label=entry.label,
            class_name=entry.name,
            score=score,
        )

    def _is_missing(self, place: int, sample: Sample) -> bool:
        return place in self._without_codes or not (self._folder.folder / sample.file).exists()

    def _write(
        self, place: int, sample: Sample, codes: npt.NDArray[np.int64], picture: npt.NDArray[Any]
    ) -> None:
        if self._writer is not None and place in self._without_codes:
            label = -1 if sample.label is None else sample.label
            self._writer.add(place, codes, name=sample.file, size=self._size, resized=self._size, label=label)
        if not (self._folder.folder / sample.file).exists():
            write_image(self._folder.folder / sample.file, picture)

    @contextmanager
    def _progress(self, images: int) -> Iterator[_CodeProgress]:
        cells = self._drawer.grid[0] * self._drawer.grid[1]
        with self._reporter.progress("drawing", images * cells, "codes") as progress:
            yield _CodeProgress(progress, images, cells)


class _CodeProgress:
    """Counts codes of all batches."""

    def __init__(self, progress: Progress, images: int, cells: int) -> None:
        self._progress = progress
        self._images = images
        self._cells = cells
        self._done = 0
        self._drawn = 0
        self._started = time.monotonic()

    def within_batch(self, codes: int) -> None:
        """So many codes of the batch are drawn."""
        rate = (self._drawn + codes) / max(time.monotonic() - self._started, 1e-9)
        done = self._done * self._cells + codes
        values = {
            "codes/s": f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}",
            "images": f"{done // self._cells} of {self._images}",
        }
        self._progress.update(done, values)

    def batch_done(self, images: int) -> None:
        """The batch that was watched has so many images."""
        self._drawn += images * self._cells
        self._done += images

    def skip(self, images: int) -> None:
        """So many images were drawn by an earlier call."""
        self._done += images
