"""What may change between two parts of a run, and what may not."""

from __future__ import annotations

from typing import Any

import pytest

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import ConfigError, UsageError
from vqgan_cli.core.presets import merge
from vqgan_cli.core.training.checkpoints import Checkpoint
from vqgan_cli.core.training.resume import check_resumable, differences
from vqgan_cli.core.training.transformer_experiment import saved_architecture


def _config(**changes: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate(merge(ExperimentConfig().model_dump(), changes))


def _facts() -> dict[str, Any]:
    return {"config": _config().model_dump(mode="json"), "processes": 1}


def _check(config: ExperimentConfig, *, processes: int = 1, allow: bool = False) -> None:
    check_resumable(_facts(), config, processes, allow_change=allow)


def test_differences_are_named_by_their_dotted_keys() -> None:
    old = {"a": 1, "b": {"c": [1, 2], "d": None, "gone": 0}}
    new = {"a": 1, "b": {"c": [1, 3], "d": None, "new": True}}
    assert list(differences(old, new)) == [
        "b.c: [1, 2] in the checkpoint, [1, 3] now",
        "b.gone: 0 in the checkpoint, None now",
        "b.new: None in the checkpoint, True now",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer": {"dropout": 0.1, "gradient_checkpointing": True}},
        {"tokenizer": {"quantizer": {"commitment_weight": 1.0}}},
        {"train_ae": {"steps": 5, "learning_rate": 1e-5, "ema_decay": 0.9, "precision": "bf16"}},
        {"train_ae": {"adversarial": {"weight": 0.0, "channels": 32}}},
    ],
)
def test_settings_may_change(changes: dict[str, Any]) -> None:
    _check(_config(**changes))


def test_all_differences_of_the_architecture_are_listed() -> None:
    """Row 16 of the fault table."""
    changes = {
        "tokenizer": {"channels": 64, "quantizer": {"kind": "l2"}},
        "train_ae": {"adversarial": {"norm": "group"}},
    }
    with pytest.raises(ConfigError) as caught:
        _check(_config(**changes), allow=True)
    assert caught.value.exit_code == 2
    assert caught.value.problems == [
        "tokenizer.channels: 128 in the checkpoint, 64 now",
        "tokenizer.quantizer.kind: 'vq' in the checkpoint, 'l2' now",
        "train_ae.adversarial.norm: 'batch' in the checkpoint, 'group' now",
    ]


def test_batch_and_processes_change_only_when_allowed() -> None:
    """Row 15 of the fault table."""
    changed = _config(train_ae={"batch_size": 4, "accumulate": 2})
    with pytest.raises(UsageError) as caught:
        _check(changed, processes=2)
    assert "train_ae.batch_size: 8 in the checkpoint, 4 now" in caught.value.message
    assert "train_ae.accumulate: 1 in the checkpoint, 2 now" in caught.value.message
    assert "1 processes in the checkpoint, 2 now" in caught.value.message
    assert "--allow-change" in (caught.value.hint or "")
    _check(changed, processes=2, allow=True)


def test_checkpoints_of_earlier_versions_resume() -> None:
    """Oracle: an option that a checkpoint does not know had its default, and nothing else."""
    facts = _facts()
    for key in ("pixel_range", "decoder_res_blocks", "downsample"):
        del facts["config"]["tokenizer"][key]
    check_resumable(facts, _config(), 1, allow_change=False)
    with pytest.raises(ConfigError, match=r"tokenizer\.downsample: 'conv' in the checkpoint, 'average' now"):
        check_resumable(facts, _config(tokenizer={"downsample": "average"}), 1, allow_change=False)


def test_transformers_of_earlier_versions_resume() -> None:
    """Oracle: an option that a checkpoint does not know had its default, and nothing else."""
    saved = Checkpoint(1)
    saved.facts = {"architecture": {"grid": [4, 4], "transformer": {"kind": "llama", "width": 64}}}
    now = {
        "grid": [4, 4],
        "transformer": {**saved_architecture(Checkpoint(1))["transformer"], "kind": "llama", "width": 64},
    }
    assert "kernel_size" in now["transformer"]
    assert list(differences(saved_architecture(saved), now)) == []
    now["transformer"]["kernel_size"] = 3
    assert list(differences(saved_architecture(saved), now)) == [
        "transformer.kernel_size: 5 in the checkpoint, 3 now"
    ]
