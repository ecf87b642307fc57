"""Models of random weights to be exported, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vqgan_cli.core.artifacts import load_tokenizer, read_model_info, save_tokenizer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.interop.writing.source import Source
from vqgan_cli.core.models.quantizers.ema import EMAQuantizer
from vqgan_cli.core.models.quantizers.euclidean import EuclideanQuantizer
from vqgan_cli.core.models.tokenizer import Tokenizer

__all__ = ["pictures", "save", "source_of"]

TINY = {
    "channels": 32,
    "channel_multipliers": (1, 2, 2),
    "res_blocks": 1,
    "attention_resolutions": (16,),
    "resolution": 32,
    "z_channels": 16,
    "codebook_size": 40,
    "codebook_dim": 8,
}
"""f = 4, attention at the second of three levels."""


def save(
    path: Path,
    kind: str = "image",
    quantizer: str = "vq",
    provenance: Mapping[str, Any] | None = None,
    **tokenizer: Any,
) -> Path:
    """A tokenizer whose codebook lies where the vectors do, so that many codes are used."""
    loss: dict[str, Any] = {}
    if kind in ("segmentation", "depth"):
        loss = {"perceptual": {"kind": "none"}}
        loss |= {"reconstruction": "cross-entropy"} if kind == "segmentation" else {}
    config = ExperimentConfig.model_validate(
        {
            "data": {"size": 32, "kind": kind},
            "tokenizer": TINY | {"quantizer": {"kind": quantizer}} | tokenizer,
            "train_ae": loss,
        }
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = Tokenizer(config.tokenizer).eval()
        vectors = module.features(pictures(module, 4, 32, 32))
        place, spread = vectors.mean((0, 2, 3)), vectors.std((0, 2, 3))
        rows = torch.randn(config.tokenizer.codebook_size, config.tokenizer.codebook_dim) * spread + place
        if isinstance(module.quantizer, EMAQuantizer):
            module.quantizer.embedding.copy_(rows)
            module.quantizer.cluster_size.copy_(torch.rand(len(rows)))
        elif isinstance(module.quantizer, EuclideanQuantizer):
            module.quantizer.embedding.weight.copy_(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tokenizer(path, module.state_dict(), config, provenance or {})
    return path


def source_of(path: Path) -> Source:
    """What an export gets of a tokenizer's file."""
    info = read_model_info(path)
    return Source(info, info.config, load_tokenizer(path))


def pictures(tokenizer: Tokenizer, batch: int, height: int, width: int, seed: int = 1) -> torch.Tensor:
    """Input of noise; one-hot where the tokenizer reads label maps."""
    generator = torch.Generator().manual_seed(seed)
    channels = tokenizer.config.in_channels
    if tokenizer.makes_labels:
        return tokenizer.one_hot(torch.randint(channels, (batch, height, width), generator=generator))
    return torch.rand(batch, channels, height, width, generator=generator) * 2 - 1
