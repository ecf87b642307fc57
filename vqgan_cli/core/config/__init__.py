"""Every setting of an experiment: one pydantic model per section, each field with its meaning and unit.

Nothing here imports torch, so presets can be listed and checked in milliseconds. Unknown keys are errors;
`vqgan_cli.core.presets` turns pydantic's reports into messages with the nearest known key.
"""

from __future__ import annotations

from vqgan_cli.core.config.data import DataConfig, DataKind, MapKindName, MapsConfig
from vqgan_cli.core.config.experiment import ExperimentConfig
from vqgan_cli.core.config.fields import OptimisationConfig
from vqgan_cli.core.config.kinds import MAPS, PRIORS, QUANTIZERS, TOKENIZED_MAPS, map_form
from vqgan_cli.core.config.tokenizer import QuantizerConfig, TokenizerConfig
from vqgan_cli.core.config.train_ae import AdversarialConfig, PerceptualConfig, TrainAEConfig
from vqgan_cli.core.config.transformer import (
    ConditionConfig,
    FirstStageConfig,
    SamplingConfig,
    TrainTransformerConfig,
    TransformerConfig,
)

__all__ = [
    "MAPS",
    "PRIORS",
    "QUANTIZERS",
    "TOKENIZED_MAPS",
    "AdversarialConfig",
    "ConditionConfig",
    "DataConfig",
    "DataKind",
    "ExperimentConfig",
    "FirstStageConfig",
    "MapKindName",
    "MapsConfig",
    "OptimisationConfig",
    "PerceptualConfig",
    "QuantizerConfig",
    "SamplingConfig",
    "TokenizerConfig",
    "TrainAEConfig",
    "TrainTransformerConfig",
    "TransformerConfig",
    "map_form",
]
