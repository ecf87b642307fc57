"""Other projects' checkpoints, in and out. The only place of the package where pickles are read.

A new layout is a module with a tuple of its own and a line below.
"""

from __future__ import annotations

from vqgan_cli.core.interop import diffusers_vq, llamagen, llamagen_gpt, maskgit, taming, taming_transformer
from vqgan_cli.core.interop.layouts import Layout

__all__ = ["LAYOUTS"]

LAYOUTS: tuple[Layout, ...] = (
    *llamagen_gpt.LAYOUTS,
    *llamagen.LAYOUTS,
    *diffusers_vq.LAYOUTS,
    *maskgit.LAYOUTS,
    *taming_transformer.LAYOUTS,
    *taming.LAYOUTS,
)
"""Tried in this order: the first one whose signs a checkpoint has."""
