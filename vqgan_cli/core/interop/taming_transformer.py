"""Transformers of taming-transformers (Net2NetTransformer): a GPT with the tokenizers that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vqgan_cli.core.config import SamplingConfig, TransformerConfig
from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.architecture import image_size
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage, Imported, SecondStage
from vqgan_cli.core.interop.layouts import Layout
from vqgan_cli.core.interop.taming import convert_tokenizer
from vqgan_cli.core.interop.taming_condition import Condition, read_condition
from vqgan_cli.core.interop.taming_config import Described, model_config, number, validated
from vqgan_cli.core.interop.taming_gpt import (
    GPTShape,
    gpt_state,
    read_heads,
    read_order,
    read_prefix,
    read_shape,
)
from vqgan_cli.core.interop.taming_published import published_as
from vqgan_cli.core.models.priors import PriorSpec

__all__ = ["LAYOUTS"]

_FIRST = "first_stage_model."


def _convert(foreign: Foreign, ledger: Ledger) -> Imported:
    model = model_config(foreign.config)
    params, gpt, first_config = (
        model.params,
        model.part("transformer_config"),
        model.part("first_stage_config"),
    )
    if gpt.target not in ("", "GPT"):
        raise ModelError(f"its transformer is a {gpt.target}, which cannot be represented: only GPT can")
    pkeep = number(params, "pkeep", 1.0)
    if pkeep <= 0:
        raise ModelError("pkeep is 0 in the config: it draws all codes at once, which cannot be represented")
    shape = read_shape(ledger, gpt.params)
    published = published_as(*shape)
    heads = read_heads(foreign, gpt.params, shape, published)
    first, notes = _first_stage(ledger, first_config)
    condition = read_condition(foreign, ledger, params, shape.vocabulary, published, first)
    f = first.config.downsampling if first else _downsampling(first_config)
    cells, more = _grid(foreign, shape.block, condition.is_codes, f, first_config)
    notes += more
    _require_same_grid(params, condition, cells, f)
    spec = PriorSpec(
        codebook_size=first.config.codebook_size if first else _codebook_size(first_config, shape),
        grid=(cells, cells),
        condition="codes" if condition.is_codes else "class" if condition.size else "none",
        condition_size=condition.size,
    )
    config = validated(
        TransformerConfig,
        kind="gpt",
        layers=shape.layers,
        heads=heads,
        width=shape.width,
        order=read_order(foreign, ledger, params, cells),
        embedding_dropout=number(gpt.params, "embd_pdrop", 0.0),
        attention_dropout=number(gpt.params, "attn_pdrop", 0.0),
        residual_dropout=number(gpt.params, "resid_pdrop", 0.0),
        bidirectional_prefix=read_prefix(ledger, gpt.params, shape, spec),
        shared_vocabulary=condition.rows is None,
    )
    state, more = gpt_state(ledger, shape, spec, condition.rows)
    second = SecondStage(
        config=config,
        spec=spec,
        state=state,
        condition=condition.config,
        # As the original's scripts: make_samples.py for maps, else sample_fast.py.
        sampling=SamplingConfig(top_k=100 if condition.is_codes else 250),
        pkeep=pkeep,
    )
    return Imported(
        image_size=cells * f,
        tokenizer=first,
        transformer=second,
        condition=condition.stage,
        maps=condition.maps,
        notes=notes + condition.notes + more,
    )


def _first_stage(ledger: Ledger, described: Described) -> tuple[FirstStage | None, tuple[str, ...]]:
    """The tokenizer of images, and notes; None where the file has been stripped of it."""
    if not any(name.startswith(_FIRST) for name in ledger):
        return None, ()
    stage, notes = convert_tokenizer(ledger, described, prefix=_FIRST)
    if stage.kind != "image":
        raise ModelError(
            f"the transformer draws {stage.kind} maps, and only those that draw pictures can be imported"
        )
    return stage, notes


def _downsampling(described: Described) -> int:
    """f of a tokenizer that only the config describes."""
    levels = described.section("ddconfig").get("ch_mult")
    if not isinstance(levels, list | tuple) or not levels:
        raise UsageError(
            "the checkpoint holds a transformer without its tokenizer (first_stage_model...)",
            hint="give its yaml with --config, which describes the tokenizer",
        )
    return 1 << (len(levels) - 1)


def _codebook_size(described: Described, shape: GPTShape) -> int:
    if described.params.get("remap") is not None:
        return shape.vocabulary  # as many as are used
    return int(number(described.params, "n_embed", shape.vocabulary))


def _grid(
    foreign: Foreign, block: int, is_codes: bool, f: int, described: Described
) -> tuple[int, tuple[str, ...]]:
    """Cells along each side of the training images, and notes.

    A sequence of C tokens of the condition and N codes has C + N - 1 inputs; published models have as many positions
    or one more.
    """
    resolution = int(number(described.section("ddconfig"), "resolution", 0))
    if foreign.setting("data.size") is not None:
        side = image_size(foreign, f, resolution)
        needed = _inputs(side // f, is_codes)
        if needed > block:
            raise UsageError(
                f"--set data.size={side} needs {needed} positions, and the transformer has {block}"
            )
        return side // f, ()
    if resolution and _inputs(resolution // f, is_codes) in (block, block - 1):
        return resolution // f, ()
    for needed in (block, block - 1):
        cells = math.isqrt((needed + 1) // 2 if is_codes else needed)
        if cells and _inputs(cells, is_codes) == needed:
            note = (
                f"the transformer's positions are those of images of {cells * f} pixels, not of {resolution}"
            )
            return cells, (note,) if resolution else ()
    tokens = "as many tokens of the condition" if is_codes else "one token of the condition"
    raise ModelError(
        f"the transformer has {block} positions, which no square of codes fills with {tokens}",
        hint="if it was trained on squares that fill a part of them, say their size in pixels: --set data.size=256",
    )


def _inputs(cells: int, is_codes: bool) -> int:
    return 2 * cells**2 - 1 if is_codes else cells**2


def _require_same_grid(params: Mapping[str, Any], condition: Condition, cells: int, f: int) -> None:
    """Raise ModelError unless the condition has a code for each cell of the image."""
    if not condition.is_codes:
        return
    theirs = condition.stage.config.downsampling if condition.stage else f
    if condition.config.kind == "coordinates":
        theirs = int(number(Described("", params).part("cond_stage_config").params, "down_factor", f))
    resized = int(number(params, "downsample_cond_size", -1))
    side = resized if resized > 0 else cells * f
    if side // theirs != cells:
        raise ModelError(
            f"the condition has {side // theirs}x{side // theirs} codes and the image {cells}x{cells}: only conditions "
            "on the grid of the image can be represented"
        )


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "taming-transformers Net2NetTransformer",
        (r"transformer\.tok_emb\.weight$", r"transformer\.pos_emb$", r"transformer\.blocks\.0\.attn\.key\."),
        _convert,
    ),
)
"""In the order in which they are to be tried."""
