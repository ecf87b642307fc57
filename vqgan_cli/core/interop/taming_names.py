"""Names of tensors in taming-transformers and here, both ways."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vqgan_cli.core.errors import ModelError

__all__ = ["GPT_LAYERS", "gpt_to_taming", "tokenizer_from_taming", "tokenizer_to_taming"]

GPT_LAYERS = {"ln1": "ln1", "ln2": "ln2", "attn.proj": "attn.proj", "mlp.0": "fc", "mlp.2": "proj"}
"""Layers of a GPT's block that only change their name: ours by theirs. Both have a weight and a bias."""

_EMA = ("cluster_size", "embed_avg")


def tokenizer_from_taming(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A tokenizer's tensors under our names: only those of the quantizer differ.

    Raises:
        ModelError: running means of a codebook without the codebook.
    """
    ours = {
        f"quantizer.{name.removeprefix('quantize.')}" if name.startswith("quantize.") else name: tensor
        for name, tensor in state.items()
    }
    if "quantizer.embedding.cluster_size" not in ours:
        return ours
    if "quantizer.embedding.weight" not in ours:
        raise ModelError("the checkpoint lacks the tensor 'quantize.embedding.weight'")
    codebook = ours.pop("quantizer.embedding.weight")
    ours = {name.replace("quantizer.embedding.", "quantizer."): tensor for name, tensor in ours.items()}
    # Running means that were read count as begun: training goes on from them.
    begun = torch.ones((), dtype=torch.bool, device=codebook.device)
    return {**ours, "quantizer.embedding": codebook, "quantizer.initialized": begun}


def tokenizer_to_taming(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `tokenizer_from_taming`."""
    theirs = {}
    for name, tensor in state.items():
        inner = name.removeprefix("quantizer.")
        if inner == name:
            theirs[name] = tensor
        elif inner in _EMA:
            theirs[f"quantize.embedding.{inner}"] = tensor
        elif inner == "embedding":
            theirs["quantize.embedding.weight"] = tensor
        elif inner != "initialized":
            theirs[f"quantize.{inner}"] = tensor
    return theirs


def gpt_to_taming(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A GPT's tensors under their names, without a prefix and without the masks.

    The position table becomes [1, C + N - 1, D], and queries, keys and values are views of one tensor.

    Raises:
        ModelError: the tokens of the condition have a table of their own, which the original has not.
    """
    if "cond_emb.weight" in state:
        raise ModelError(
            "the transformer looks its condition up in a table of its own; theirs has one for both "
            "(transformer.shared_vocabulary)"
        )
    layers = {ours: theirs for theirs, ours in GPT_LAYERS.items()}
    theirs = {}
    for name, tensor in state.items():
        if name == "pos_emb":
            theirs[name] = tensor[None]
        elif not name.startswith("blocks."):
            theirs[name] = tensor
        else:
            _, index, rest = name.split(".", 2)
            layer, _, part = rest.rpartition(".")
            if layer == "attn.qkv":
                for each, value in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    theirs[f"blocks.{index}.attn.{each}.{part}"] = value
            else:
                theirs[f"blocks.{index}.{layers[layer]}.{part}"] = tensor
    return theirs
