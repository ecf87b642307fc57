"""The card beside an export: what its files are, where they come from, and how their own project loads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import TOKENIZER_FORMAT, fingerprint
from vqgan_cli.core.cards.sections import (
    architecture,
    figures,
    front_matter,
    is_transformer,
    licence,
    limits,
    plain,
    summary,
    table,
    training,
)
from vqgan_cli.core.interop.writing.source import DESCRIPTION_FILE, Source, Written
from vqgan_cli.core.model_info import ModelInfo

__all__ = ["export_card_text"]

Part = Literal["all", "tokenizer", "condition"]


def export_card_text(source: Source, written: Written, part: Part) -> str:
    """The card as Markdown, with the front matter that the Hugging Face Hub reads.

    Args:
        source: what was exported.
        written: what came of it.
        part: of the model file. What that says of a transformer's training is not said of its tokenizers.

    Raises:
        ModelError: what the model file says of its sizes cannot be.
    """
    info, usage = _described(source, part), written.usage
    drawn = is_transformer(info)
    tags = ["vqgan", "image-generation" if drawn else "image-tokenizer"]
    pipeline = "unconditional-image-generation" if drawn else ""
    files = [(f"`{name}`", about) for name, about in written.files.items()]
    files.append((f"`{DESCRIPTION_FILE}`", "where they come from, what goes in and comes out, for programs"))
    sections = [
        front_matter(info, usage.library, tags, pipeline=pipeline),
        f"# {plain(info.config.name)}, for {usage.library}\n\n{summary(info)}",
        "## Files\n\n" + table(files, ("file", "what it is")),
        f"## Use\n\nThis needs {usage.needs}. FOLDER is the folder of this file.\n\n```python\n{usage.code}\n```",
        _in_and_out(source, written),
        "## Where it comes from\n\n" + table(_origin(source, part)),
        "## Architecture\n\n" + table(architecture(info)),
        *training(info),
        *(figures(info) if part == "all" else []),
        "## Intended use and limits\n\n" + limits(info),
        "## Licence\n\n" + licence(info),
    ]
    return "\n\n".join(sections) + "\n\n"


def _described(source: Source, part: Part) -> ModelInfo:
    """The model file; of a part of it, what is known of that alone."""
    if part == "all":
        return source.info
    known = {key: value for key, value in source.info.provenance.items() if key in ("version", "imported")}
    return replace(
        source.info,
        format=TOKENIZER_FORMAT,
        fingerprint=fingerprint(source.tokenizer.state_dict()),
        config=source.config,
        provenance=known,
        prior={},
    )


def _origin(source: Source, part: Part) -> list[tuple[str, str]]:
    info = source.info
    rows = [
        ("model", plain(info.config.name)),
        ("file", f"`{plain(info.path.name)}`, {plain(info.format)}"),
        ("fingerprint of its weights", f"`{info.fingerprint}`"),
    ]
    if part != "all":
        of = "its images" if part == "tokenizer" else f"its {info.config.condition.kind} maps"
        rows.append(("part", f"the tokenizer of {of}, trained before the transformer that the file is of"))
    if part != "all" or source.transformer is not None:
        rows.append(("fingerprint of the tokenizer", f"`{fingerprint(source.tokenizer.state_dict())}`"))
    rows.append(
        (
            "trained or imported by",
            f"vqgan {plain(str(info.provenance.get('version') or 'of unknown version'))}",
        )
    )
    return [*rows, ("exported by", f"vqgan {__version__}")]


def _in_and_out(source: Source, written: Written) -> str:
    """What the code takes and gives, and what else is to be known."""
    facts = source.description()["tokenizer"]
    f = facts["downsampling"]
    lines = [
        f"images are {facts['images']}, with sides that are multiples of {f}",
        f"codes are {facts['codes'].replace('downsampling', str(f))}, from 0 to {facts['codebook_size'] - 1}",
        *written.notes,
    ]
    return "\n".join(f"- {plain(line)}" for line in lines)
