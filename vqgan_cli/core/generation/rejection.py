"""Classifier-based rejection: of many candidates of a class, keep those that a classifier finds likeliest for it.

As in the paper (Esser et al. 2021, appendix; after Razavi et al. 2019, "VQ-VAE-2", section 3.4).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.artifacts import fingerprint
from vqgan_cli.core.errors import UsageError, WeightsError, did_you_mean
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.models.classifiers import ImageClassifier, classifier_names, recognise_classifier
from vqgan_cli.core.pretrained import read_weights, weights_file

__all__ = ["BestCandidates", "load_scorer"]

_OTHERWISE = "give a file: --scorer resnet101:FILE; or draw without --keep"


def load_scorer(text: str) -> tuple[ImageClassifier, str]:
    """The classifier that ``--scorer`` names, on the CPU, and the fingerprint of its weights.

    Args:
        text: ``torchvision:NAME`` for published weights, which are cached or downloaded; ``NAME:FILE``; or ``FILE``, a
            state dict (.safetensors or .pth) whose network is recognised by its names and shapes.

    Raises:
        UsageError: torchvision has no classifier of that name.
        WeightsError: weights that are not there, cannot be downloaded, are damaged, or are no such classifier's.
    """
    before, colon, after = text.partition(":")
    if colon and before == "torchvision":
        name = _known(after)
        state = read_weights(weights_file(name, purpose=f"--scorer {text}", otherwise=_OTHERWISE))
    elif colon and not Path(text).exists():
        name = _known(before)
        state = read_weights(Path(after))
    else:
        state = read_weights(Path(text))
        found = recognise_classifier(state, likely=Path(text).name)
        if found is None:
            raise WeightsError(
                f"{text!r} holds the weights of no torchvision classifier of 1,000 classes",
                hint="--scorer torchvision:resnet101, or the file of such a classifier's state dict",
            )
        name = found
    return ImageClassifier(name, state), fingerprint(state)


def _known(name: str) -> str:
    names = classifier_names()
    if name not in names:
        raise UsageError(
            f"--scorer: torchvision has no classifier {name!r}{did_you_mean(name, names)}",
            hint="--scorer torchvision:resnet101, NAME:FILE or FILE",
        )
    return name


class BestCandidates:
    """The candidates of one class with the highest scores so far, and how many were seen, kept in a file.

    Args:
        path: the file; if it is there, from an earlier call, that one is gone on from.
        keep: how many candidates stay.
        grid: [h, w] of their codes.

    Attributes:
        seen: candidates that were scored.
        indices: image index of each kept candidate, the best first: int64 [n].
        scores: probability of the class, float64 [n].
        codes: int64 [n, h, w].
    """

    def __init__(self, path: Path, keep: int, grid: tuple[int, int]) -> None:
        self._path = path
        self._keep = keep
        self.seen = 0
        self.indices = np.zeros(0, np.int64)
        self.scores = np.zeros(0, np.float64)
        self.codes = np.zeros((0, *grid), np.int64)
        try:
            with np.load(path) as stored:
                self.seen = int(stored["seen"])
                self.indices, self.scores = stored["indices"], stored["scores"]
                self.codes = stored["codes"]
        except FileNotFoundError:
            pass

    def add(self, first: int, scores: npt.NDArray[np.float64], codes: npt.NDArray[np.int64]) -> None:
        """Take in the next candidates, and write the file.

        Args:
            first: image index of the first one.
            scores: [m].
            codes: [m, h, w].

        Raises:
            OutputError: the file cannot be written.
        """
        self.seen += len(scores)
        indices = np.concatenate([self.indices, np.arange(first, first + len(scores))])
        scores = np.concatenate([self.scores, scores])
        best = np.lexsort((indices, -scores))[: self._keep]  # the earlier of two equals
        self.indices, self.scores = indices[best], scores[best]
        self.codes = np.concatenate([self.codes, codes])[best]
        with staged_file(self._path) as staging, staging.open("wb") as file:
            np.savez(file, seen=self.seen, indices=self.indices, scores=self.scores, codes=self.codes)
