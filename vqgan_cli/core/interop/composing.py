"""From the stages of an imported checkpoint to the model files that all commands take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.artifacts import fingerprint, read_tokenizer, save_tokenizer, save_transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig, TrainAEConfig, map_form
from vqgan_cli.core.config.transformer import FirstStageConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.architecture import require_fit
from vqgan_cli.core.interop.imported import FirstStage, Imported, SecondStage
from vqgan_cli.core.models.priors import Prior, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.presets import overridden

__all__ = ["Composed", "compose"]


class Composed:
    """An imported model under one experiment's config, ready to be written.

    Attributes:
        config: the experiment of the whole model.
        notes: what happened to it on the way.
    """

    def __init__(self, imported: Imported, config: ExperimentConfig, notes: tuple[str, ...]) -> None:
        assert imported.tokenizer is not None
        self.config = config
        self.notes = notes
        self._tokenizer = imported.tokenizer
        self._transformer = imported.transformer
        self._condition = imported.condition

    @property
    def parameters(self) -> dict[str, int]:
        """Trained values of each stage; the codebook counts among them however it was trained."""
        counts = {}
        if self._transformer is not None:
            counts["transformer"] = sum(tensor.numel() for tensor in self._transformer.state.values())
        counts["tokenizer"] = _parameters(self._tokenizer)
        if self._condition is not None:
            counts["condition"] = _parameters(self._condition)
        return counts

    def save_tokenizer(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Write the tokenizer of images; raises as `artifacts.save_tokenizer`."""
        save_tokenizer(path, self._tokenizer.state, _alone(self.config, self._tokenizer), provenance)

    def save_condition(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """Write the tokenizer of maps, if the model has one of its own."""
        if self._condition is None:
            return False
        save_tokenizer(path, self._condition.state, _alone(self.config, self._condition), provenance)
        return True

    def save_transformer(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """Write the transformer with its tokenizers, if there is one."""
        stage = self._transformer
        if stage is None:
            return False
        save_transformer(
            path,
            stage.state,
            self._tokenizer.state,
            self.config,
            stage.spec,
            stage.classes,
            provenance,
            self._map_encoder(),
        )
        return True

    def _map_encoder(self) -> MapEncoder | None:
        condition = self.config.condition
        if condition.map_kind is None:
            return None
        stage = {"own": self._condition, "same": self._tokenizer, "none": None}[condition.tokenizer]
        reader, mark = None, ""
        if stage is not None:
            with torch.device("meta"):
                reader = Tokenizer(stage.config)
            reader.load_state_dict(stage.state, assign=True)
            mark = fingerprint(stage.state)
        kind = build_map_kind(condition.map_kind, self.config.data.maps)
        return MapEncoder(kind, reader, self.config.tokenizer.downsampling, mark)


def compose(imported: Imported, name: str, settings: Mapping[str, Any], tokenizer: Path | None) -> Composed:
    """Put the stages together and check that they fit one another and their own tensors.

    Args:
        imported: of `Layout.convert`.
        name: of the experiment.
        settings: nested sections that win over what was read.
        tokenizer: our model file of the tokenizer of a transformer that came without one; else None.

    Raises:
        UsageError: a tokenizer is needed and not named, or named and not needed.
        ConfigError: settings that fit no config.
        ModelError: stages of different codebooks, or tensors that do not fit.
    """
    notes = list(imported.notes)
    if imported.tokenizer is None:
        size = settings["data"].get("size") if isinstance(settings.get("data"), Mapping) else None
        imported = _with_tokenizer(imported, tokenizer, size)
    elif tokenizer is not None:
        raise UsageError("--ae: this checkpoint holds a tokenizer of its own", hint="leave --ae out")
    imported, widened = _widened(imported)
    if widened:
        notes.append(f"{widened} tensors of other precision became float32")
    config = overridden(_config(imported, name), settings)
    _require_agreement(imported, config)
    return Composed(imported, config, tuple(notes))


def _with_tokenizer(imported: Imported, path: Path | None, size: int | None) -> Imported:
    """The tokenizer that the user named; ``size`` in pixels, if it was given, says how many cells there are."""
    if path is None:
        raise UsageError(
            "this checkpoint holds a transformer without the tokenizer that its codes belong to",
            hint="import that one first, then name it: --ae models/NAME",
        )
    config, state = read_tokenizer(path)
    stage, f = imported.transformer, config.tokenizer.downsampling
    assert stage is not None
    if size is not None:
        if size % f:
            raise UsageError(f"--set data.size={size}: not a multiple of the tokenizer's f = {f}")
        # No tensor knows the size; the converter took the f of the published tokenizers.
        spec = dataclasses.replace(stage.spec, grid=(size // f, size // f))
        imported = dataclasses.replace(imported, transformer=dataclasses.replace(stage, spec=spec))
    side = size or stage.spec.grid[0] * f
    return dataclasses.replace(
        imported, image_size=side, tokenizer=FirstStage(config.tokenizer, state, config.data.kind)
    )


def _config(imported: Imported, name: str) -> ExperimentConfig:
    tokenizer, transformer, condition = imported.tokenizer, imported.transformer, imported.condition
    assert tokenizer is not None
    maps = imported.maps
    if tokenizer.kind == "segmentation":
        maps = maps.model_copy(update={"classes": tokenizer.config.in_channels})
    raw: dict[str, Any] = {
        "name": name,
        "data": {"kind": tokenizer.kind, "size": imported.image_size, "maps": maps.model_dump()},
        "tokenizer": tokenizer.config.model_dump(),
        "train_ae": _training(tokenizer).model_dump(),
    }
    if transformer is not None:
        given = transformer.condition
        if condition is not None:
            own = FirstStageConfig(tokenizer=condition.config, train_ae=_training(condition))
            given = given.model_copy(update={"first_stage": own})
            if condition.kind == "segmentation":
                raw["data"]["maps"]["classes"] = condition.config.in_channels
        raw["condition"] = given.model_dump()
        raw["transformer"] = transformer.config.model_dump()
        raw["sampling"] = transformer.sampling.model_dump()
        raw["train_transformer"] = {"pkeep": transformer.pkeep}
    return ExperimentConfig.model_validate(raw)


def _training(stage: FirstStage) -> TrainAEConfig:
    loss: dict[str, Any] = {"reconstruction": stage.loss}
    if map_form(stage.kind) != "picture":
        loss["perceptual"] = {"kind": "none"}
    return TrainAEConfig.model_validate(loss)


def _alone(config: ExperimentConfig, stage: FirstStage) -> ExperimentConfig:
    """The experiment of one tokenizer of a larger model."""
    if config.data.kind == stage.kind:
        return config
    return config.of_condition()


def _require_agreement(imported: Imported, config: ExperimentConfig) -> None:
    tokenizer, transformer, condition = imported.tokenizer, imported.transformer, imported.condition
    assert tokenizer is not None
    require_fit(config.tokenizer, tokenizer.state)
    if condition is not None:
        require_fit(condition.config, condition.state)
    if transformer is None:
        return
    _require_prior_fit(config, transformer)
    spec, size = transformer.spec, config.tokenizer.codebook_size
    if spec.codebook_size != size:
        raise ModelError(
            f"the transformer draws codes of {spec.codebook_size}, and the tokenizer's codebook has {size}",
            hint="name the tokenizer that it was trained on",
        )


def _require_prior_fit(config: ExperimentConfig, stage: SecondStage) -> None:
    with torch.device("meta"):
        prior: Prior = build_prior(config.transformer, stage.spec)
    try:
        prior.load_state_dict(stage.state, assign=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise ModelError(f"the transformer is of another architecture: {reason}") from None


def _widened(imported: Imported) -> tuple[Imported, int]:
    """All stages in float32, and the number of tensors that were of another floating type."""
    count = 0
    stages: dict[str, Any] = {}
    for part in ("tokenizer", "transformer", "condition"):
        stage = getattr(imported, part)
        if stage is None:
            continue
        other = [n for n, t in stage.state.items() if t.is_floating_point() and t.dtype != torch.float32]
        if other:
            count += len(other)
            stages[part] = dataclasses.replace(
                stage, state={**stage.state, **{name: stage.state[name].float() for name in other}}
            )
    return dataclasses.replace(imported, **stages), count


def _parameters(stage: FirstStage) -> int:
    kept: dict[str, Tensor] = {
        name: tensor
        for name, tensor in stage.state.items()
        if not name.endswith(("cluster_size", "embed_avg", "initialized"))
    }
    return sum(tensor.numel() for tensor in kept.values())
