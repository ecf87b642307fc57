"""How measured steps become a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from accelerate import Accelerator

from vqgan_cli.core.config import OptimisationConfig
from vqgan_cli.core.errors import MemoryLimitError
from vqgan_cli.core.planning import measuring
from vqgan_cli.core.planning.measuring import Phase, measure_steps


class Steps:
    """An experiment whose steps cost what they are told to on a clock of their own, and memory by the batch."""

    def __init__(self, seconds: dict[int, float], fits: int) -> None:
        self.seconds, self.fits, self.now, self.calls = seconds, fits, 0.0, 0

    def prepare(self, accelerator: Accelerator, batch_size: int) -> tuple[Steps, Iterator[int]]:
        return self, itertools.repeat(batch_size)

    def micro_step(self, batch: int, step: int) -> None:
        if batch > self.fits:
            raise MemoryError
        self.calls += 1
        self.now += self.seconds[step] if self.calls > 1 else 1000.0

    def finish_step(self, step: int) -> None:
        pass


def test_phases_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed form: 60 steps of 2 s and 40 of 5 s; the first call of all, which takes long, does not count."""
    steps = Steps({0: 2.0, 60: 5.0}, fits=8)
    monkeypatch.setattr(measuring.time, "monotonic", lambda: steps.now)
    settings = OptimisationConfig(steps=100, batch_size=8)
    speed = measure_steps(settings, "cpu", [Phase(0, 60), Phase(60, 40)], steps.prepare, 10.0)
    assert speed.seconds == pytest.approx(60 * 2 + 40 * 5)
    assert (speed.batch_size, speed.accumulate, speed.steps_measured) == (8, 1, 5 + 2)
    assert speed.images_per_second == pytest.approx(8 / 5)


def test_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed form: of 12 images 4 fit, so 3 are taken four times a step; a part without steps takes no time."""
    steps = Steps({0: 2.0}, fits=4)
    monkeypatch.setattr(measuring.time, "monotonic", lambda: steps.now)
    settings = OptimisationConfig(steps=100, batch_size=12)
    speed = measure_steps(settings, "cpu", [Phase(0, 100), Phase(100, 0)], steps.prepare, 0.0)
    assert (speed.batch_size, speed.accumulate, speed.seconds) == (3, 4, 100 * 4 * 2.0)
    with pytest.raises(MemoryLimitError, match="batch of one image"):
        measure_steps(settings, "cpu", [Phase(0, 100)], Steps({}, fits=0).prepare, 0.0)
