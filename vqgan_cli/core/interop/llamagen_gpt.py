"""Class-conditional transformers of LlamaGen (Sun et al. 2024), B to 3B."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vqgan_cli.core.config import ConditionConfig, SamplingConfig, TransformerConfig
from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.architecture import image_size
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import Imported, SecondStage
from vqgan_cli.core.interop.layouts import Layout
from vqgan_cli.core.models.priors import PriorSpec

__all__ = ["LAYOUTS", "PUBLISHED_HEADS"]

PUBLISHED_HEADS = {
    (12, 768): 12,  # B
    (24, 1024): 16,  # L
    (36, 1280): 20,  # XL
    (48, 1536): 24,  # XXL
    (48, 2560): 40,  # XXXL
    (22, 2048): 32,  # 1B
    (24, 3200): 32,  # 3B
    (32, 4096): 32,  # 7B
}
"""Attention heads of the configurations in LlamaGen's code, by (layers, width). No tensor tells their number."""

_F = 16  # pixels per code of the tokenizer that all published models were trained on

# Put into names by FSDP, torch.compile, DataParallel and activation checkpointing, at any depth.
_WRAPPING = r"(?:\b(?:_fsdp_wrapped_module|_orig_mod|module|_checkpoint_wrapped_module)\.)"

_NAMES = {
    "cls_embedding.embedding_table.": "cond_emb.",
    "tok_embeddings.": "tok_emb.",
    "layers.": "blocks.",
    ".attention.wqkv.": ".attn.qkv.",
    ".attention.wo.": ".attn.proj.",
    ".feed_forward.": ".",
    "output.": "head.",
}
_OURS = re.compile(
    r"((cond_emb|tok_emb|norm|head)|blocks\.\d+\.(attn\.qkv|attn\.proj|w[123]|attention_norm|ffn_norm))\.weight"
)


def _convert(foreign: Foreign, ledger: Ledger) -> Imported:
    described = _described(foreign)
    angles = next((ledger.look(name) for name in ledger if name.endswith("freqs_cis")), None)
    ledger.drop([name for name in ledger if name.endswith("freqs_cis")], "angles of positions, computed here")
    ledger.drop([name for name in ledger if ".kv_cache." in name], "what sampling had cached")
    state = _renamed(ledger)
    size, width = state["tok_emb.weight"].shape
    layers = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    heads = _heads(foreign, described, angles, layers, width)
    side, notes = _grid(foreign, described, angles)
    rows = state["cond_emb.weight"].shape[0]
    # The last row stands for no class, unless the model was trained without one.
    null = rows != described.get("num_classes")
    _require_known(state, described, width)
    config = TransformerConfig(
        kind="llama",
        layers=layers,
        heads=heads,
        width=width,
        rope_base=_number(described, "rope_base", 10000),
        hidden_multiple=_hidden_multiple(state, described, width),
    )
    spec = PriorSpec(size, (side, side), "class", rows - null, null_condition=null)
    stage = SecondStage(
        config,
        spec,
        state,
        ConditionConfig(kind="class", dropout=0.1 if null else 0.0),
        # As the authors' own program draws samples.
        sampling=SamplingConfig(top_k=2000, guidance=4.0 if null else 1.0),
    )
    notes += (
        "sampling.guidance 4 and top_k 2000 are those of LlamaGen's own samples; its published FIDs are of guidance 2 "
        "(B, L), 1.75 (XL, XXL) or 1.65 (3B) and top_k 0",
    )
    return Imported(_F * side, tokenizer=None, transformer=stage, notes=notes)


def _described(foreign: Foreign) -> Mapping[str, Any]:
    """Its config json: fields of LlamaGen's ``ModelArgs``, which may lie under ``config``."""
    inner = foreign.config.get("config")
    return inner if isinstance(inner, Mapping) else foreign.config


def _renamed(ledger: Ledger) -> dict[str, Tensor]:
    """The tensors that our model has, under our names."""
    state = {}
    for name in ledger:
        ours = re.sub(_WRAPPING, "", name)
        for theirs, replacement in _NAMES.items():
            ours = ours.replace(theirs, replacement)
        if _OURS.fullmatch(ours):
            state[ours] = ledger.take(name)
    return state


def _heads(
    foreign: Foreign, described: Mapping[str, Any], angles: Tensor | None, layers: int, width: int
) -> int:
    """As set, configured, or told by the width of the angles (half a head, as cos and sin), or as published."""
    heads = foreign.setting("transformer.heads")
    if heads is None:
        heads = described.get("n_head")
    if heads is None and angles is not None and angles.ndim == 3:
        heads = width // (2 * angles.shape[1])
    if heads is None:
        heads = PUBLISHED_HEADS.get((layers, width))
    if heads is None:
        raise UsageError(
            f"the number of attention heads is in no tensor, and LlamaGen published no model of {layers} layers and "
            f"width {width}",
            hint="give it: --set transformer.heads=16, or n_head in a json file: --config",
        )
    if not isinstance(heads, int) or heads < 1 or width % heads or width // heads % 4:
        raise UsageError(
            f"{heads!r} attention heads do not divide the width {width} into parts that are multiples of 4"
        )
    return heads


def _grid(
    foreign: Foreign, described: Mapping[str, Any], angles: Tensor | None
) -> tuple[int, tuple[str, ...]]:
    """Codes along a side, and how that is known if it is not for sure."""
    if foreign.setting("data.size") is not None:
        return image_size(foreign, _F, 256) // _F, ()
    cells = described.get("block_size")
    if cells is None and angles is not None and angles.ndim == 3:
        cells = angles.shape[0] - 1  # the class comes before the codes
    if isinstance(cells, int) and cells > 0 and math.isqrt(cells) ** 2 == cells:
        return math.isqrt(cells), ()
    # Nothing else in a published file tells its models of 256 pixels from those of 384.
    named = re.search(r"c2i_(?:B|L|XL|XXL|3B)_(256|384)\b", foreign.path.name)
    size = int(named[1]) if named else 256
    known = "by the name of the file" if named else "as no tensor tells"
    other = 256 if size == 384 else 384
    note = f"taken for a model of {size}x{size} pixels, {known}; if it is one of {other}: --set data.size={other}"
    return size // _F, (note,)


def _hidden_multiple(state: Mapping[str, Tensor], described: Mapping[str, Any], width: int) -> int:
    """``transformer.hidden_multiple`` that gives the hidden width of the feed-forward layers."""
    hidden, least = state["blocks.0.w1.weight"].shape[0], 8 * width // 3
    for multiple in (256, described.get("multiple_of"), hidden):
        if isinstance(multiple, int) and multiple > 0 and math.ceil(least / multiple) * multiple == hidden:
            return multiple
    raise ModelError(f"the feed-forward layers are {hidden} wide, less than 8/3 of the width {width}")


def _require_known(state: Mapping[str, Tensor], described: Mapping[str, Any], width: int) -> None:
    """Refuse what has the same names and means something else."""
    rows = state["blocks.0.attn.qkv.weight"].shape[0]
    if rows != 3 * width:
        raise ModelError(
            f"keys and values have {rows - width} rows, fewer than the queries' {width} each: grouped-query attention "
            "cannot be represented"
        )
    eps = _number(described, "norm_eps", 1e-5)
    if not math.isclose(eps, 1e-5):
        raise ModelError(f"norm_eps {eps} cannot be represented: RMSNorm has 1e-05 here")
    if described.get("cls_token_num", 1) != 1:
        raise ModelError(f"{described['cls_token_num']} class tokens cannot be represented: there is one")


def _number(described: Mapping[str, Any], key: str, default: float) -> float:
    """A value of the config that is a number above 0."""
    value = described.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ModelError(f"the config says {key} {value!r}; expected a number above 0")
    return value


def _sign(*parts: str) -> str:
    """A regular expression of a name's parts, with any wrapping between them."""
    return f"{_WRAPPING}*" + rf"\.{_WRAPPING}*".join(parts)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "LlamaGen text-to-image GPT",
        signs=(
            _sign("cls_embedding", r"(cap_proj\b|uncond_embedding$)"),
            _sign("layers", "0", "attention", "wqkv", "weight$"),
        ),
        refusal="it draws from the vectors that a T5 model gives for a text, and there is no such condition here",
    ),
    Layout(
        "LlamaGen class-conditional GPT",
        signs=(
            _sign("cls_embedding", "embedding_table", "weight$"),
            _sign("tok_embeddings", "weight$"),
            _sign("layers", "0", "attention", "wqkv", "weight$"),
            _sign("layers", "0", "feed_forward", "w1", "weight$"),
        ),
        convert=_convert,
    ),
)
