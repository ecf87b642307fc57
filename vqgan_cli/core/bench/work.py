"""A piece of work that is timed in two ways, and what comes out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from vqgan_cli.core.allocator import give_back_freed_memory, keep_freed_memory
from vqgan_cli.core.bench.limits import Limits, Pass, least_seconds, wait_for
from vqgan_cli.core.bench.memory import peak_memory
from vqgan_cli.core.reporting import Reporter

__all__ = ["Result", "Way", "Work", "measure"]


@dataclass(frozen=True)
class Way:
    """One way to do some work.

    Attributes:
        run: does it once.
        units: images, codes or whatever is counted, done by one call.
    """

    run: Callable[[], object]
    units: float


@dataclass(frozen=True)
class Work:
    """What is compared.

    Attributes:
        name: of the work and its shape, such as ``sample 256 codes, batch 8``.
        unit: what is counted, in the plural.
        ours: as this package does it.
        plain: the straightforward way; None where there is none.
        passes: what ours computes and reads; empty if the limit is of another kind.
        others: ways that no way can be faster than, the slowest of which is the limit, by name.
        counts: facts that are the same each time, such as passes of the network.
        check: how far the results agree, by name; called once, outside of the timing.
        once: ours takes minutes, so it runs once, and the plain way before and after it.
    """

    name: str
    unit: str
    ours: Way
    plain: Way | None
    passes: Callable[[], list[Pass]] = list
    others: Mapping[str, Way] = field(default_factory=dict)
    counts: Callable[[], dict[str, float]] = dict
    check: Callable[[], dict[str, float]] = dict
    once: bool = False


@dataclass(frozen=True)
class Result:
    """What was measured; rates are medians over the rounds.

    Attributes:
        name: see `Work`.
        unit: see `Work`.
        ours_per_second: units.
        plain_per_second: units; None without a plain way.
        ratios: of each round, sorted: how many times as fast ours is as the plain way beside it.
        limited_by: ``arithmetic``, ``memory``, or the name of another way.
        share_of_limit: rate over that at which the same would be computed and read at full speed, or over that of the
            other way; None where none is known.
        ours_memory: peak bytes beyond those before; None where the system does not tell.
        plain_memory: the same of the plain way.
        counts: see `Work`.
        agreement: see `Work.check`.
    """

    name: str
    unit: str
    ours_per_second: float
    plain_per_second: float | None
    ratios: list[float]
    limited_by: str | None
    share_of_limit: float | None
    ours_memory: int | None
    plain_memory: int | None
    counts: dict[str, float]
    agreement: dict[str, float]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios."""
        return statistics.median(self.ratios) if self.ratios else None


def measure(
    work: Work, rounds: int, limits: Callable[[], Limits], device: torch.device, reporter: Reporter
) -> Result:
    """Time all ways of some work by turns, so that what else the machine does meets all of them.

    A call before the first round starts things up and tells the memory; work that is done once does without.

    Args:
        work: what.
        rounds: calls of each way that are timed.
        limits: of the device, asked for when the times are known.
        device: where the work is done.
        reporter: hears of the progress.
    """
    ways = {"ours": work.ours, **({"plain": work.plain} if work.plain else {}), **work.others}
    memory: dict[str, int | None] = {}
    seconds: dict[str, list[float]] = {name: [] for name in ways}

    def time_one(name: str) -> None:
        _allocate_as(name, memory.get(name))
        wait_for(device)
        begun = time.perf_counter()
        ways[name].run()
        wait_for(device)
        seconds[name].append((time.perf_counter() - begun) / ways[name].units)

    turns = list(ways) * rounds
    if work.once:
        others = [name for name in turns if name != "ours"]
        turns = [*others[: len(others) // 2], "ours", *others[len(others) // 2 :]]
    with reporter.progress(work.name, len(turns), "calls") as progress:
        for name, way in ways.items():
            if not (work.once and name == "ours"):
                _allocate_as(name)
                with peak_memory(device) as peak:
                    way.run()
                memory[name] = peak.bytes
        for number, name in enumerate(turns, 1):
            if name in memory:
                time_one(name)
            else:
                with peak_memory(device) as peak:
                    time_one(name)
                memory[name] = peak.bytes
            progress.update(number)
    each = {name: statistics.median(times) for name, times in seconds.items()}
    limited_by, least = _limit(work, each, limits())
    mine = seconds["ours"] * (rounds if work.once else 1)
    return Result(
        name=work.name,
        unit=work.unit,
        ours_per_second=1 / each["ours"],
        plain_per_second=1 / each["plain"] if work.plain else None,
        ratios=sorted(plain / ours for ours, plain in zip(mine, seconds.get("plain", []), strict=False)),
        limited_by=limited_by,
        share_of_limit=least / each["ours"] if least else None,
        ours_memory=memory["ours"],
        plain_memory=memory.get("plain"),
        counts=work.counts(),
        agreement=work.check(),
    )


def _allocate_as(name: str, needs: int | None = None) -> None:
    """Let the plain way have memory as a program has that says nothing of it, all others as our commands do.

    Args:
        name: of the way.
        needs: bytes that it has had before, which a command would have kept.
    """
    if name == "plain":
        give_back_freed_memory()
    else:
        keep_freed_memory(needs or 0)


def _limit(work: Work, each: Mapping[str, float], limits: Limits) -> tuple[str | None, float | None]:
    """What holds the work up, and the least seconds per unit."""
    if work.others:
        name = max(work.others, key=lambda other: each[other])
        return name, each[name]
    passes = work.passes()
    if not passes:
        return None, None
    arithmetic = least_seconds([Pass(one.flops) for one in passes], limits)
    memory = least_seconds([Pass(0, one.bytes) for one in passes], limits)
    least = least_seconds(passes, limits) / work.ours.units
    return "memory" if memory > arithmetic else "arithmetic", least
