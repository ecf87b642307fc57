"""The GPT that was published with VQGAN: pre-LN, GELU, learned positions (Esser et al. 2021, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vqgan_cli.core.config import TransformerConfig
from vqgan_cli.core.models.priors.attention import KVCache, LayerCache, SelfAttention, prefix_mask, step_mask
from vqgan_cli.core.models.priors.base import PriorSpec
from vqgan_cli.core.models.priors.transformer import TransformerPrior

__all__ = ["GPT"]


class GPT(TransformerPrior):
    """minGPT's architecture with an untied head without bias, init N(0, 0.02)."""

    def __init__(self, config: TransformerConfig, spec: PriorSpec) -> None:
        super().__init__(config, spec)
        condition_tokens = max(1, spec.condition_size + spec.null_condition)
        tokens = spec.codebook_size
        if config.shared_vocabulary:
            tokens = max(tokens, condition_tokens)
        self.tok_emb = nn.Embedding(tokens, config.width)
        # The published models look their conditions up among the image codes.
        self.cond_emb = None if config.shared_vocabulary else nn.Embedding(condition_tokens, config.width)
        # The last code is never an input.
        positions = spec.condition_length + spec.cells - 1
        self.pos_emb = nn.Parameter(torch.empty(positions, config.width))
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, spec.codebook_size, bias=False)
        self.apply(_init)
        nn.init.normal_(self.pos_emb, std=0.02)

    def hidden(
        self, codes: Tensor, condition: Tensor | None, start: int | Tensor, cache: KVCache | None
    ) -> Tensor:
        """See `TransformerPrior.hidden`."""
        x = self.tok_emb(codes)
        if condition is not None:
            x = torch.cat(((self.cond_emb or self.tok_emb)(condition), x), 1)
        length = x.shape[1]
        places = start[:, None] if isinstance(start, Tensor) else slice(start, start + length)
        x = self.dropout(x + self.pos_emb[places])
        if condition is None:
            assert cache is not None
            mask = step_mask(start, cache.length)
        else:
            mask = prefix_mask(length, min(self.config.bidirectional_prefix, length), x.device)
        for index, block in enumerate(self.blocks):
            layer = cache.layers[index] if cache is not None else None
            if self.config.gradient_checkpointing and self.training:
                x = checkpoint(block, x, start, mask, layer, use_reentrant=False)
            else:
                x = block(x, start, mask, layer)
        return self.ln_f(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """See `TransformerPrior.logits`."""
        return self.head(hidden).float()


class _Block(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.ln1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, config.heads, bias=True, dropout=config.attention_dropout)
        self.ln2 = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 4 * width)
        self.proj = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(config.residual_dropout)

    def forward(
        self, x: Tensor, start: int | Tensor, mask: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        x = x + self.dropout(self.attn(self.ln1(x), start=start, mask=mask, cache=cache))
        return x + self.dropout(self.proj(F.gelu(self.fc(self.ln2(x)))))


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
