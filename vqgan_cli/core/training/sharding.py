"""Weights, gradients and optimizer state divided among processes, for models too large for one of them (FSDP).

torch's ``fully_shard`` turns each parameter into a DTensor, of which every process holds a part; a block's weights are
whole only while it computes. What is saved and loaded is whole, so that files do not depend on the processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

__all__ = ["divided_like", "load_whole_state", "local", "shard", "whole", "whole_state"]


def shard(module: nn.Module, blocks: Iterable[nn.Module], device: torch.device, processes: int) -> None:
    """Divide a module that all processes hold alike; its blocks are gathered one at a time.

    Args:
        module: called through its ``forward`` from now on.
        blocks: parts of it.
        device: of this process.
        processes: how many there are.
    """
    mesh = init_device_mesh(device.type, (processes,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds; an undivided tensor as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor. Every process must call it for a divided one."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(state: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """All of a state dict on the CPU, one tensor at a time. Every process must call it.

    Args:
        state: of a divided module.
        keep: whether this process wants the result; else it is empty.
    """
    gathered = ((name, whole(tensor)) for name, tensor in state.items())
    return {name: tensor.detach().cpu() for name, tensor in gathered if keep}


def divided_like(value: Tensor, example: Tensor) -> Tensor:
    """A whole tensor, divided as the example is and in its memory layout."""
    if isinstance(example, DTensor):
        return distribute_tensor(value.to(example.device), example.device_mesh, example.placements)
    return torch.empty_like(example, dtype=value.dtype).copy_(value)


def load_whole_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a whole state dict into a module that may be divided."""
    mine = module.state_dict()
    module.load_state_dict(
        {name: divided_like(value, mine[name]) if name in mine else value for name, value in state.items()}
    )
