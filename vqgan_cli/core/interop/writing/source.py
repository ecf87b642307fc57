"""A model on its way to another project's format, and how a target says what it cannot hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from torch import Tensor

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import ModelInfo, Transformer, fingerprint
from vqgan_cli.core.config import ExperimentConfig, QuantizerConfig, TokenizerConfig
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = [
    "DESCRIPTION_FILE",
    "Source",
    "Usage",
    "Written",
    "codebook_of",
    "refusal",
    "refuse",
    "unexpressed",
    "unheld_tokenizer",
]

DESCRIPTION_FILE = "export.json"
"""Beside the files of an export: where they come from, and what goes in and comes out."""


@dataclass(frozen=True)
class Source:
    """What is exported: a tokenizer, or a transformer with its tokenizers.

    Attributes:
        info: of the model file that it comes from.
        config: the experiment; its ``data`` and ``tokenizer`` sections are those of ``tokenizer``.
        tokenizer: in evaluation mode and without gradients.
        transformer: None where the tokenizer goes alone.
    """

    info: ModelInfo
    config: ExperimentConfig
    tokenizer: Tokenizer
    transformer: Transformer | None = None

    def description(self) -> dict[str, Any]:
        """What every export says of its model: where it comes from, and what goes in and comes out."""
        tokenizer = self.tokenizer
        images = f"float32 [batch, {tokenizer.config.in_channels}, height, width]"
        return {
            "version": __version__,
            "source": {
                "file": self.info.path.name,
                "format": self.info.format,
                "fingerprint": self.info.fingerprint,
                "experiment": self.config.name,
                "provenance": self.info.provenance,
            },
            "tokenizer": {
                "fingerprint": fingerprint(tokenizer.state_dict()),
                "downsampling": tokenizer.downsampling,
                "codebook_size": tokenizer.codebook_size,
                "data": self.config.data.kind,
                "image_size": self.config.data.size,
                "images": images + (", one-hot" if tokenizer.makes_labels else ", in [-1, 1]"),
                "codes": "int64 [batch, height / downsampling, width / downsampling], row-major",
            },
        }


@dataclass(frozen=True)
class Usage:
    """How an export is used in the project whose format it has.

    Attributes:
        library: the project.
        needs: what must be there for the code, a phrase in Markdown.
        code: Python that loads the files from ``FOLDER`` and uses them.
    """

    library: str
    needs: str
    code: str


@dataclass(frozen=True)
class Written:
    """What a target wrote.

    Attributes:
        files: what each is, by its name in the folder; the one that is loaded first.
        usage: how they are loaded.
        notes: what the user should know, one sentence each.
        facts: more for the description beside the files, such as the opset.
    """

    files: Mapping[str, str]
    usage: Usage
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


# Options of training, which no codes and no pictures depend on.
_TRAINING = frozenset({"dropout", "gradient_checkpointing"})
_QUANTIZER_TRAINING = frozenset(
    {
        "commitment_weight",
        "legacy",
        "ema_decay",
        "dead_code_threshold",
        "temperature",
        "temperature_end",
        "temperature_steps",
        "kl_weight",
        "straight_through",
    }
)


def unexpressed(where: str, section: BaseModel, expressed: Collection[str]) -> list[str]:
    """Options that a target has no word for and that differ from the default, which is all it knows.

    A target lists what it can express. So an option that is added later is refused until it is listed.
    """
    problems = []
    for name, description in type(section).model_fields.items():
        default = description.get_default(call_default_factory=True)
        value = getattr(section, name)
        if name not in expressed and value != default:
            problems.append(f"{where}.{name} {_shown(value)} (only {_shown(default)})")
    return problems


def unheld_tokenizer(
    config: TokenizerConfig, expressed: Collection[str], quantizers: Collection[str], where: str = "tokenizer"
) -> list[str]:
    """What a target cannot hold of a tokenizer; empty if it can hold all of it.

    Args:
        config: of the tokenizer.
        expressed: names of the options that the target has, besides those of training.
        quantizers: the kinds that it has.
        where: of the config, for the messages.
    """
    expressed = {*expressed, *_TRAINING, "quantizer"}
    if config.decoder_res_blocks == config.res_blocks + 1:  # which is what 0, the default, means
        expressed.add("decoder_res_blocks")
    problems = unexpressed(where, config, expressed)
    kind = config.quantizer.kind
    if kind not in quantizers:
        problems.append(f"{where}.quantizer.kind {kind!r} (only {', '.join(quantizers)})")
    return problems + unexpressed(
        f"{where}.quantizer",
        config.quantizer,
        {*_QUANTIZER_TRAINING, "kind"} & set(QuantizerConfig.model_fields),
    )


def refusal(target: str, problems: Collection[str], hint: str) -> ModelError:
    """The error that names what a target cannot hold."""
    return ModelError(f"{target} cannot hold this model: {'; '.join(problems)}", hint=hint)


def refuse(target: str, problems: Collection[str], hint: str) -> None:
    """Raise the `refusal`, if there are problems.

    Raises:
        ModelError: naming all of them.
    """
    if problems:
        raise refusal(target, problems, hint)


def codebook_of(tokenizer: Tokenizer) -> Tensor:
    """The codebook [K, D] of a quantizer that looks for the Euclidean nearest row."""
    kind = tokenizer.config.quantizer.kind
    return tokenizer.state_dict()[{"vq": "quantizer.embedding.weight", "ema": "quantizer.embedding"}[kind]]


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
