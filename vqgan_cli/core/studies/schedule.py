"""Which runs a study takes, with which config, and for how many steps."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.config.merging import merge
from vqgan_cli.core.errors import UsageError, did_you_mean
from vqgan_cli.core.presets import overridden
from vqgan_cli.core.studies.base import Arm, Run

__all__ = ["PROBE_STEPS", "config_of", "plan_runs", "probe_config", "steps_within", "with_what_they_need"]

PROBE_STEPS = 16
"""Steps by which the speed of an arm is measured; the adversarial term, if there is one, joins after half of them."""

_VALIDATIONS = 10
_WARM = 3  # steps at the start, and after a term has joined, that are slower than all others


def with_what_they_need(arms: Sequence[Arm], names: Sequence[str]) -> list[Arm]:
    """The arms of these names, with those that they start from.

    Args:
        arms: of the study.
        names: of compared arms; empty: all.

    Raises:
        UsageError: the study compares no such arm.
    """
    compared = [arm.name for arm in arms if arm.role == "compared"]
    for name in names:
        if name not in compared:
            raise UsageError(
                f"--arm {name}: this study has no such arm{did_you_mean(name, compared)}",
                hint=f"one of {', '.join(compared)}",
            )
    by_name = {arm.name: arm for arm in arms}
    wanted: set[str] = set()
    for name in names or compared:
        following: str | None = name
        while following is not None and following in by_name:
            wanted.add(following)
            following = by_name[following].start
    return [arm for arm in arms if arm.name in wanted]


def plan_runs(arms: Sequence[Arm], seeds: int, folder: Path, given: Path | None) -> list[Run]:
    """All runs in the order in which they are made: every arm with one seed before the next seed.

    Args:
        arms: of the study, what others start from before them.
        seeds: how often each is run; what is shared, once.
        folder: of the runs.
        given: model that arms start from whose ``start`` is no arm of the study.
    """
    runs: dict[tuple[str, int], Run] = {}
    for seed in range(seeds):
        for arm in arms:
            shared = arm.role == "shared"
            if shared and seed:
                continue
            before = None
            if arm.start is not None:
                before = runs.get((arm.start, seed)) or runs.get((arm.start, 0))
            start = before.model if before is not None else given if arm.start is not None else None
            path = folder / (arm.name if shared else f"{arm.name}-{seed}")
            runs[arm.name, seed] = Run(arm, seed, path, start, before)
    return list(runs.values())


def config_of(base: ExperimentConfig, run: Run, steps: int) -> ExperimentConfig:
    """The experiment of a run: the base, the changes of its arm, its steps and its seed.

    It is validated ten times, each time together with a line of the log that tells its speed.
    """
    settings = getattr(base, run.arm.section)
    every = max(1, steps // _VALIDATIONS)
    of_run = {
        "steps": steps,
        "seed": settings.seed + run.seed,
        "warmup_steps": min(settings.warmup_steps, steps // 10),
        "log_every": every,
        "validate_every": every,
        "checkpoint_every": every * (_VALIDATIONS // 2),
        "keep_checkpoints": 1,
        "sample_every": 0,
    }
    return overridden(base, merge(run.arm.changes, {run.arm.section: of_run}))


def probe_config(config: ExperimentConfig, section: str) -> ExperimentConfig:
    """The experiment of a run as short as it takes to know its speed."""
    changes: dict[str, Any] = {
        "steps": PROBE_STEPS,
        "log_every": 1,
        "validate_every": 0,
        "checkpoint_every": 0,
    }
    if section == "train_ae":
        changes["adversarial"] = {"start": PROBE_STEPS // 2, "pretrain_steps": 0}
    return overridden(config, {section: changes})


def steps_within(seconds: float, probe: Path, config: ExperimentConfig, section: str) -> int:
    """How many steps of a run fit into a time, by the log of a run of its `probe_config`.

    Args:
        seconds: to spend in steps.
        probe: folder of that run.
        config: of the run itself.
        section: of its training.
    """
    unit = "codes" if section == "train_transformer" else "images"
    rates: dict[int, float] = {}
    for line in (probe / "log.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if f"{unit}_per_second" in record:
            rates[record["step"]] = record[f"{unit}_per_second"]
    settings = getattr(config, section)
    per_step = settings.batch_size * settings.accumulate
    if unit == "codes":
        per_step *= (config.data.size // config.tokenizer.downsampling) ** 2

    def seconds_per_step(first: int, last: int) -> float:
        return per_step / statistics.median(rates[step] for step in range(first, last + 1))

    half = PROBE_STEPS // 2
    alone = seconds_per_step(_WARM + 1, half)
    if section == "train_transformer" or config.train_ae.adversarial.weight == 0:
        return max(1, int(seconds / alone))
    both = seconds_per_step(half + _WARM + 1, PROBE_STEPS)
    start = config.train_ae.adversarial.start
    if start < 1:
        return max(1, int(seconds / (start * alone + (1 - start) * both)))
    return (
        max(1, int(seconds / alone))
        if seconds < start * alone
        else int(start + (seconds - start * alone) / both)
    )
