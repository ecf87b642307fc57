"""Transformers the straightforward way, with the weights of ours: minGPT as in taming-transformers, and LlamaGen's.

Three projections, attention written out with its mask, logits at all positions. Cached sampling appends to keys and
values by concatenation (GPT), or attends over a cache of the full length at every step (Llama).
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqgan_cli.core.models.priors.attention import SelfAttention
from vqgan_cli.core.models.priors.gpt import GPT
from vqgan_cli.core.models.priors.llama import Llama

__all__ = ["PlainGPT", "PlainLlama", "plain_sample", "plain_transformer", "plain_window_logits"]

Past = list[tuple[Tensor, Tensor]]


class _Attention(nn.Module):
    """Queries, keys and values by three layers, split from the fused one."""

    def __init__(self, fused: SelfAttention) -> None:
        super().__init__()
        self.heads = fused.heads
        width = fused.proj.in_features
        self.query, self.key, self.value = (
            nn.Linear(width, width, bias=fused.qkv.bias is not None) for _ in range(3)
        )
        for index, layer in enumerate((self.query, self.key, self.value)):
            rows = slice(index * width, (index + 1) * width)
            layer.weight.data = fused.qkv.weight.data[rows].clone()
            if fused.qkv.bias is not None:
                layer.bias.data = fused.qkv.bias.data[rows].clone()
        self.proj = copy.deepcopy(fused.proj)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, heads, T, Dh] each."""
        batch, length, width = x.shape
        q, k, v = (
            layer(x).view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention over keys where ``mask`` is not 0."""
        weights = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        if mask is not None:
            weights = weights.masked_fill(mask == 0, float("-inf"))
        y = F.softmax(weights, dim=-1) @ v
        batch, _, length, _ = y.shape
        return self.proj(y.transpose(1, 2).contiguous().view(batch, length, -1))


class PlainTransformer(nn.Module):
    """What both have: all logits at once, and sampling with what is known of the past."""

    @abstractmethod
    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Logits [B, C + P, K] at all positions of codes [B, P] after a condition [B, C]."""

    @abstractmethod
    def begin(self, condition: Tensor, steps: int) -> Tensor:
        """Logits [B, K] of the first code after a condition [B, C]; up to ``steps`` codes will follow."""

    @abstractmethod
    def advance(self, codes: Tensor, place: int) -> Tensor:
        """Logits [B, K] after the code [B] at index ``place``."""


class PlainGPT(PlainTransformer):
    """minGPT as published with VQGAN."""

    def __init__(self, prior: GPT) -> None:
        super().__init__()
        self.tok_emb, self.cond_emb = copy.deepcopy(prior.tok_emb), copy.deepcopy(prior.cond_emb)
        self.pos_emb = nn.Parameter(prior.pos_emb.data.clone())
        self.blocks = nn.ModuleList(_GPTBlock(block) for block in prior.blocks)
        self.ln_f, self.head = copy.deepcopy(prior.ln_f), copy.deepcopy(prior.head)
        length = len(prior.pos_emb)
        mask = torch.tril(torch.ones(length, length))
        prefix = prior.config.bidirectional_prefix
        mask[:prefix, :prefix] = 1
        self.register_buffer("mask", mask.view(1, 1, length, length), persistent=False)
        self._past: Past = []

    def _embedded(self, codes: Tensor, condition: Tensor) -> Tensor:
        return torch.cat(((self.cond_emb or self.tok_emb)(condition), self.tok_emb(codes)), 1)

    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """See `PlainTransformer.forward`."""
        x = self._embedded(codes, condition)
        length = x.shape[1]
        x = x + self.pos_emb[:length]
        mask = self.get_buffer("mask")[:, :, :length, :length]
        for block in self.blocks:
            x, _ = block(x, mask, None)
        return self.head(self.ln_f(x))

    def begin(self, condition: Tensor, steps: int) -> Tensor:
        """See `PlainTransformer.begin`."""
        self._past = []
        x = self._embedded(condition[:, :0], condition)
        length = x.shape[1]
        x = x + self.pos_emb[:length]
        mask = self.get_buffer("mask")[:, :, :length, :length]
        for block in self.blocks:
            x, present = block(x, mask, None)
            self._past.append(present)
        self._start = length
        return self.head(self.ln_f(x))[:, -1]

    def advance(self, codes: Tensor, place: int) -> Tensor:
        """See `PlainTransformer.advance`."""
        x = self.tok_emb(codes[:, None]) + self.pos_emb[self._start + place]
        for index, block in enumerate(self.blocks):
            x, self._past[index] = block(x, None, self._past[index])
        return self.head(self.ln_f(x))[:, -1]


class _GPTBlock(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.attn = _Attention(block.attn)
        self.ln1, self.ln2, self.fc, self.proj = (
            copy.deepcopy(each) for each in (block.ln1, block.ln2, block.fc, block.proj)
        )

    def forward(
        self, x: Tensor, mask: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = self.attn.split(self.ln1(x))
        if past is not None:
            k, v = torch.cat((past[0], k), dim=-2), torch.cat((past[1], v), dim=-2)
        x = x + self.attn.attend(q, k, v, mask)
        return x + self.proj(F.gelu(self.fc(self.ln2(x)))), (k, v)


class PlainLlama(PlainTransformer):
    """LlamaGen's transformer."""

    def __init__(self, prior: Llama) -> None:
        super().__init__()
        self.cond_emb, self.tok_emb = copy.deepcopy(prior.cond_emb), copy.deepcopy(prior.tok_emb)
        self.blocks = nn.ModuleList(_LlamaBlock(block) for block in prior.blocks)
        self.norm, self.head = _RMSNorm(prior.norm), copy.deepcopy(prior.head)
        self.register_buffer("rotary", prior.rotary.clone(), persistent=False)
        self._prefix = prior.config.bidirectional_prefix
        self._caches: Past = []

    def _mask(self, length: int, device: torch.device) -> Tensor:
        mask = torch.tril(torch.ones(length, length, device=device))
        mask[: self._prefix, : self._prefix] = 1
        return mask

    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """See `PlainTransformer.forward`."""
        x = torch.cat((self.cond_emb(condition), self.tok_emb(codes)), 1)
        length = x.shape[1]
        mask = self._mask(length, x.device)
        for block in self.blocks:
            x = block(x, self.get_buffer("rotary")[:length], mask, None, 0)
        return self.head(self.norm(x)).float()

    def begin(self, condition: Tensor, steps: int) -> Tensor:
        """See `PlainTransformer.begin`."""
        batch, self._start = condition.shape
        like = self.head.weight
        first = self.blocks[0]
        assert isinstance(first, _LlamaBlock)
        shape = (batch, first.attn.heads, self._start + steps, like.shape[1] // first.attn.heads)
        self._caches = [(like.new_zeros(shape), like.new_zeros(shape)) for _ in self.blocks]
        self._full = self._mask(shape[2], like.device)
        return self._run(self.cond_emb(condition), 0)

    def advance(self, codes: Tensor, place: int) -> Tensor:
        """See `PlainTransformer.advance`."""
        return self._run(self.tok_emb(codes[:, None]), self._start + place)

    def _run(self, x: Tensor, start: int) -> Tensor:
        end = start + x.shape[1]
        mask, rotary = self._full[start:end], self.get_buffer("rotary")[start:end]
        for block, cache in zip(self.blocks, self._caches, strict=True):
            x = block(x, rotary, mask, cache, start)
        return self.head(self.norm(x)).float()[:, -1]


class _RMSNorm(nn.Module):
    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.eps = float(norm.eps)
        self.weight = nn.Parameter(norm.weight.data.clone())

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(torch.mean(y * y, dim=-1, keepdim=True) + self.eps)
        return y.type_as(x) * self.weight


class _LlamaBlock(nn.Module):
    def __init__(self, block: Any) -> None:
        super().__init__()
        self.attn = _Attention(block.attn)
        self.q_norm, self.k_norm = (
            _RMSNorm(each) if hasattr(each, "weight") else nn.Identity()
            for each in (block.attn.q_norm, block.attn.k_norm)
        )
        self.attention_norm, self.ffn_norm = _RMSNorm(block.attention_norm), _RMSNorm(block.ffn_norm)
        self.w1, self.w2, self.w3 = (copy.deepcopy(each) for each in (block.w1, block.w2, block.w3))

    def forward(
        self, x: Tensor, rotary: Tensor, mask: Tensor, cache: tuple[Tensor, Tensor] | None, start: int
    ) -> Tensor:
        q, k, v = self.attn.split(self.attention_norm(x))
        q, k = _turned(self.q_norm(q), rotary), _turned(self.k_norm(k), rotary)
        if cache is not None:
            keys, values = cache
            keys[:, :, start : start + k.shape[2]] = k
            values[:, :, start : start + v.shape[2]] = v
            k, v = keys, values
        x = x + self.attn.attend(q, k, v, mask)
        y = self.ffn_norm(x)
        return x + self.w2(F.silu(self.w1(y)) * self.w3(y))


def _turned(x: Tensor, rotary: Tensor) -> Tensor:
    pairs = x.float().reshape(*x.shape[:-1], -1, 2)
    cos, sin = rotary[..., 0], rotary[..., 1]
    return (
        torch.stack(
            (pairs[..., 0] * cos - pairs[..., 1] * sin, pairs[..., 1] * cos + pairs[..., 0] * sin), dim=-1
        )
        .flatten(3)
        .type_as(x)
    )


def plain_transformer(prior: nn.Module) -> PlainGPT | PlainLlama | None:
    """The straightforward form of a prior; None if there is none."""
    if isinstance(prior, GPT):
        return PlainGPT(prior).eval()
    if isinstance(prior, Llama):
        return PlainLlama(prior).eval()
    return None


@torch.no_grad()
def plain_sample(
    model: PlainTransformer, condition: Tensor, count: int, *, null: int | None, scale: float, top_k: int
) -> Tensor:
    """Codes int64 [B, count] with a cache.

    Args:
        model: draws them.
        condition: [B, C].
        count: number of codes.
        null: token that stands for no class, for guidance; None without.
        scale: of guidance.
        top_k: draw among so many codes; 0: all.
    """
    if null is not None:
        condition = torch.cat((condition, torch.full_like(condition, null)))
    logits = model.begin(condition, count)
    drawn: list[Tensor] = []
    for place in range(count):
        if null is not None:
            with_class, without = torch.split(logits, len(logits) // 2, dim=0)
            logits = without + (with_class - without) * scale
        code = draw_code(logits, top_k)
        drawn.append(code)
        if place + 1 < count:
            logits = model.advance(torch.cat((code, code)) if null is not None else code, place)
    return torch.stack(drawn, 1)


def draw_code(logits: Tensor, top_k: int) -> Tensor:
    """A code per row of logits [B, K]."""
    if 0 < top_k < logits.shape[-1]:
        values, _ = torch.topk(logits, top_k)
        logits = logits.masked_fill(logits < values[:, [-1]], -float("inf"))
    return torch.multinomial(F.softmax(logits, dim=-1), num_samples=1)[:, 0]


@torch.no_grad()
def plain_window_logits(
    model: PlainTransformer, codes: Tensor, condition: Tensor, row: int, column: int, window: tuple[int, int]
) -> Tensor:
    """Logits [B, K] of one cell of a large grid: a full pass over the whole window around it.

    Args:
        model: predicts.
        codes: int64 [B, H, W], those not drawn yet of any value.
        condition: [B, C] tokens; with codes of maps [B, H, W], of which the same window is taken.
        row: of the cell.
        column: of the cell.
        window: cells [h, w] of the training grid.
    """
    height, width = window
    top = min(max(0, row - height // 2), codes.shape[1] - height)
    left = min(max(0, column - width // 2), codes.shape[2] - width)
    patch = codes[:, top : top + height, left : left + width].reshape(len(codes), -1)
    if condition.ndim == 3:
        condition = condition[:, top : top + height, left : left + width].reshape(len(codes), -1)
    logits = model(patch[:, :-1], condition)[:, condition.shape[1] - 1 :]
    logits = logits.reshape(len(codes), height, width, -1)
    return logits[:, row - top, column - left]
