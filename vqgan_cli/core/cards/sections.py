"""What cards say of a model, section by section, by what the model file says of itself."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import yaml

from vqgan_cli.core.artifacts import TRANSFORMER_FORMAT, parameter_counts
from vqgan_cli.core.cards.training import figure_rows, training_rows
from vqgan_cli.core.config import map_form
from vqgan_cli.core.errors import VqganError
from vqgan_cli.core.model_info import ModelInfo, about_prior, prior_spec
from vqgan_cli.core.published.catalog import Entry, entries

__all__ = [
    "Rows",
    "architecture",
    "asks_for_maps",
    "figures",
    "front_matter",
    "is_transformer",
    "licence",
    "limits",
    "plain",
    "summary",
    "table",
    "training",
]

_SPECIAL = re.compile(r"([\\`*_{}\[\]|#~$])")
_LICENCE_ID = re.compile(r"[A-Za-z0-9.+-]+")
_CLASSES_SHOWN = 20

Rows = Sequence[tuple[str, str]]
"""Name and value, as Markdown."""


def front_matter(info: ModelInfo, library: str, tags: Sequence[str], *, pipeline: str = "") -> str:
    """What the Hugging Face Hub reads, with the licence if one is known.

    Args:
        info: of the model.
        library: that loads it.
        tags: for its search.
        pipeline: the task, by its name there.
    """
    about: dict[str, Any] = {"library_name": library}
    known = _known_licence(info)
    if _LICENCE_ID.fullmatch(known):
        about["license"] = known.lower()
    if pipeline:
        about["pipeline_tag"] = pipeline
    about["tags"] = list(tags)
    missing = "" if "license" in about else "# license: to be filled in, such as cc-by-4.0\n"
    return f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}{missing}---"


def summary(info: ModelInfo) -> str:
    """What it is, in one sentence."""
    config = info.config
    f, tokenizer = config.tokenizer.downsampling, config.tokenizer
    codes = f"{tokenizer.codebook_size:,} codes, one for each {f}x{f} pixels"
    if not is_transformer(info):
        what = "images" if config.data.kind == "image" else f"{config.data.kind} maps"
        return f"A tokenizer of {what} ({tokenizer.quantizer.kind} quantizer): to a grid of integers and back, {codes}."
    kind = config.condition.kind
    condition = {"none": "without a condition", "class": "by class"}.get(
        kind, f"by {kind} maps" if asks_for_maps(info) else f"by {kind}"
    )
    return (
        f"A model that draws images {condition}: a prior ({config.transformer.kind}) over the codes of a tokenizer "
        f"({codes}), with that tokenizer."
    )


def architecture(info: ModelInfo) -> Rows:
    """Sizes and parts."""
    config, tokenizer = info.config, info.config.tokenizer
    side, f = config.data.size, tokenizer.downsampling
    sides = ", ".join(map(str, tokenizer.attention_resolutions))
    attention = f"attention where the side is {sides}" if sides else "no attention at a level"
    counts = parameter_counts(info)
    grid = prior_spec(info).grid if is_transformer(info) else (side // f, side // f)
    rows = [
        ("images", f"{grid[0] * f}x{grid[1] * f} pixels (height x width), {tokenizer.in_channels} channels"),
        ("codes", f"{grid[0]}x{grid[1]}, f = {f}"),
        ("codebook", f"{tokenizer.codebook_size:,} codes, vectors of {tokenizer.codebook_dim} numbers"),
        ("quantizer", tokenizer.quantizer.kind),
        (
            "encoder and decoder",
            f"{tokenizer.channels} channels x {list(tokenizer.channel_multipliers)}, {tokenizer.res_blocks} residual "
            f"blocks per level, {attention}",
        ),
    ]
    if is_transformer(info):
        prior = config.transformer
        rows += [
            ("prior", f"{prior.kind}, {prior.layers} layers, {prior.heads} heads, width {prior.width}"),
            ("order of the cells", prior.order),
            ("condition", _condition(info)),
        ]
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    return [*rows, ("parameters", f"{sum(counts.values()):,} ({parts})")]


def _condition(info: ModelInfo) -> str:
    kind, reader = info.config.condition.kind, info.config.condition.tokenizer
    if kind == "none":
        return "none"
    left_out = ", left out in part of the training for guidance" if prior_spec(info).null_condition else ""
    if kind == "class":
        return f"{prior_spec(info).condition_size} classes{left_out}"
    by = {
        "own": "read by a tokenizer of their own",
        "same": "read by the same tokenizer",
        "none": "codes as they are",
    }
    return f"{kind}{' maps' if asks_for_maps(info) else ''}, {by[reader]}{left_out}"


def training(info: ModelInfo) -> list[str]:
    """How it was trained, as a section of its own; empty where the file does not say."""
    made = info.provenance
    if made.get("step") is None:
        return []
    rows = [("data", _data_name(made.get("data")))]
    if made.get("images") is not None:
        rows.append(("images", f"{made['images']:,}"))
    names = about_prior(info).classes if is_transformer(info) else made.get("classes") or ()
    classes = [plain(str(name)) for name in names]
    if classes:
        more = f" and {len(classes) - _CLASSES_SHOWN} more" if len(classes) > _CLASSES_SHOWN else ""
        rows.append(("classes", f"{len(classes)}: {'; '.join(classes[:_CLASSES_SHOWN])}{more}"))
    rows += training_rows(info, transformer=is_transformer(info))
    return ["## Training\n\n" + table(rows)]


def figures(info: ModelInfo) -> list[str]:
    """What was measured, as a section of its own."""
    rows = figure_rows(info.provenance.get("validation") or {}, transformer=is_transformer(info))
    if rows:
        count = info.provenance.get("validation_images")
        on = f"{count:,} held-out images" if count else "held-out images"
        separate = info.config.data.validation_source
        on += f" of {_data_name(separate or info.provenance.get('data'))}"
        return [
            "## Figures\n\n"
            f"Of the last validation up to step {info.provenance.get('step')}, on the centres of {on}.\n\n"
            + table(rows, ("figure", "value"))
        ]
    entry = _published(info)
    if entry is not None and entry.score is not None:
        score = entry.score
        return [
            "## Figures\n\nNone were measured here. Its authors say:\n\n"
            + table(
                [(f"{score.metric} on {plain(score.data)}", f"{score.value:g} ({plain(score.source)})")],
                ("figure", "value"),
            )
        ]
    return ["## Figures\n\nNone were measured."]


def limits(info: ModelInfo) -> str:
    """What to keep in mind, as a list."""
    config = info.config
    grid = prior_spec(info).grid if is_transformer(info) else None
    f = config.tokenizer.downsampling
    bits = math.log2(config.tokenizer.codebook_size) / f**2
    lines = [
        f"An image becomes {bits:.3g} bits per pixel; what these cannot hold is lost: small text, faces far away, fine "
        "texture. Do not measure or identify anything by what comes back.",
        "It knows the kind of images that it was trained on, with the gaps and the bias that they have. Nobody has "
        "examined these for this card.",
    ]
    if grid is not None:
        lines.append(
            f"It was trained on {grid[0] * f}x{grid[1] * f} pixels (height x width); larger images are drawn through a "
            "window of that size, beyond which nothing in them agrees."
        )
        lines.append(
            "Trained long on few images, such a model can repeat them: compare with `vqgan evaluate samples --train`. "
            "Say of drawn images that they are drawn."
        )
    lines.append("Meant for: (to be filled in)")
    return "\n".join(f"- {line}" for line in lines)


def licence(info: ModelInfo) -> str:
    """The licence as far as it is known, and where imported weights come from."""
    imported = info.provenance.get("imported")
    if not imported:
        return (
            "To be filled in by whoever publishes the model; the licences of the training images count too."
        )
    entry = _published(info)
    source = imported.get("source") or (str(entry.weights.remote) if entry else "")
    rows = [
        ("licence", plain(_known_licence(info)) or "to be filled in: that of the source is not known here"),
        ("made by", plain(entry.project) if entry else ""),
        ("published as", plain(entry.name) if entry else ""),
        ("trained on", plain(entry.trained_on) if entry else ""),
        ("source", plain(str(source))),
        ("file", f"{plain(str(imported.get('file')))} ({plain(str(imported.get('layout')))})"),
        ("sha256 of it", f"`{plain(str(imported.get('sha256')))}`"),
    ]
    return "The weights were imported; nothing in them was trained here.\n\n" + table(
        [(name, value) for name, value in rows if value]
    )


def _known_licence(info: ModelInfo) -> str:
    imported = info.provenance.get("imported") or {}
    entry = _published(info)
    return str(imported.get("licence") or (entry.licence if entry else ""))


def _published(info: ModelInfo) -> Entry | None:
    """What the catalog says of an imported model, found by its name there or by the hash of its file."""
    imported = info.provenance.get("imported") or {}
    try:
        known = entries()
    except VqganError:  # a list of the user's own that is damaged
        return None
    name, mark = imported.get("published_as"), imported.get("sha256")
    for entry in known:
        if entry.name == name or (mark and mark == entry.weights.sha256 and not entry.weights.member):
            return entry
    return None


def is_transformer(info: ModelInfo) -> bool:
    """Whether it draws."""
    return info.format == TRANSFORMER_FORMAT


def asks_for_maps(info: ModelInfo) -> bool:
    """Whether somebody gives the maps by which images are drawn; coordinates follow from the size."""
    kind = info.config.condition.map_kind
    return kind is not None and map_form(kind) != "codes"


def _data_name(name: Any) -> str:
    """A source without the folders that it lies in, which are private: ``photos`` of ``/home/ann/photos/``."""
    text = str(name or "unknown data")
    if not text.startswith("synthetic:"):
        parts = PurePath(text).parts
        pattern = next((at for at, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts))
        text = "/".join(parts[max(0, pattern - 1) :])
        text = text.strip("/") or "unknown data"
    return plain(text)


def plain(text: str) -> str:
    """A text that means nothing to Markdown and HTML."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def table(rows: Rows, heading: tuple[str, str] = ("", "")) -> str:
    """A table of two columns."""
    lines = [f"| {heading[0]} | {heading[1]} |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows])
