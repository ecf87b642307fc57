"""The smallest models that there can be: a tokenizer and a transformer over its codes, as files."""

from __future__ import annotations

from pathlib import Path

import torch

from vqgan_cli.core.artifacts import save_tokenizer, save_transformer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.models.priors import PriorSpec, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["save_tiny_models"]

CONFIG = {
    "data": {"size": 8},
    "tokenizer": {
        "channels": 32,
        "channel_multipliers": [1, 1],
        "res_blocks": 1,
        "attention_resolutions": [],
        "mid_attention": False,
        "z_channels": 4,
        "codebook_size": 8,
        "codebook_dim": 2,
    },
    "condition": {"kind": "class"},
    "transformer": {"layers": 1, "heads": 1, "width": 8},
}


def save_tiny_models(folder: Path) -> list[Path]:
    """``tokenizer.safetensors`` and ``transformer.safetensors``."""
    config = ExperimentConfig.model_validate(CONFIG)
    torch.manual_seed(0)
    tokenizer = Tokenizer(config.tokenizer)
    spec = PriorSpec(8, (4, 4), "class", 3, null_condition=True)
    prior = build_prior(config.transformer, spec)
    paths = [folder / "tokenizer.safetensors", folder / "transformer.safetensors"]
    provenance = {
        "version": "1.0", "step": 7, "data": "photos", "images": 12, "classes": ["a", "b"], "weights": "last",
        "validation": {"loss": 0.5}, "imported": {"file": "a.ckpt", "layout": "x", "sha256": "0" * 64, "epoch": 3},
    }  # fmt: skip
    save_tokenizer(paths[0], tokenizer.state_dict(), config, provenance)
    save_transformer(
        paths[1], prior.state_dict(), tokenizer.state_dict(), config, spec, ("a", "b", "c"), provenance
    )
    return paths
