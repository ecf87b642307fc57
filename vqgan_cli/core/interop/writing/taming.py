"""Tokenizers and transformers as taming-transformers reads them: ``model.ckpt`` and ``config.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.config.data import DataKind
from vqgan_cli.core.interop.taming_names import tokenizer_to_taming
from vqgan_cli.core.interop.writing.source import Source, Written, refuse, unheld_tokenizer
from vqgan_cli.core.interop.writing.taming_gpt import (
    condition_tokens,
    gpt_description,
    gpt_tensors,
    permuter,
    unused_positions,
)
from vqgan_cli.core.interop.writing.taming_usage import taming_usage
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["CHECKPOINT_FILE", "CONFIG_FILE", "write_taming"]

CHECKPOINT_FILE = "model.ckpt"
CONFIG_FILE = "config.yaml"

_EXPRESSED = (
    "in_channels",
    "out_channels",
    "channels",
    "channel_multipliers",
    "res_blocks",
    "attention_resolutions",
    "resolution",
    "z_channels",
    "codebook_size",
    "codebook_dim",
)
_CLASSES = {"vq": "VQModel", "ema": "EMAVQ", "gumbel": "GumbelVQ"}
_KEYS: dict[DataKind, str] = {
    "image": "image",
    "segmentation": "segmentation",
    "depth": "depth",
    "edges": "edges",
    "keypoints": "keypoints",
    "lowres": "low_res",
}
"""Key under which a batch holds data of a kind there."""

# A tokenizer's tensors, its node of the config, and what the user should know of it.
_Part = tuple[dict[str, Tensor], dict[str, Any], tuple[str, ...]]


def write_taming(source: Source, folder: Path) -> Written:
    """Write checkpoint and config into a folder.

    The checkpoint is a torch file with plain tensors under ``state_dict``: that project reads no other.

    Raises:
        ModelError: taming-transformers cannot hold the model.
    """
    if source.transformer is None:
        state, described, notes = _tokenizer(source.tokenizer, source.config.data.kind)
    else:
        state, described, notes = _net2net(source.config, source.transformer)
    torch.save({"state_dict": state}, folder / CHECKPOINT_FILE)
    (folder / CONFIG_FILE).write_text(yaml.safe_dump({"model": described}, sort_keys=False), encoding="utf-8")
    files = {
        CHECKPOINT_FILE: "weights, plain tensors under `state_dict` in a pickle, float32",
        CONFIG_FILE: "classes and their arguments, as its `main.py` instantiates them",
    }
    return Written(files, taming_usage(source), notes)


def _tokenizer(
    tokenizer: Tokenizer, kind: DataKind, *, frozen: bool = False, where: str = "tokenizer"
) -> _Part:
    """A tokenizer; ``frozen`` for one inside a transformer, whose codebook does not move any more."""
    config, quantizer = tokenizer.config, tokenizer.config.quantizer
    problems = unheld_tokenizer(config, _EXPRESSED, tuple(_CLASSES), where)
    if quantizer.kind == "gumbel" and config.codebook_dim != config.z_channels:
        problems.append(
            f"{where}.codebook_dim {config.codebook_dim} (only z_channels, {config.z_channels}, with gumbel)"
        )
    labels = tokenizer.makes_labels
    if labels and quantizer.kind != "vq":
        problems.append(f"{where}.quantizer.kind {quantizer.kind!r} (only vq for label maps)")
    refuse("taming-transformers", problems, "--to onnx holds every tokenizer")
    state = tokenizer_to_taming(tokenizer.state_dict())
    notes = []
    name = _CLASSES[quantizer.kind]
    if name == "EMAVQ" and frozen:
        # Its class there cannot look codes up, which a transformer needs; the codebook alone is that of a VQModel.
        name = "VQModel"
        state = {
            key: tensor for key, tensor in state.items() if not key.endswith((".cluster_size", ".embed_avg"))
        }
    elif name == "EMAVQ":
        notes.append(
            "EMAVQ there encodes only; as VQModel the same file decodes codes too, without the running means"
        )
    elif name == "GumbelVQ":
        notes.append("GumbelVQ there encodes with random codes; here the likeliest one is taken")
    params: dict[str, Any] = {
        "embed_dim": config.codebook_dim,
        "n_embed": config.codebook_size,
        "image_key": _KEYS.get(kind, kind),
        "ddconfig": {
            "double_z": False,
            "z_channels": config.z_channels,
            "resolution": config.resolution,
            "in_channels": config.in_channels,
            "out_ch": config.out_channels,
            "ch": config.channels,
            "ch_mult": list(config.channel_multipliers),
            "num_res_blocks": config.res_blocks,
            "attn_resolutions": list(config.attention_resolutions),
            "dropout": config.dropout,
        },
        "lossconfig": {"target": "taming.modules.losses.vqperceptual.DummyLoss"},
    }
    if labels:
        name = "VQSegmentationModel"
        params["n_labels"] = config.in_channels
        # A buffer of that class: the colours of classes in its logs, of which any will do.
        colours = torch.Generator().manual_seed(0)
        state["colorize"] = torch.randn(3, config.in_channels, 1, 1, generator=colours)
        notes.append("colorize, the random colours of its logs, is new: no model here keeps it")
    if name == "GumbelVQ":
        params["kl_weight"] = quantizer.kl_weight
        params["temperature_scheduler_config"] = {
            "target": "taming.lr_scheduler.LambdaWarmUpCosineScheduler",
            "params": {
                "warm_up_steps": 0,
                "max_decay_steps": quantizer.temperature_steps or 1000001,
                "lr_start": quantizer.temperature,
                "lr_max": quantizer.temperature,
                "lr_min": quantizer.temperature_end,
            },
        }
    return state, {"target": f"taming.models.vqgan.{name}", "params": params}, tuple(notes)


def _net2net(config: ExperimentConfig, model: Transformer) -> _Part:
    """A transformer with its tokenizers."""
    tokens = condition_tokens(config, model)
    state = {f"transformer.{name}": tensor for name, tensor in gpt_tensors(model.prior).items()}
    order, buffers = permuter(model.prior)
    state |= {f"permuter.{name}": tensor for name, tensor in buffers.items()}
    images, first, notes = _tokenizer(model.tokenizer, config.data.kind, frozen=True)
    state |= {f"first_stage_model.{name}": tensor for name, tensor in images.items()}
    params: dict[str, Any] = {
        "first_stage_key": _KEYS.get(config.data.kind, config.data.kind),
        "pkeep": config.train_transformer.pkeep,
        "sos_token": tokens.sos,
        "unconditional": config.condition.kind == "none",
        "transformer_config": gpt_description(model.prior),
        "permuter_config": order,
        "first_stage_config": first,
        "cond_stage_key": tokens.key,
        "cond_stage_config": tokens.stage,
    }
    kind, reader = config.condition.map_kind, config.condition.tokenizer
    if kind is not None and kind != "coordinates" and reader == "same":
        # There the two are one module, which a checkpoint holds under both names.
        state |= {f"cond_stage_model.{name}": tensor for name, tensor in images.items()}
    elif kind is not None and kind != "coordinates":
        assert model.map_encoder is not None
        assert model.map_encoder.tokenizer is not None
        maps, params["cond_stage_config"], more = _tokenizer(
            model.map_encoder.tokenizer, kind, frozen=True, where="condition.first_stage.tokenizer"
        )
        state |= {f"cond_stage_model.{name}": tensor for name, tensor in maps.items()}
        notes += more
        params["cond_stage_key"] = _KEYS.get(kind, kind)
    target = "taming.models.cond_transformer.Net2NetTransformer"
    unused = unused_positions(model.prior)
    return state, {"target": target, "params": params}, (*notes, *tokens.notes, *([unused] if unused else []))
