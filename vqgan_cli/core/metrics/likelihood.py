"""How likely a prior finds the codes of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vqgan_cli.core.models.priors import Prior, sequence_order

__all__ = ["code_nats"]


@torch.inference_mode()
def code_nats(prior: Prior, codes: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """The negative log-likelihood of each code, given the condition and the codes before it in the prior's order.

    Args:
        prior: in evaluation mode, on the device of the codes.
        codes: int64 [B, h, w].
        condition: int64 [B, C], see `Prior`.

    Returns:
        Nats, float32 [B, h, w], each at the cell of its code; and whether that code was the likeliest, bool [B, h, w].

    Examples:
        >>> import torch
        >>> from vqgan_cli import code_nats, load_transformer, open_codes
        >>> model, codes = load_transformer("runs/my-transformer"), open_codes("codes.npy")
        >>> grids = torch.stack([torch.from_numpy(codes[n]) for n in range(4)])
        >>> nats, likeliest = code_nats(model.prior, grids, torch.from_numpy(codes.labels[:4])[:, None])
        >>> nats.shape, bool((nats > 0).all())
        (torch.Size([4, 8, 8]), True)
    """
    order = torch.from_numpy(sequence_order(prior.config.order, *codes.shape[1:])).to(codes.device)
    sequence = codes.flatten(1)[:, order]  # [B, N]
    logits = prior(sequence[:, :-1], condition).float()  # [B, N, K]
    nats = F.cross_entropy(logits.flatten(0, 1), sequence.flatten(), reduction="none").view_as(sequence)
    cells = order.argsort()
    likeliest = logits.argmax(-1) == sequence
    return nats[:, cells].view(codes.shape), likeliest[:, cells].view(codes.shape)
