"""Classifier-based rejection: of many candidates of a class, keep those that a classifier finds likeliest for it.

As in the paper (Esser et al. 2021, appendix; after Razavi et al. 2019, "VQ-VAE-2", section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.artifacts import fingerprint
from vqgan_cli.core.errors import UsageError, WeightsError, did_you_mean
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.generation.class_names import ClassNames
from vqgan_cli.core.models.classifiers import ImageClassifier, classifier_names, recognise_classifier
from vqgan_cli.core.pretrained import read_weights, weights_file

__all__ = ["DEFAULT_SCORER", "BestCandidates", "class_scores", "load_scorer", "require_imagenet"]

DEFAULT_SCORER = "torchvision:resnet101"
"""The one of the paper."""

_OTHERWISE = "give a file as scorer, resnet101:FILE; or draw without rejection"


def require_imagenet(names: ClassNames, asked: str) -> None:
    """Refuse a model whose classes no classifier knows.

    Args:
        names: of the model's classes.
        asked: what asks for the rejection, for the message.

    Raises:
        UsageError: the classes are not ImageNet's.
    """
    if not names.is_imagenet:
        raise UsageError(
            f"{asked} needs a model of ImageNet's 1,000 classes in their order, which the classifier knows; "
            f"this one has {f'{names.count} classes of its own' if names.count else 'no classes'}"
        )


def load_scorer(text: str) -> tuple[ImageClassifier, str]:
    """The classifier that a text names, on the CPU, and the fingerprint of its weights.

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
        state = read_weights(weights_file(name, purpose=f"the scorer {text}", otherwise=_OTHERWISE))
    elif colon and not Path(text).exists():
        name = _known(before)
        state = read_weights(Path(after))
    else:
        state = read_weights(Path(text))
        found = recognise_classifier(state, likely=Path(text).name)
        if found is None:
            raise WeightsError(
                f"{text!r} holds the weights of no torchvision classifier of 1,000 classes",
                hint="torchvision:resnet101 is one, or the file of such a classifier's state dict",
            )
        name = found
    return ImageClassifier(name, state), fingerprint(state)


def _known(name: str) -> str:
    names = classifier_names()
    if name not in names:
        raise UsageError(
            f"torchvision has no classifier {name!r}{did_you_mean(name, names)}",
            hint="a scorer is torchvision:resnet101, NAME:FILE or FILE",
        )
    return name


def class_scores(
    scorer: ImageClassifier, pictures: Sequence[npt.NDArray[np.uint8]], label: int
) -> npt.NDArray[np.float64]:
    """How likely a classifier finds a class for each of pictures [H, W, 3] of one size; [N]."""
    device = next(scorer.parameters()).device
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(device)
    scores: npt.NDArray[np.float64] = scorer(images)[:, label].double().cpu().numpy()
    return scores


class BestCandidates:
    """The candidates of one class with the highest scores so far, and how many were seen.

    Args:
        path: the file that keeps them; if it is there, from an earlier call, that one is gone on from. None: no file.
        keep: how many candidates stay.
        grid: [h, w] of their codes.

    Attributes:
        seen: candidates that were scored.
        indices: image index of each kept candidate, the best first: int64 [n].
        scores: probability of the class, float64 [n].
        codes: int64 [n, h, w].
    """

    def __init__(self, path: Path | None, keep: int, grid: tuple[int, int]) -> None:
        self._path = path
        self._keep = keep
        self.seen = 0
        self.indices = np.zeros(0, np.int64)
        self.scores = np.zeros(0, np.float64)
        self.codes = np.zeros((0, *grid), np.int64)
        if path is None:
            return
        try:
            with np.load(path) as stored:
                self.seen = int(stored["seen"])
                self.indices, self.scores = stored["indices"], stored["scores"]
                self.codes = stored["codes"]
        except FileNotFoundError:
            pass

    def add(self, first: int, scores: npt.NDArray[np.float64], codes: npt.NDArray[np.int64]) -> None:
        """Take in the next candidates, and write the file if there is one.

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
        if self._path is None:
            return
        with staged_file(self._path) as staging, staging.open("wb") as file:
            np.savez(file, seen=self.seen, indices=self.indices, scores=self.scores, codes=self.codes)
