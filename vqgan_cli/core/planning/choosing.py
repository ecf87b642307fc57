"""Which preset suits some data and a device, and what to change in it. Each choice comes with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.planning.looking import DataFacts
from vqgan_cli.core.presets import resolve

__all__ = ["Choice", "choose"]

_MANY = 200_000
"""Images from which a large codebook pays: the published models with 16,384 codes saw a million and more."""

_LEAST_CELLS = 8  # a grid's side, below which a picture has too few codes to tell anything
_SEEN = 50
"""Times that a code should be seen in one pass over the data; below, most rows of the codebook stay as they began."""
_LEAST_CODES = 64
_OF_A_CLASS = 10  # images, fewer of which say nothing of it

_OF_MAPS = {"segmentation": "streets", "depth": "depth", "keypoints": "pose", "edges": "edges"}


@dataclass
class Choice:
    """A preset and what to change in it.

    Attributes:
        preset: name or file.
        settings: ``section.key=value`` each, as ``--set`` takes them.
        reasons: why, a sentence each.
    """

    preset: str
    settings: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def config(self, data: DataFacts) -> ExperimentConfig:
        """The experiment.

        Raises:
            UsageError: there is no such preset.
            ConfigError: the settings do not fit it.
        """
        return resolve(self.preset, self.settings, {"data.source": data.source})


def choose(data: DataFacts, *, gpu: bool, preset: str | None = None) -> Choice:
    """Settings for some data.

    Args:
        data: what they are like.
        gpu: whether there is one.
        preset: the user's own choice; None: ours.

    Raises:
        UsageError: there is no such preset.
        ConfigError: it is no valid experiment.
    """
    choice = Choice(preset, reasons=["the preset is the one named"]) if preset else _preset(data, gpu=gpu)
    _fit_size(choice, data)
    _fit_codebook(choice, data)
    _fit_condition(choice, data)
    _fit_labels(choice, data)
    if data.gray_share == 1:
        choice.reasons.append("the pictures are gray; they are trained on as RGB, which costs little")
    return choice


def _preset(data: DataFacts, *, gpu: bool) -> Choice:
    if not gpu:
        return Choice(
            "demo", reasons=["there is no GPU, and demo is the preset that is written for CPU cores"]
        )
    for kind in data.maps:
        if kind in _OF_MAPS:
            return Choice(_OF_MAPS[kind], reasons=[f"there are {kind} maps beside the pictures"])
    if data.images >= _MANY and not data.endless:
        return Choice("modern-f16", reasons=[f"{data.images} images are enough for 16,384 codes"])
    return Choice(
        "faces",
        reasons=[f"1,024 codes, as published for FacesHQ; more of them want {_MANY:,} images and more"],
    )


def _fit_size(choice: Choice, data: DataFacts) -> None:
    """No larger than the images are; and no fewer than 8x8 codes of each."""
    config = choice.config(data)
    architecture, f = config.tokenizer, config.tokenizer.downsampling
    size, levels = config.data.size, len(architecture.channel_multipliers)
    median = data.short_side[1]
    if not data.endless and median < size:
        size = max(_LEAST_CELLS, median // _LEAST_CELLS * _LEAST_CELLS)
        choice.reasons.append(
            f"half of the images have a short side of at most {median} pixels: more than {size} would be invented"
        )
    while levels > 1 and (size // f < _LEAST_CELLS or size % f):
        f, levels = f // 2, levels - 1
    if f < architecture.downsampling:
        choice.reasons.append(
            f"f = {architecture.downsampling} would leave {size // architecture.downsampling} codes a side, "
            f"f = {f} leaves {size // f}"
        )
        multipliers = list(architecture.channel_multipliers)[-levels:]
        choice.settings.append(f"tokenizer.channel_multipliers={multipliers}".replace(" ", ""))
    if size == config.data.size:
        return
    choice.settings += [f"data.size={size}", f"tokenizer.resolution={size}"]
    if config.data.resize:
        choice.settings.append("data.resize=0")
    deepest = config.data.size // architecture.downsampling
    if deepest in architecture.attention_resolutions:
        choice.settings.append(f"tokenizer.attention_resolutions=[{size // f}]")


def _fit_codebook(choice: Choice, data: DataFacts) -> None:
    """Not so many codes that most are never seen."""
    config = choice.config(data)
    cells = (config.data.size // config.tokenizer.downsampling) ** 2
    codes = size = config.tokenizer.codebook_size
    while not data.endless and size > _LEAST_CODES and data.images * cells < _SEEN * size:
        size //= 2
    if size < codes:
        choice.settings.append(f"tokenizer.codebook_size={size}")
        choice.reasons.append(
            f"{data.images} images hold {data.images * cells} codes: of a codebook of {codes} each would be seen "
            f"{data.images * cells / codes:.0f} times a pass, of {size} {data.images * cells / size:.0f} times"
        )


def _fit_condition(choice: Choice, data: DataFacts) -> None:
    """By class where there are classes, and only there."""
    kind, classes = choice.config(data).condition.kind, len(data.classes)
    if kind == "class" and not classes:
        choice.settings.append("condition.kind=none")
        choice.reasons.append("the images have no classes, so the transformer learns without")
    elif kind == "none" and classes > 1 and data.images >= _OF_A_CLASS * classes:
        choice.settings.append("condition.kind=class")
        choice.reasons.append(f"the images lie in {classes} folders, which are classes")


def _fit_labels(choice: Choice, data: DataFacts) -> None:
    """As many classes of label maps as these show."""
    config = choice.config(data)
    known = config.data.maps.classes
    if config.condition.kind != "segmentation" or data.labels <= known or not known:
        return
    channels = data.labels + (config.data.maps.ignore_label is not None)
    choice.reasons.append(f"the label maps show {data.labels} classes")
    choice.settings.append(f"data.maps.classes={data.labels}")
    if config.condition.first_stage is not None:
        choice.settings += [
            f"condition.first_stage.tokenizer.{side}_channels={channels}" for side in ("in", "out")
        ]
