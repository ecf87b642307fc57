"""The Llama-style prior of LlamaGen (Sun et al. 2024): 2-D RoPE, RMSNorm, SwiGLU, no biases."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vqgan_cli.core.config import TransformerConfig
from vqgan_cli.core.models.priors.attention import (
    KVCache,
    LayerCache,
    RMSNorm,
    SelfAttention,
    prefix_mask,
    step_mask,
)
from vqgan_cli.core.models.priors.base import PriorSpec
from vqgan_cli.core.models.priors.orders import sequence_order
from vqgan_cli.core.models.priors.transformer import TransformerPrior

__all__ = ["Llama"]


class Llama(TransformerPrior):
    """Decoder with relative 2-D positions.

    At the one token of a class cos = sin = 0, as in the published models, so that its query and key are zero vectors:
    it is seen equally from everywhere. The codes of a condition have the positions of their cells, the same as the
    image codes there, so that a cell finds what the condition says of its place.
    """

    rotary: Tensor

    def __init__(self, config: TransformerConfig, spec: PriorSpec) -> None:
        super().__init__(config, spec)
        self.cond_emb = nn.Embedding(max(1, spec.condition_size + spec.null_condition), config.width)
        self.tok_emb = nn.Embedding(spec.codebook_size, config.width)
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = nn.Linear(config.width, spec.codebook_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        # Angles are in no file, so they are real even where shapes alone are asked for.
        with torch.device("cpu"):
            rotary = _rotary(config, spec)
        self.register_buffer("rotary", rotary, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Where the module goes, the angles go too, but they stay in float32: half precision would move positions.
        rotary = self.rotary
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.rotary = rotary.to(self.rotary.device)
        return self

    def hidden(
        self, codes: Tensor, condition: Tensor | None, start: int | Tensor, cache: KVCache | None
    ) -> Tensor:
        """See `TransformerPrior.hidden`."""
        x = self.tok_emb(codes)
        if condition is not None:
            x = torch.cat((self.cond_emb(condition), x), 1)
        x = self.dropout(x)
        length = x.shape[1]
        # [T, Dh/2, 2], or [B, 1, 1, Dh/2, 2] where each row has a position of its own
        rotary = (
            self.rotary[start][:, None, None] if isinstance(start, Tensor) else self.rotary[start:][:length]
        )
        if condition is None:
            assert cache is not None
            mask = step_mask(start, cache.length)
        else:
            mask = prefix_mask(length, min(self.config.bidirectional_prefix, length), x.device)
        for index, block in enumerate(self.blocks):
            layer = cache.layers[index] if cache is not None else None
            if self.config.gradient_checkpointing and self.training:
                x = checkpoint(block, x, start, mask, rotary, layer, use_reentrant=False)
            else:
                x = block(x, start, mask, rotary, layer)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """See `TransformerPrior.logits`."""
        return self.head(hidden).float()


class _Block(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        hidden = math.ceil(int(8 * width / 3) / config.hidden_multiple) * config.hidden_multiple
        self.attention_norm = RMSNorm(width)
        self.attn = SelfAttention(
            width, config.heads, bias=False, dropout=config.attention_dropout, qk_norm=config.qk_norm
        )
        self.ffn_norm = RMSNorm(width)
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(
        self, x: Tensor, start: int | Tensor, mask: Tensor | None, rotary: Tensor, cache: LayerCache | None
    ) -> Tensor:
        y = self.attn(self.attention_norm(x), start=start, mask=mask, rotary=rotary, cache=cache)
        x = x + self.dropout(y)
        y = self.ffn_norm(x)
        return x + self.dropout(self.w2(F.silu(self.w1(y)) * self.w3(y)))


def _rotary(config: TransformerConfig, spec: PriorSpec) -> Tensor:
    """Cos and sin for each sequence position, float32 [C + N, Dh/2, 2]: a half of the pairs turns by row, the other
    by column.
    """
    head = config.width // config.heads
    frequencies = config.rope_base ** (-torch.arange(head // 4) * 2.0 / (head // 2))
    rows, columns = torch.arange(spec.cells) // spec.grid[1], torch.arange(spec.cells) % spec.grid[1]
    angles = torch.cat((rows[:, None] * frequencies, columns[:, None] * frequencies), 1)  # [N, Dh/2]
    cells = torch.stack((angles.cos(), angles.sin()), -1)
    image = cells[torch.from_numpy(sequence_order(config.order, *spec.grid))]
    condition = cells if spec.condition == "codes" else torch.zeros(spec.condition_length, *cells.shape[1:])
    return torch.cat((condition, image))
