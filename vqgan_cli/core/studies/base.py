"""What a study is: arms, each an ordinary run, and what is read from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vqgan_cli.core.artifacts import MODEL_FILE
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.plots import Lines
from vqgan_cli.core.studies.curves import Point, read_curve

if TYPE_CHECKING:
    from vqgan_cli.core.studies.instruments import Instruments

__all__ = ["Arm", "Command", "Metric", "Run", "Study", "Values"]

Command = Literal["train-ae", "train-transformer", "generate"]

Values = dict[str, float]
"""What was measured of a run, by the key of the metric."""


@dataclass(frozen=True)
class Arm:
    """One of the things that a study compares, or what these start from.

    Attributes:
        name: of its folder; unique in the study.
        command: that makes its run.
        changes: sections and keys laid over the study's config, as a preset would write them.
        start: name of the arm whose model this one starts from: the tokenizer of a transformer, the model that draws.
        role: ``compared``: it has a row in the table; ``part``: it is run alike, once per seed within the budget, for
            others to start from; ``shared``: it is run once, with the steps of the preset, for all others.
        keep: generate: share of the candidates that stays after rejection; None: no rejection.
    """

    name: str
    command: Command
    changes: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    role: Literal["compared", "part", "shared"] = "compared"
    keep: float | None = None

    @property
    def section(self) -> str:
        """Of the config: that of its training."""
        return "train_ae" if self.command == "train-ae" else "train_transformer"


@dataclass(frozen=True)
class Run:
    """An arm that was run with one seed.

    Attributes:
        arm: which.
        seed: its number, from 0.
        path: run folder, or folder of samples.
        start: model that it started from; None for a tokenizer.
        before: the run that made that model; None where the study was given one.
    """

    arm: Arm
    seed: int
    path: Path
    start: Path | None = None
    before: Run | None = None

    @property
    def model(self) -> Path:
        """The weights."""
        return self.path / MODEL_FILE

    def curve(self) -> list[Point]:
        """Its validations, with the seconds of training before each."""
        return read_curve(self.path, self.arm.section)

    def last(self) -> Values:
        """Its last validation."""
        return dict(self.curve()[-1].values)


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        key: in JSON, spelled out.
        label: for people, with the unit; ``{frechet}`` stands for what the distance is called in its features.
        digits: behind the point.
    """

    key: str
    label: str
    digits: int = 3


class Study(ABC):
    """A question, the arms that answer it, and the figures to be read from them.

    Attributes:
        name: as it is typed.
        question: one sentence.
        paper: what the paper says.
        settings: ``section.key=value`` that this study sets before the user does.
        metrics: the columns.
        takes: options of the command line that not all studies have.
        needs_features: there is nothing to measure without a network for Frechet distances.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    paper: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[Metric, ...]]
    takes: ClassVar[frozenset[str]] = frozenset()
    needs_features: ClassVar[bool] = False

    @abstractmethod
    def arms(self, config: ExperimentConfig) -> list[Arm]:
        """Everything to run, what others start from before them.

        Raises:
            VqganError: the config does not allow the question.
        """

    @abstractmethod
    def read(self, runs: Sequence[Run], instruments: Instruments) -> list[Values]:
        """The metrics of each compared run, in their order; what could not be measured is left out."""

    def lines(self, runs: Sequence[Run]) -> list[Lines]:
        """Curves to plot beside the metrics."""
        return []
