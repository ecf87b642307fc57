"""A prior as the GPT of taming-transformers, with the order of its codes and the tokens of its condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.interop.taming_names import gpt_to_taming
from vqgan_cli.core.interop.writing.source import refusal, refuse, unexpressed
from vqgan_cli.core.models.priors import Prior, sequence_order

__all__ = [
    "ConditionTokens",
    "condition_tokens",
    "gpt_description",
    "gpt_tensors",
    "permuter",
    "unused_positions",
]

_EXPRESSED = (
    "kind",
    "layers",
    "heads",
    "width",
    "order",
    "embedding_dropout",
    "attention_dropout",
    "residual_dropout",
    "bidirectional_prefix",
    "shared_vocabulary",
)
_NO_MATTER = (
    "gradient_checkpointing",
    # Of other kinds.
    "qk_norm",
    "rope_base",
    "hidden_multiple",
    "kernel_size",
    "block_convolutions",
)
_PERMUTERS = {
    "row": "Identity",
    "subsample": "Subsample",
    "z-curve": "ZCurve",
    "spiral-in": "SpiralIn",
    "spiral-out": "SpiralOut",
    "random": "Random",
    "alternate": "AlternateParsing",
}
"""Classes there by the names of our orders."""

_HINT = "its tokenizer can be exported alone: --part tokenizer"


@dataclass(frozen=True)
class ConditionTokens:
    """Where the tokens of the condition come from there.

    Attributes:
        key: under which a batch holds the condition.
        stage: the node of the config that makes tokens of it; None where a tokenizer of maps does.
        sos: the one token of a model without condition.
        notes: what the user should know.
    """

    key: str
    stage: Any
    sos: int = 0
    notes: tuple[str, ...] = ()


def gpt_tensors(prior: Prior) -> dict[str, Tensor]:
    """The prior's tensors under their names, with their masks, and with as many positions as published models have.

    Raises:
        ModelError: it is no GPT, or one of more tokens than codes.
    """
    config, spec = prior.config, prior.spec
    problems = unexpressed("transformer", config, (*_EXPRESSED, *_NO_MATTER))
    if config.kind != "gpt":
        refuse("taming-transformers", [f"transformer.kind {config.kind!r} (only gpt)"], _HINT)
    state = {name: tensor for name, tensor in prior.state_dict().items() if name != "cond_emb.weight"}
    tokens = state["tok_emb.weight"].shape[0]
    if tokens != spec.codebook_size:
        problems.append(
            f"a condition of {tokens} tokens with pictures of {spec.codebook_size} codes (its one table, of which each "
            "row is also drawn, would have to hold both)"
        )
    if config.order != "row" and not _has_order(config.order, *spec.grid):
        problems.append(f"transformer.order {config.order!r} on a grid of {spec.grid[0]}x{spec.grid[1]}")
    refuse("taming-transformers", problems, _HINT)
    theirs = {
        name: tensor.clone() if ".attn." in name else tensor for name, tensor in gpt_to_taming(state).items()
    }
    block = _block_size(prior)
    places = theirs["pos_emb"]  # [1, C + N - 1, D]
    # Ours end with the last input. Theirs with maps have one more, which no gradient and no decay ever moves from zero.
    theirs["pos_emb"] = torch.cat((places, places.new_zeros(1, block - places.shape[1], places.shape[2])), 1)
    mask = torch.ones(block, block).tril_()
    mask[: config.bidirectional_prefix, : config.bidirectional_prefix] = 1
    # One tensor under all names: a torch file holds it once.
    return theirs | {f"blocks.{index}.attn.mask": mask[None, None] for index in range(config.layers)}


def unused_positions(prior: Prior) -> str:
    """What to say of positions that no input has; empty where there are none."""
    used, block = prior.spec.condition_length + prior.spec.cells - 1, _block_size(prior)
    if used == block:
        return ""
    return f"position {block} of pos_emb is behind the last input and zeros, as its training starts and leaves it"


def gpt_description(prior: Prior) -> dict[str, Any]:
    """The node ``transformer_config``."""
    config = prior.config
    return {
        "target": "taming.modules.transformer.mingpt.GPT",
        "params": {
            "vocab_size": prior.spec.codebook_size,
            "block_size": _block_size(prior),
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_embd": config.width,
            "n_unmasked": config.bidirectional_prefix,
            "embd_pdrop": config.embedding_dropout,
            "resid_pdrop": config.residual_dropout,
            "attn_pdrop": config.attention_dropout,
        },
    }


def permuter(prior: Prior) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """The node ``permuter_config`` and its buffers; None and nothing for the row order."""
    order, (height, width) = prior.config.order, prior.spec.grid
    if order == "row":
        return None, {}
    forward = torch.from_numpy(sequence_order(order, height, width))
    described = {
        "target": f"taming.modules.transformer.permuter.{_PERMUTERS[order]}",
        "params": {"H": height, "W": width},
    }
    return described, {"forward_shuffle_idx": forward, "backward_shuffle_idx": forward.argsort()}


def condition_tokens(config: ExperimentConfig, model: Transformer) -> ConditionTokens:
    """What gives the GPT there the same vectors for its condition as here.

    There a token of the condition is looked up among the image codes, in the row of its own number.

    Raises:
        ModelError: nothing there does.
    """
    spec, state = model.prior.spec, model.prior.state_dict()
    kind, reader = config.condition.kind, config.condition.tokenizer
    table = state["tok_emb.weight"]
    count = max(1, spec.condition_size + spec.null_condition)
    # With a table of its own, a condition may still be made of rows of the other: so imported models are.
    vectors = state.get("cond_emb.weight", table[:count])
    by_number = torch.equal(vectors, table[:count])
    problem = "transformer.shared_vocabulary false (only true: it looks conditions up among the image codes)"
    if kind == "none":
        rows = (table == vectors[0]).all(1).nonzero()
        if len(rows):
            return ConditionTokens("none", "__is_unconditional__", sos=int(rows[0]))
    elif by_number and kind == "coordinates":
        params = {"n_embed": count, "down_factor": model.tokenizer.downsampling}
        return ConditionTokens("coord", {"target": "taming.modules.misc.coord.CoordStage", "params": params})
    elif by_number and kind == "class":
        notes = (f"class {spec.null_token} is no class, for guidance",) if spec.null_condition else ()
        stage = {"target": "taming.modules.util.Labelator", "params": {"n_classes": count}}
        return ConditionTokens("class_label", stage, notes=notes)
    elif by_number and reader == "same":
        return ConditionTokens(kind, "__is_first_stage__")
    elif by_number and reader == "own":
        return ConditionTokens(kind, None)
    elif by_number:
        problem = f"condition.tokenizer {reader!r} with {kind} (only own)"
    raise refusal("taming-transformers", [problem], _HINT)


def _has_order(order: str, height: int, width: int) -> bool:
    """Whether the class of an order there can be made for a grid."""
    if order == "subsample":
        return height == width and not height & (height - 1)
    return height == width or order not in ("spiral-in", "spiral-out")


def _block_size(prior: Prior) -> int:
    """Positions, as in published models: the cells, and as many again for maps."""
    spec = prior.spec
    return spec.cells + (spec.condition_length if spec.condition_length > 1 else 0)
