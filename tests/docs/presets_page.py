"""``docs/presets.md``: what the shipped presets hold, from their files."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import torch

from tests.docs.markdown import escaped, table
from vqgan_cli.core.config import ExperimentConfig, TokenizerConfig
from vqgan_cli.core.models.priors import build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.planning.measuring import planned_spec
from vqgan_cli.core.presets import preset_names, preset_summary, read_preset, resolve

__all__ = ["presets_page"]

INTRODUCTION = """\
# Presets

A preset is one file that describes a whole experiment. `vqgan presets show NAME` prints it, `vqgan presets copy NAME`
writes it to a file of your own, and `--set section.key=value` replaces one key of it; `vqgan presets keys` explains
all. `make docs` writes this page from the files in `presets/`; changes belong there.
"""
ABOUT_TOKENIZERS = """\
f is the side of the square of pixels that one code stands for. A tokenizer "of maps" is that of the condition, trained
with `--target condition`.
"""
ABOUT_TRANSFORMERS = """\
A model by class has one row of so many numbers as its width more for each class of your data.
"""
ABOUT_TRAINING = """\
Images of a step are those of one process, times the number of processes.
"""


@dataclass(frozen=True)
class Header:
    """The comment at the top of a preset file: command lines, and paragraphs by the word that begins them."""

    commands: list[str]
    text: list[tuple[str, str]]


def presets_page() -> str:
    """The page."""
    presets = {name: resolve(name) for name in preset_names()}
    parts = [
        INTRODUCTION,
        table(
            ("preset", "what it trains"), [(_link(name), escaped(preset_summary(name))) for name in presets]
        ),
        "## Tokenizers",
        ABOUT_TOKENIZERS,
        table(
            ("preset", "pixels", "f", "codes of an image", "codebook", "quantizer", "parameters"),
            [row for name, config in presets.items() for row in _tokenizers(name, config)],
        ),
        "## Transformers",
        ABOUT_TRANSFORMERS,
        table(
            ("preset", "condition", "kind", "layers", "heads", "width", "codes in sequence", "parameters"),
            [_transformer(name, config) for name, config in presets.items()],
        ),
        "## Training",
        ABOUT_TRAINING,
        table(
            (
                "preset",
                "tokenizer: steps",
                "images",
                "precision",
                "transformer: steps",
                "images",
                "precision",
            ),
            [_training(name, config) for name, config in presets.items()],
        ),
        *[_section(name) for name in presets],
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _link(name: str) -> str:
    return f"[`{name}`](#{name})"


def _tokenizers(name: str, config: ExperimentConfig) -> list[tuple[str, ...]]:
    rows = [_tokenizer(name, config.data.size, config.tokenizer)]
    if config.condition.first_stage is not None:
        rows.append(_tokenizer(f"{name}, of maps", config.data.size, config.condition.first_stage.tokenizer))
    return rows


def _tokenizer(name: str, size: int, tokenizer: TokenizerConfig) -> tuple[str, ...]:
    grid = size // tokenizer.downsampling
    parameters = _tokenizer_parameters(tokenizer.model_dump_json())
    return (
        name,
        f"{size} x {size}",
        str(tokenizer.downsampling),
        f"{grid} x {grid} = {grid * grid:,}",
        f"{tokenizer.codebook_size:,} of {tokenizer.codebook_dim} numbers",
        tokenizer.quantizer.kind,
        parameters,
    )


@functools.cache
def _tokenizer_parameters(config: str) -> str:
    with torch.device("meta"):
        return _count(Tokenizer(TokenizerConfig.model_validate_json(config)))


def _transformer(name: str, config: ExperimentConfig) -> tuple[str, ...]:
    prior = config.transformer
    spec = planned_spec(config, classes=1)
    with torch.device("meta"):
        parameters = _count(build_prior(prior, spec))
    numbers = (prior.layers, prior.heads, prior.width, spec.condition_length + spec.cells)
    return (name, config.condition.kind, prior.kind, *(f"{n:,}" for n in numbers), parameters)


def _training(name: str, config: ExperimentConfig) -> tuple[str, ...]:
    row = [name]
    for settings in (config.train_ae, config.train_transformer):
        row += [f"{settings.steps:,}", f"{settings.batch_size * settings.accumulate}", settings.precision]
    return tuple(row)


def _section(name: str) -> str:
    header = read_header(read_preset(name))
    commands = "\n".join(header.commands)
    items = "\n".join(
        f"- {word}: {escaped(text)}" if word else f"\n{escaped(text)}\n" for word, text in header.text
    )
    return f"## {name}\n\n{escaped(preset_summary(name))}\n\n```bash\n{commands}\n```\n\n{items.strip()}"


def read_header(text: str) -> Header:
    """Read the comment at the top of a preset file, but for its first line, which is the summary."""
    lines = text.partition("\nname:")[0].splitlines()[1:]
    commands, paragraphs = [], list[tuple[str, str]]()
    for line in (line.removeprefix("#") for line in lines):
        if line.startswith("   vqgan "):
            # A remark may stand beside a command.
            command, *remark = re.split(" {2,}", line.strip())
            commands.append("  # ".join([command, " ".join(remark)]) if remark else command)
        elif begun := re.match(r" (Written for|Expect|Numbers|Transformer): (.+)", line):
            paragraphs.append((begun[1], begun[2]))
        elif line.strip():
            word, before = paragraphs.pop() if paragraphs else ("", "")
            paragraphs.append((word, f"{before} {line.strip()}".strip()))
    return Header(commands, paragraphs)


def _count(module: torch.nn.Module) -> str:
    """Parameters in millions or thousand millions, three digits."""
    count = sum(p.numel() for p in module.parameters())
    return f"{count / 1e9:.3g} G" if count >= 999.5e6 else f"{count / 1e6:.3g} M"
