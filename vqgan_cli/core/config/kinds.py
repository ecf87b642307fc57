"""All quantizers, priors and kinds of maps. A new one is a file in the package that a registry names, and a line here.

`CONTRIBUTING.md` adds one of each, step by step.
"""

from __future__ import annotations

from vqgan_cli.core.config.registry import Entry, MapEntry, MapForm, Registry

__all__ = ["MAPS", "PRIORS", "QUANTIZERS", "TOKENIZED_MAPS", "map_form"]

QUANTIZERS = Registry(
    "vqgan_cli.core.models.quantizers",
    {
        "vq": Entry("euclidean.EuclideanQuantizer", "Euclidean"),
        "l2": Entry("normalized.NormalizedQuantizer", "normalised"),
        "ema": Entry("ema.EMAQuantizer", "running means"),
        "gumbel": Entry("gumbel.GumbelQuantizer", "Gumbel-softmax"),
    },
)

PRIORS = Registry(
    "vqgan_cli.core.models.priors",
    {
        "gpt": Entry("gpt.GPT", "as published with VQGAN"),
        "llama": Entry("llama.Llama", "2-D RoPE, SwiGLU"),
        "pixelcnn": Entry("pixelcnn.PixelCNN", "gated convolutions, no transformer"),
        "pixelsnail": Entry("pixelsnail.PixelSNAIL", "convolutions and attention, no transformer"),
    },
)

MAPS = Registry(
    "vqgan_cli.core.data.maps",
    {
        "segmentation": MapEntry("segmentation.Segmentation", "label maps", form="labels"),
        "depth": MapEntry("depth.Depth", form="value"),
        "edges": MapEntry("edges.Edges", form="picture"),
        "keypoints": MapEntry("keypoints.Keypoints", form="picture"),
        "lowres": MapEntry("lowres.LowRes", form="picture"),
        "coordinates": MapEntry("coordinates.Coordinates", form="codes"),
    },
)

TOKENIZED_MAPS = tuple(name for name, entry in MAPS.items() if entry.form != "codes")
"""Kinds of maps that a tokenizer can read."""


def map_form(kind: str) -> MapForm:
    """Of a kind of maps, or of ``image``."""
    return "picture" if kind == "image" else MAPS[kind].form
