"""The recorded models of the original implementations under our names, written out apart from the importer."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vqgan_cli.core.config import QuantizerConfig, TokenizerConfig, TransformerConfig
from vqgan_cli.core.interop.reading import read_foreign
from vqgan_cli.core.models.priors import Prior, PriorSpec, build_prior

TINY = TokenizerConfig(
    channels=32,
    channel_multipliers=(1, 2, 2),
    res_blocks=1,
    attention_resolutions=(16,),
    resolution=64,
    z_channels=48,
    codebook_size=96,
    codebook_dim=40,
    quantizer=QuantizerConfig(legacy=True),
)


def state_dict(path: Path) -> dict[str, Tensor]:
    """The weights of a recorded checkpoint."""
    return dict(read_foreign(path).tensors)


def tokenizer_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tokenizer's tensors under our names."""
    kept = {k: v for k, v in weights.items() if not k.startswith(("loss.", "colorize"))}
    return {k.replace("quantize.", "quantizer.", 1): v for k, v in kept.items()}


def discriminator_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The discriminator's tensors under our names."""
    prefix = "loss.discriminator."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def gpt_prior(weights: dict[str, Tensor], spec: PriorSpec) -> Prior:
    """A recorded GPT of 2 layers, 4 heads and width 64 as ours, with the published shared table."""
    config = TransformerConfig(kind="gpt", layers=2, heads=4, width=64, shared_vocabulary=True)
    state = {}
    for name, value in weights.items():
        name = name.replace(".mlp.0.", ".fc.").replace(".mlp.2.", ".proj.")
        if not name.endswith((".attn.mask", ".key.weight", ".key.bias", ".value.weight", ".value.bias")):
            state[name.replace(".query.", ".qkv.")] = value
        if ".query." in name:
            parts = [weights[name.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
            state[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    prior = build_prior(config, spec).eval()
    # The original's table may have a position more than is ever used.
    state["pos_emb"] = state["pos_emb"][0, : spec.condition_length + spec.cells - 1]
    prior.load_state_dict(state)
    return prior


def llama_prior(path: Path) -> Prior:
    """The recorded LlamaGen model of 3 layers, 4 heads and width 64 as ours."""
    names = {
        "cls_embedding.embedding_table.": "cond_emb.",
        "tok_embeddings.": "tok_emb.",
        "layers.": "blocks.",
        ".attention.wqkv.": ".attn.qkv.",
        ".attention.wo.": ".attn.proj.",
        ".feed_forward.": ".",
        "output.": "head.",
    }
    state = {}
    for name, value in state_dict(path).items():
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        state[name] = value
    config = TransformerConfig(kind="llama", layers=3, heads=4, width=64)
    prior = build_prior(config, PriorSpec(96, (8, 8), "class", 10, null_condition=True)).eval()
    prior.load_state_dict(state)
    return prior
