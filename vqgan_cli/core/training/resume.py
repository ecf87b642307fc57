"""Whether a checkpoint can go on under the present settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from vqgan_cli.core.config import ExperimentConfig, TokenizerConfig
from vqgan_cli.core.errors import ConfigError, UsageError

__all__ = ["check_resumable", "differences", "refuse_changes"]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Each key that differs between two nested configs, as ``tokenizer.channels: 64 in the checkpoint, 32 now``."""
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key}: {before!r} in the checkpoint, {now!r} now"


def _architecture(config: Mapping[str, Any], *, discriminator: bool) -> dict[str, Any]:
    """The part of a config that decides which tensors there are."""
    free = ("dropout", "gradient_checkpointing")
    # A checkpoint of an earlier version lacks the options that came later; it was made as their defaults say.
    tokenizer = {**TokenizerConfig().model_dump(mode="json"), **config["tokenizer"]}
    found: dict[str, Any] = {"tokenizer": {k: v for k, v in tokenizer.items() if k not in free}}
    found["tokenizer"]["quantizer"] = {"kind": config["tokenizer"]["quantizer"]["kind"]}
    if discriminator:
        adversarial = config["train_ae"]["adversarial"]
        found["train_ae"] = {"adversarial": {key: adversarial[key] for key in ("channels", "layers", "norm")}}
    return found


def check_resumable(
    facts: Mapping[str, Any], config: ExperimentConfig, processes: int, *, allow_change: bool
) -> None:
    """Refuse to go on where the result would silently be another one.

    Args:
        facts: of the checkpoint of a tokenizer's training.
        config: of the resumed run.
        processes: of the resumed run.
        allow_change: batch size and number of processes may differ.

    Raises:
        ConfigError: the architecture differs.
        UsageError: batch size or number of processes differ and ``allow_change`` is not given.
    """
    now = config.model_dump(mode="json")
    old = facts["config"]
    # A discriminator may come or go; one that stays is part of the architecture.
    both = all(side["train_ae"]["adversarial"]["weight"] > 0 for side in (old, now))
    refuse_changes(
        facts,
        _architecture(old, discriminator=both),
        _architecture(now, discriminator=both),
        config,
        "train_ae",
        processes,
        allow_change=allow_change,
    )


def refuse_changes(
    facts: Mapping[str, Any],
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    config: ExperimentConfig,
    section: Literal["train_ae", "train_transformer"],
    processes: int,
    *,
    allow_change: bool,
) -> None:
    """`check_resumable` for architectures that are known: ``old`` in the checkpoint, ``new`` now.

    ``section`` of the config holds the batch size.
    """
    changed = list(differences(old, new))
    if changed:
        raise ConfigError(
            changed, where="the resumed run", hint="an architecture cannot change; see --init-from"
        )
    # Both, not their product: half the batch twice has other statistics, and another adversarial weight.
    keys = ("batch_size", "accumulate")
    settings = config.model_dump(mode="json")[section]
    before = {key: facts["config"][section][key] for key in keys}
    changed = list(differences(before, {key: settings[key] for key in keys}, f"{section}."))
    if facts["processes"] != processes:
        changed.append(f"{facts['processes']} processes in the checkpoint, {processes} now")
    if changed and not allow_change:
        raise UsageError(
            "the resumed run would differ: " + "; ".join(changed),
            hint="go on all the same with --allow-change: the data order continues, the result is another one",
        )
