"""What a transformer of taming-transformers is conditioned on: by its config, its tensors, and what is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.config import MAPS, ConditionConfig, MapsConfig
from vqgan_cli.core.config.data import DataKind
from vqgan_cli.core.errors import ModelError, UsageError, did_you_mean
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage
from vqgan_cli.core.interop.taming import MAP_KEYS, convert_tokenizer, maps_of
from vqgan_cli.core.interop.taming_config import Described, number, validated
from vqgan_cli.core.interop.taming_published import PublishedTransformer

__all__ = ["PREFIX", "Condition", "read_condition"]

PREFIX = "cond_stage_model."
"""Of the tensors of the condition's tokenizer."""

_FIRST = "first_stage_model."
_KINDS = ("none", "class", *MAPS)
_PICTURES = ("edges", "keypoints", "lowres")
_BY_CLASS = {"Labelator": "class", "SOSProvider": "none", "CoordStage": "coordinates"}
_BY_KEY = {
    **{key: str(kind) for key, kind in MAP_KEYS.items() if kind != "image"},
    "coord": "coordinates",
    "class_label": "class",
    "class": "class",
}


@dataclass(frozen=True)
class Condition:
    """A condition in our terms.

    Attributes:
        config: its kind, and which tokenizer makes its codes.
        size: number of different tokens: classes, codes, or steps of coordinates; 0 for ``none``.
        rows: row of the transformer's table that each of our tokens stands for, int64 [tokens]; None: token k for
            row k.
        stage: its own tokenizer, if it has one.
        maps: how its maps are read.
        notes: what the user should know.
    """

    config: ConditionConfig
    size: int
    rows: Tensor | None = None
    stage: FirstStage | None = None
    maps: MapsConfig = field(default_factory=MapsConfig)
    notes: tuple[str, ...] = ()

    @property
    def is_codes(self) -> bool:
        """Whether it has a token per cell of the grid, not one in all."""
        return self.config.map_kind is not None


def read_condition(
    foreign: Foreign,
    ledger: Ledger,
    params: Mapping[str, Any],
    vocabulary: int,
    published: PublishedTransformer | None,
    first: FirstStage | None,
) -> Condition:
    """Tell the condition and take the tensors of its tokenizer.

    Args:
        foreign: for what the user says with ``--set condition.kind``, and for comparing the two tokenizers.
        ledger: of the checkpoint.
        params: of the transformer's config; empty without one.
        vocabulary: rows of the transformer's table.
        published: the published transformers of its shape.
        first: the tokenizer of images, whose tensors are taken already; None if the file has none.

    Returns:
        The condition.

    Raises:
        UsageError: the kind is in no tensor and no config.
        ModelError: config and tensors contradict one another, or it cannot be represented.
    """
    described = Described("", params).part("cond_stage_config")
    same = _is_first_stage(foreign, ledger, described)
    kind = _kind(foreign, ledger, described, params, published)
    if same and kind in _PICTURES and first is not None:
        ledger.drop_below(PREFIX, "the tokenizer of images a second time, which reads the condition too")
        config = validated(ConditionConfig, kind=kind, tokenizer="same", dropout=0.0)
        return Condition(config, first.config.codebook_size, notes=_picture_notes(kind))
    if same and first is not None:
        raise ModelError(f"the condition is read by the tokenizer of images, which cannot read {kind}")
    has_tokenizer = any(name.startswith(PREFIX) for name in ledger)
    if has_tokenizer != (kind not in ("none", "class", "coordinates")):
        holds = "holds a" if has_tokenizer else "holds no"
        raise ModelError(
            f"the condition is {kind}, but the checkpoint {holds} tokenizer of maps ({PREFIX}...)"
        )
    if has_tokenizer:
        return _of_maps(ledger, described, kind)
    if kind == "none":
        return _unconditional(described, params, vocabulary)
    if kind == "class":
        return _of_classes(described, vocabulary, published)
    steps = int(number(described.params, "n_embed", vocabulary))
    config = validated(ConditionConfig, kind=kind, tokenizer="none", dropout=0.0)
    return Condition(config, steps, maps=validated(MapsConfig, coordinate_levels=steps))


def _kind(
    foreign: Foreign,
    ledger: Ledger,
    described: Described,
    params: Mapping[str, Any],
    published: PublishedTransformer | None,
) -> str:
    wanted = foreign.setting("condition.kind")
    if wanted is not None:
        if wanted not in _KINDS:
            known = ", ".join(_KINDS)
            raise UsageError(
                f"--set condition.kind={wanted}: not one of {known}{did_you_mean(str(wanted), _KINDS)}"
            )
        return str(wanted)
    if described.target == "__is_unconditional__" or params.get("unconditional") is True:
        return "none"
    if described.target in _BY_CLASS:
        return _BY_CLASS[described.target]
    key = str(params.get("cond_stage_key"))
    if described.target and key in _BY_KEY:
        return _BY_KEY[key]
    first_layer = f"{PREFIX}encoder.conv_in.weight"
    channels = list(ledger.look(first_layer).shape[1:2]) if first_layer in ledger else []
    if channels and channels != [3]:
        return "depth" if channels == [1] else "segmentation"
    if not channels and not described.target and published and published.condition:
        return published.condition
    choices = _PICTURES if channels or described.target else ("none", "class", "coordinates")
    raise UsageError(
        f"what the transformer is conditioned on is in no tensor ({', '.join(choices[:-1])} or {choices[-1]})",
        hint=f"give its yaml with --config, or --set condition.kind={choices[0]}",
    )


def _is_first_stage(foreign: Foreign, ledger: Ledger, described: Described) -> bool:
    """Whether the tokenizer of images reads the condition too; it may be in the file a second time."""
    names = [name for name in ledger if name.startswith(PREFIX)]
    said, equal = described.target == "__is_first_stage__", bool(names)
    for name in names:
        there, here = foreign.tensors.get(_FIRST + name.removeprefix(PREFIX)), ledger.look(name)
        if here.is_meta:
            return said
        if there is None or not torch.equal(there, here):
            equal = False
            break
    if said and names and not equal:
        raise ModelError(f"cond_stage_config is __is_first_stage__, but {PREFIX}... and {_FIRST}... differ")
    return said or equal


def _of_maps(ledger: Ledger, described: Described, kind: DataKind) -> Condition:
    stage, notes = convert_tokenizer(ledger, described, prefix=PREFIX, kind=kind)
    maps = maps_of(kind)
    if kind == "segmentation":
        maps = maps.model_copy(update={"classes": stage.config.in_channels})
    if kind in _PICTURES:
        notes += _picture_notes(kind)
    config = validated(ConditionConfig, kind=kind, tokenizer="own", dropout=0.0)
    return Condition(config, stage.config.codebook_size, stage=stage, maps=maps, notes=notes)


def _unconditional(described: Described, params: Mapping[str, Any], vocabulary: int) -> Condition:
    """The one token of unconditional models is row 0 of the table unless the config names another."""
    source = described.params if described.target == "SOSProvider" else params
    token = int(number(source, "sos_token", 0))
    if not 0 <= token < vocabulary:
        raise ModelError(f"sos_token is {token} in the config, and the table has {vocabulary} rows")
    return Condition(ConditionConfig(kind="none", dropout=0.0), 0, torch.tensor([token]) if token else None)


def _of_classes(described: Described, vocabulary: int, published: PublishedTransformer | None) -> Condition:
    count = int(number(described.params, "n_classes", published.classes if published else 0))
    if count > vocabulary:
        raise ModelError(f"n_classes is {count} in the config, and the table has {vocabulary} rows")
    notes: tuple[str, ...] = ()
    if count < 1:
        count = vocabulary
        notes = (f"the number of its classes is in its yaml only: any class below {count} can be asked for",)
    return Condition(ConditionConfig(kind="class", dropout=0.0), count, notes=notes)


def _picture_notes(kind: str) -> tuple[str, ...]:
    return (f"how its {kind} maps were made is in no file: give it maps like those that it was trained with",)
