"""Which runs a study makes, and for how many steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.models.priors import PriorSpec, build_prior
from vqgan_cli.core.presets import resolve
from vqgan_cli.core.studies import STUDIES
from vqgan_cli.core.studies.base import Arm
from vqgan_cli.core.studies.schedule import (
    PROBE_STEPS,
    config_of,
    plan_runs,
    probe_config,
    steps_within,
    with_what_they_need,
)

ARMS = [
    Arm("tokenizer", "train-ae", role="shared"),
    Arm("part", "train-transformer", start="tokenizer", role="part"),
    Arm("a", "generate", start="part"),
    Arm("b", "train-transformer", start="tokenizer"),
]


def test_runs_come_after_what_they_start_from() -> None:
    """Invariant: what is shared is run once; a part has the seed of what starts from it."""
    runs = plan_runs(ARMS, 2, Path("arms"), None)
    assert [run.path.name for run in runs] == ["tokenizer", "part-0", "a-0", "b-0", "part-1", "a-1", "b-1"]
    starts = {run.path.name: run.start for run in runs}
    assert starts["tokenizer"] is None
    assert starts["b-1"] == Path("arms/tokenizer/model.safetensors")
    assert starts["a-1"] == Path("arms/part-1/model.safetensors")


def test_a_model_that_is_given_takes_the_place_of_what_is_shared() -> None:
    runs = plan_runs(ARMS[1:], 1, Path("arms"), Path("mine"))
    assert [run.start for run in runs] == [Path("mine"), Path("arms/part-0/model.safetensors"), Path("mine")]


def test_some_arms_with_what_they_need() -> None:
    assert [arm.name for arm in with_what_they_need(ARMS, ["a"])] == ["tokenizer", "part", "a"]
    assert [arm.name for arm in with_what_they_need(ARMS, ["b"])] == ["tokenizer", "b"]
    assert with_what_they_need(ARMS, []) == ARMS
    with pytest.raises(UsageError, match="no such arm"):
        with_what_they_need(ARMS, ["part"])


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_is_a_valid_experiment(name: str) -> None:
    """Invariant: names are unique, what an arm starts from comes before it, its changes are keys of the config, no two
    runs are the same.
    """
    config = resolve("demo", STUDIES[name].settings)
    arms = STUDIES[name].arms(config)
    names = [arm.name for arm in arms]
    assert len(set(names)) == len(names)
    for number, arm in enumerate(arms):
        assert arm.start is None or arm.start in names[:number]
    compared = [run for run in plan_runs(arms, 2, Path("arms"), None) if run.arm.role == "compared"]
    experiments = [config_of(config, run, 100) for run in compared]
    if compared[0].arm.command != "generate":
        assert len({each.model_dump_json() for each in experiments}) == len(compared)


def test_priors_are_of_like_size() -> None:
    """Invariant: no arm of the study has more than 1.3 times the parameters of another."""
    config = resolve("demo")
    sizes = []
    for run in plan_runs(STUDIES["prior"].arms(config), 1, Path("arms"), None)[1:]:
        with torch.device("meta"):
            prior = build_prior(
                config_of(config, run, 10).transformer, PriorSpec(256, (8, 8), "class", 12, True)
            )
        sizes.append(sum(parameter.numel() for parameter in prior.parameters()))
    assert max(sizes) < 1.3 * min(sizes)


def test_validations_have_a_line_of_training_beside_them() -> None:
    """Invariant: also with few steps."""
    config = resolve("demo")
    for steps in (1, 7, 10, 999):
        section = config_of(config, plan_runs(ARMS, 1, Path("arms"), None)[-1], steps).train_transformer
        assert section.validate_every == section.log_every == max(1, steps // 10)
        assert section.warmup_steps <= steps // 10


def probe(folder: Path, unit: str, rates: list[float]) -> Path:
    """The log of a run of `PROBE_STEPS` at these rates."""
    assert len(rates) == PROBE_STEPS
    lines = [json.dumps({"step": step, f"{unit}_per_second": rate}) for step, rate in enumerate(rates, 1)]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_steps_that_fit(tmp_path: Path) -> None:
    """Oracle: by hand; 2,048 codes a step at 4,096 codes a second, the first steps slower."""
    rates = [10.0, 20.0, 3000.0] + [4096.0] * (PROBE_STEPS - 3)
    assert steps_within(60, probe(tmp_path, "codes", rates), resolve("demo"), "train_transformer") == 120


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        (["train_ae.adversarial.weight=0"], 60),  # 1 second a step
        (["train_ae.adversarial.start=0.5"], 30),  # half of them 1 second, half 3 seconds
        (["train_ae.adversarial.start=30"], 40),  # 30 of 1 second, then 10 of 3
        (["train_ae.adversarial.start=100"], 60),  # never
    ],
)
def test_steps_that_fit_with_a_discriminator(tmp_path: Path, changes: list[str], steps: int) -> None:
    """Oracle: by hand; 8 images a step at 8 images a second, a third of that when the discriminator has joined."""
    config = resolve("demo", changes)
    half = PROBE_STEPS // 2
    rates = [0.1] * 3 + [8.0] * (half - 3) + [0.1] * 3 + [8 / 3] * (half - 3)
    assert steps_within(60, probe(tmp_path, "images", rates), config, "train_ae") == steps
    short: ExperimentConfig = probe_config(config, "train_ae")
    assert (short.train_ae.steps, short.train_ae.adversarial_start()) == (PROBE_STEPS, half)
