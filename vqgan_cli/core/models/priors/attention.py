"""Causal self-attention with one projection for queries, keys and values, and an optional cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["KVCache", "LayerCache", "RMSNorm", "SelfAttention", "prefix_mask", "rotate", "step_mask"]


@dataclass(frozen=True)
class LayerCache:
    """Keys and values of one layer, [B, heads, T, Dh], written in place.

    Attributes:
        rows: int64 [B], the rows of a larger batch whose keys and values are written; None: those of all.
    """

    keys: Tensor
    values: Tensor
    rows: Tensor | None = None

    def write(self, keys: Tensor, values: Tensor, place: int | Tensor) -> None:
        """Store keys and values [B, heads, t, Dh] from position ``place`` on; a tensor [B] with t = 1 places each
        row on its own.
        """
        if self.rows is not None:
            keys, values = keys[self.rows], values[self.rows]
        if isinstance(place, int):
            self.keys[:, :, place : place + keys.shape[2]] = keys
            self.values[:, :, place : place + keys.shape[2]] = values
        else:
            at = place[:, None, None, None].expand_as(keys)
            self.keys.scatter_(2, at, keys)
            self.values.scatter_(2, at, values)


class KVCache:
    """Keys and values of all layers, [B, heads, T, Dh] each."""

    def __init__(self, layers: list[LayerCache]) -> None:
        self.layers = layers
        self.length = layers[0].keys.shape[2]

    @classmethod
    def empty(cls, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> Self:
        """Room for them, allocated once.

        Args:
            layers: number of layers.
            shape: [B, heads, T, Dh].
            like: a tensor of the wanted type and device.
        """
        # Zeros, not what memory held: masked positions still pass through the product with the values.
        return cls([LayerCache(like.new_zeros(shape), like.new_zeros(shape)) for _ in range(layers)])

    @classmethod
    def gathered(cls, parts: Sequence[tuple[KVCache, Tensor]]) -> Self:
        """Copies of the chosen rows, int64, of caches of one length."""
        return cls(
            [
                LayerCache(
                    torch.cat([cache.layers[layer].keys[rows] for cache, rows in parts]),
                    torch.cat([cache.layers[layer].values[rows] for cache, rows in parts]),
                )
                for layer in range(len(parts[0][0].layers))
            ]
        )

    def for_rows(self, rows: Tensor) -> KVCache:
        """The same memory, for a pass of a larger batch of which ``rows`` are kept."""
        return KVCache([replace(layer, rows=rows) for layer in self.layers])


class RMSNorm(nn.Module):
    """Root mean square norm in float32, cast back, then scaled (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return y.type_as(x) * self.weight


def rotate(x: Tensor, rotary: Tensor) -> Tensor:
    """Turn adjacent pairs of [B, heads, T, Dh] by angles given as cos and sin, [T or B x 1 x T, Dh/2, 2]; float32."""
    pairs = x.float().unflatten(-1, (-1, 2))
    cos, sin = rotary.unbind(-1)
    real, imaginary = pairs.unbind(-1)
    turned = torch.stack((real * cos - imaginary * sin, imaginary * cos + real * sin), -1)
    return turned.flatten(-2).type_as(x)


def prefix_mask(length: int, prefix: int, device: torch.device) -> Tensor | None:
    """Causal mask, bool [T, T], in which the first ``prefix`` tokens see one another; None: plainly causal."""
    if prefix <= 1:
        return None
    mask = torch.ones(length, length, dtype=torch.bool, device=device).tril_()
    mask[:prefix, :prefix] = True
    return mask


class SelfAttention(nn.Module):
    """Multi-head attention over [B, T, D].

    Args:
        width: D.
        heads: number of heads.
        bias: whether the projections have one.
        dropout: of the attention weights.
        qk_norm: RMSNorm of queries and keys per head.
    """

    def __init__(
        self, width: int, heads: int, *, bias: bool, dropout: float = 0.0, qk_norm: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width, bias=bias)
        self.q_norm = RMSNorm(width // heads) if qk_norm else nn.Identity()
        self.k_norm = RMSNorm(width // heads) if qk_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        *,
        start: int | Tensor = 0,
        mask: Tensor | None = None,
        rotary: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            x: [B, T, D].
            start: sequence position of the first token; above 0 (or a tensor) only with T = 1 and a cache.
            mask: bool, True where a query may look; None: causal in a sequence, everything so far in a step.
            rotary: cos and sin of the positions, or None.
            cache: this layer's keys and values.
        """
        batch, length, width = x.shape
        q, k, v = (
            self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )  # [B, heads, T, Dh]
        q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        if cache is not None:
            cache.write(k.type_as(cache.keys), v.type_as(cache.values), start)
        stepping = isinstance(start, Tensor) or start > 0
        if stepping:
            assert cache is not None
            end = cache.keys.shape[2] if isinstance(start, Tensor) else start + 1
            k, v = cache.keys[:, :, :end], cache.values[:, :, :end]
            q = q.type_as(k)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and not stepping,
        )
        y = y.transpose(1, 2).reshape(batch, length, width)
        return self.proj(y.type_as(x) if stepping else y)


def step_mask(start: int | Tensor, length: int) -> Tensor | None:
    """Mask of a step in a cache of ``length``: bool [B, 1, 1, T] where each row has a position of its own."""
    if isinstance(start, int):
        return None
    return (torch.arange(length, device=start.device) <= start[:, None])[:, None, None]
