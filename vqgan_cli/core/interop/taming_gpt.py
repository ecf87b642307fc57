"""The GPT of taming-transformers: its sizes, and its tensors under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.taming_config import Described, number, require_agreement
from vqgan_cli.core.interop.taming_names import GPT_LAYERS
from vqgan_cli.core.interop.taming_published import PublishedTransformer
from vqgan_cli.core.models.priors import PriorSpec, sequence_order
from vqgan_cli.core.models.priors.orders import ORDERS

__all__ = ["GPTShape", "gpt_state", "read_heads", "read_order", "read_prefix", "read_shape"]

_ORDERS = {
    "Identity": "row",
    "Subsample": "subsample",
    "ZCurve": "z-curve",
    "SpiralIn": "spiral-in",
    "SpiralOut": "spiral-out",
    "Random": "random",
    "AlternateParsing": "alternate",
}
"""Our orders by the class of ``permuter_config``."""


class GPTShape(NamedTuple):
    """Sizes of a GPT: layers, width, rows of its table of tokens, and positions."""

    layers: int
    width: int
    vocabulary: int
    block: int


def read_shape(ledger: Ledger, params: Mapping[str, Any]) -> GPTShape:
    """The sizes by the tensors; raises ModelError where they or the GPT's params in the config differ."""
    table, places = ledger.look("transformer.tok_emb.weight"), ledger.look("transformer.pos_emb")
    head = ledger.look("transformer.head.weight")
    if table.ndim != 2 or places.ndim != 3 or head.shape != table.shape or places.shape[2] != table.shape[1]:
        raise ModelError(
            f"tok_emb {list(table.shape)}, head {list(head.shape)} and pos_emb {list(places.shape)} of the transformer "
            "do not fit together"
        )
    layers = {name.split(".")[2] for name in ledger if name.startswith("transformer.blocks.")}
    shape = GPTShape(len(layers), table.shape[1], table.shape[0], places.shape[1])
    named = dict(zip(("n_layer", "n_embd", "vocab_size", "block_size"), shape, strict=True))
    require_agreement(params, named)
    return shape


def read_heads(
    foreign: Foreign, params: Mapping[str, Any], shape: GPTShape, published: PublishedTransformer | None
) -> int:
    """Attention heads: of ``--set transformer.heads``, of the config, or of the published model of this shape.

    Raises:
        UsageError: nothing tells them, or the width is no multiple of them.
    """
    wanted = foreign.setting("transformer.heads")
    heads = wanted if wanted is not None else params.get("n_head", published.heads if published else None)
    if heads is None:
        raise UsageError(
            f"the number of attention heads is in no tensor, and no published transformer has {shape.layers} layers of "
            f"width {shape.width}, a table of {shape.vocabulary} and {shape.block} positions",
            hint="give its yaml with --config, or --set transformer.heads=16",
        )
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1 or shape.width % heads:
        where = "--set transformer.heads" if wanted is not None else "n_head of the config"
        raise UsageError(f"{where} is {heads}, which does not divide the transformer's width, {shape.width}")
    return heads


def read_order(foreign: Foreign, ledger: Ledger, params: Mapping[str, Any], cells: int) -> str:
    """Name of the order in which a grid of ``cells`` x ``cells`` is drawn; drops the tensors that hold it.

    Raises:
        ModelError: it is none of ours, or config and tensors differ.
        UsageError: ``--set transformer.order`` is another.
    """
    target = Described("", params).part("permuter_config").target
    said = _ORDERS.get(target) if target else None
    names = [name for name in ledger if name.startswith("permuter.")]
    if names:
        order = _order_of(ledger, target, said, cells)
    elif target and said != "row":
        raise ModelError(
            f"permuter_config is {target} in the config, and the checkpoint has no order (permuter...)"
        )
    else:
        order = "row"
    ledger.drop(names, f"the order of the cells, which is transformer.order {order} here")
    wanted = foreign.setting("transformer.order")
    if wanted not in (None, order):
        raise UsageError(f"--set transformer.order={wanted}: the transformer was trained in {order} order")
    return order


def _order_of(ledger: Ledger, target: str, said: str | None, cells: int) -> str:
    index = ledger.look("permuter.forward_shuffle_idx")
    if index.shape != (cells * cells,):
        raise ModelError(
            f"the order (permuter.forward_shuffle_idx) is one of {list(index.shape)} cells, and the transformer draws "
            f"{cells}x{cells}"
        )
    if index.is_meta:
        if said is None:
            raise ModelError("an order without values is known by permuter_config only")
        return said
    found = [name for name in ORDERS if np.array_equal(sequence_order(name, cells, cells), index.numpy())]
    if not found:
        raise ModelError(
            f"the order of the cells (permuter.forward_shuffle_idx{f', {target}' if target else ''}) is none of "
            f"{', '.join(ORDERS)}"
        )
    if said is not None and said not in found:
        require_agreement({"the order": said}, {"the order": found[0]})
    back = ledger.look("permuter.backward_shuffle_idx")
    if not torch.equal(back, index.argsort()):
        raise ModelError("permuter.backward_shuffle_idx does not undo permuter.forward_shuffle_idx")
    return said or found[0]


def read_prefix(ledger: Ledger, params: Mapping[str, Any], shape: GPTShape, spec: PriorSpec) -> int:
    """Tokens at the start that see one another (``n_unmasked``), by the masks; drops these.

    Raises:
        ModelError: the masks are others than the config says, or image codes see later ones.
    """
    masks = [name for name in ledger if re.fullmatch(r"transformer\.blocks\.\d+\.attn\.mask", name)]
    said = None if params.get("n_unmasked") is None else int(number(params, "n_unmasked", 0))
    for name in masks:
        mask = ledger.look(name)
        if mask.shape != (1, 1, shape.block, shape.block):
            raise ModelError(f"{name} is {list(mask.shape)}, and the transformer has {shape.block} positions")
        if mask.is_meta:
            continue
        seen = mask[0, 0] != 0
        prefix = int(seen[0].sum()) if said is None else said
        said = prefix
        expected = torch.ones_like(seen).tril_()
        expected[:prefix, :prefix] = True
        if not torch.equal(seen, expected):
            raise ModelError(
                f"{name} is not the mask of a model in which the first {prefix} tokens see one another"
            )
    ledger.drop(masks, "causal masks, which are computed here")
    prefix = said or 0
    if prefix > spec.condition_length:
        raise ModelError(
            f"n_unmasked is {prefix}, and the condition has {spec.condition_length} tokens: image codes that see later "
            "ones cannot be represented"
        )
    return prefix if prefix > 1 else 0


def gpt_state(
    ledger: Ledger, shape: GPTShape, spec: PriorSpec, rows: Tensor | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take the GPT's tensors: queries, keys and values become one, and what no code or token reaches is cut.

    Args:
        ledger: of the checkpoint.
        shape: of the GPT.
        spec: what it models.
        rows: row of its table that each token of the condition stands for; None: that of its own number.

    Returns:
        Tensors under our names, and what the user should know.

    Raises:
        ModelError: the table has no row for some code or token, or a tensor is missing.
    """
    codes, tokens = spec.codebook_size, max(1, spec.condition_size)
    if shape.vocabulary < max(codes, tokens if rows is None else 1):
        raise ModelError(
            f"the transformer has a table of {shape.vocabulary} tokens: too few for {codes} codes of images and "
            f"{tokens} of the condition"
        )
    table, head = ledger.take("transformer.tok_emb.weight"), ledger.take("transformer.head.weight")
    kept = codes if rows is not None else max(codes, tokens)
    state = {
        "tok_emb.weight": table[:kept],
        # The last code is never an input, so it needs no position.
        "pos_emb": ledger.take("transformer.pos_emb")[0, : spec.condition_length + spec.cells - 1],
        "head.weight": head[:codes],
    }
    if rows is not None:
        state["cond_emb.weight"] = table[rows.to(table.device)]
    for part in ("weight", "bias"):
        state[f"ln_f.{part}"] = ledger.take(f"transformer.ln_f.{part}")
    for index in range(shape.layers):
        theirs, ours = f"transformer.blocks.{index}.", f"blocks.{index}."
        for part in ("weight", "bias"):
            for name, new in GPT_LAYERS.items():
                state[f"{ours}{new}.{part}"] = ledger.take(f"{theirs}{name}.{part}")
            three = [ledger.take(f"{theirs}attn.{name}.{part}") for name in ("query", "key", "value")]
            state[f"{ours}attn.qkv.{part}"] = torch.cat(three)
    if shape.vocabulary == codes:
        return state, ()
    return state, (
        f"the transformer's head has {shape.vocabulary} rows for {codes} codes: the others, which could not be "
        "decoded, are cut",
    )
