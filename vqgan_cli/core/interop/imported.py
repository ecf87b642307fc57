"""What a checkpoint becomes: the stages of a model in this project's own terms."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from vqgan_cli.core.config import (
    ConditionConfig,
    MapsConfig,
    SamplingConfig,
    TokenizerConfig,
    TransformerConfig,
)
from vqgan_cli.core.config.data import DataKind
from vqgan_cli.core.models.priors import PriorSpec

__all__ = ["FirstStage", "Imported", "SecondStage"]


@dataclass(frozen=True)
class FirstStage:
    """A tokenizer: its architecture, its weights under our names, and what it reads.

    Attributes:
        config: such that ``Tokenizer(config).load_state_dict(state)`` succeeds.
        state: tensors in the type of the source; not copied where a renaming is enough.
        kind: pictures, or maps of a kind.
        loss: ``train_ae.reconstruction`` of its training, as far as it is known: l1, l2, bce or cross-entropy.
    """

    config: TokenizerConfig
    state: dict[str, Tensor]
    kind: DataKind = "image"
    loss: str = "l1"


@dataclass(frozen=True)
class SecondStage:
    """A transformer over codes.

    Attributes:
        config: its architecture.
        spec: what it models; ``build_prior(config, spec).load_state_dict(state)`` succeeds.
        state: tensors in the type of the source.
        condition: kind and tokenizer of its condition (``first_stage`` stays None; the recipe fills it in).
        classes: names by label; empty if the source has none.
        sampling: as its authors sample, where that is known.
        pkeep: ``train_transformer.pkeep`` of its training, where that is known.
    """

    config: TransformerConfig
    spec: PriorSpec
    state: dict[str, Tensor]
    condition: ConditionConfig
    classes: tuple[str, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    pkeep: float = 1.0


@dataclass(frozen=True)
class Imported:
    """A whole checkpoint.

    Attributes:
        image_size: side of the training images in pixels.
        tokenizer: of images; None where the file holds a transformer alone, whose tokenizer the user must name.
        transformer: None for a tokenizer alone.
        condition: tokenizer of the maps, where they have one of their own.
        maps: how its maps are read.
        notes: what the user should know, such as which of two sets of weights was chosen; one sentence each.
    """

    image_size: int
    tokenizer: FirstStage | None
    transformer: SecondStage | None = None
    condition: FirstStage | None = None
    maps: MapsConfig = field(default_factory=MapsConfig)
    notes: tuple[str, ...] = ()
