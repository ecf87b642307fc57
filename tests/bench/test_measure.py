"""The arithmetic of a benchmark, and what it counts."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from tests.models.test_priors import tiny
from vqgan_cli.core.bench.limits import Limits, Pass, least_seconds, measure_limits
from vqgan_cli.core.bench.memory import peak_memory
from vqgan_cli.core.bench.passes import counting
from vqgan_cli.core.bench.work import Way, Work, measure
from vqgan_cli.core.models.priors import PriorSpec
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sampling.sampler import SamplingSettings, draw

CPU = torch.device("cpu")
LIMITS = Limits(flops=100.0, bandwidth=10.0)


def test_least_seconds() -> None:
    """Closed form: each pass takes the longer of its arithmetic and its reading."""
    assert least_seconds([Pass(200.0, 10.0), Pass(100.0, 50.0)], LIMITS) == 2 + 5


def test_ways_run_by_turns() -> None:
    """Invariant: after a call of each that is not timed, the ways take turns, and a ratio is of neighbours."""
    order: list[str] = []

    def way(name: str, seconds: float) -> Way:
        def run() -> None:
            order.append(name)
            time.sleep(seconds)

        return Way(run, units=2)

    work = Work("w", "images", way("a", 0.01), way("b", 0.03), lambda: [Pass(1.0, 0.1)])
    result = measure(work, 3, lambda: LIMITS, CPU, Reporter())
    assert order == ["a", "b"] * 4
    assert len(result.ratios) == 3
    assert result.ratios == sorted(result.ratios)
    assert result.ratio == result.ratios[1]
    assert result.plain_per_second is not None
    # 0.01 s of a hundred units of arithmetic per second and unit of reading, for two images of a call.
    assert result.share_of_limit == pytest.approx(0.01 / 2 * result.ours_per_second)
    assert result.limited_by in ("arithmetic", "memory")


def test_the_slowest_other_way_is_the_limit() -> None:
    """Closed form: of two ways that are needed, the slower one limits."""
    calls = {
        name: Way(lambda seconds=seconds: time.sleep(seconds), 1)
        for name, seconds in (("x", 0.001), ("y", 0.02))
    }
    work = Work("w", "images", Way(lambda: time.sleep(0.04), 1), None, others=calls)
    result = measure(work, 1, lambda: LIMITS, CPU, Reporter())
    assert result.limited_by == "y"
    assert result.share_of_limit is not None
    assert 0 < result.share_of_limit < 1
    assert (result.ratio, result.plain_per_second, result.plain_memory) == (None, None, None)


def test_long_work_runs_once_amid_the_other_way() -> None:
    """Invariant: the plain way is started up and timed before and after; each of its times makes a ratio."""
    order: list[str] = []
    ours, plain = Way(lambda: order.append("ours"), 1), Way(lambda: order.append("plain"), 1)
    result = measure(Work("w", "codes", ours, plain, once=True), 4, lambda: LIMITS, CPU, Reporter())
    assert order == ["plain"] * 3 + ["ours"] + ["plain"] * 2
    assert len(result.ratios) == 4


def test_limits_of_this_machine() -> None:
    """Invariant: some arithmetic and some reading is done."""
    limits = measure_limits(CPU, "fp32")
    assert limits.flops > 1e8
    assert limits.bandwidth > 1e7


def test_peak_memory() -> None:
    """Closed form: what is allocated inside, though it is freed before the end; within 10 %."""
    with peak_memory(CPU) as peak:
        large = np.ones(25_000_000)  # 200 MB
        del large
    if peak.bytes is None:
        pytest.skip("this system does not tell")
    assert peak.bytes == pytest.approx(200e6, rel=0.1)


@pytest.mark.parametrize(("guidance", "rows"), [(1.0, 3), (2.0, 6)])
def test_cached_sampling_reads_each_token_once(guidance: float, rows: int) -> None:
    """Closed form: N passes of one token for N codes, the condition with the first; guidance doubles the rows."""
    prior = tiny("gpt", PriorSpec(20, (3, 4), "class", 5, null_condition=True))
    with counting(prior) as counted:
        draw(prior, torch.tensor([[0], [1], [2]]), (3, 4), SamplingSettings(guidance=guidance))
    assert counted.passes == [(rows, 1)] * 12
    weights = sum(p.numel() for p in prior.blocks.parameters()) + 32 * 20
    # Keys and values of 2 layers, of the condition and of 4 codes.
    kept = rows * 5 * 2 * 2 * 32
    assert counted.needs()[0] == Pass(2.0 * rows * weights, 4.0 * weights)
    assert counted.needs()[5] == Pass(2.0 * rows * weights, 4.0 * (weights + kept))
    assert "hidden" not in vars(prior)
