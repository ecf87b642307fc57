"""Out of memory: recognised whoever reports it, and said with what to change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from vqgan_cli.core.errors import MemoryLimitError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["in_batch", "is_out_of_memory", "memory_errors"]

T = TypeVar("T")

_SIGNS = re.compile(
    "out of memory"  # CUDA and MPS, their allocators and drivers
    "|can't allocate memory"  # torch's allocator of main memory
    "|bad_alloc"  # C++
    "|ALLOC_FAILED"  # cuBLAS, cuDNN
    # oneDNN gives no reason. What it cannot do by its nature fails before, at the primitive's descriptor.
    "|could not (create|execute) a primitive$"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or this machine has no memory left."""
    if isinstance(error, MemoryError):  # of Python and numpy
        return True
    return isinstance(error, RuntimeError) and _SIGNS.search(str(error)) is not None


@contextmanager
def memory_errors(doing: str, hint: str) -> Iterator[None]:
    """Turn what libraries raise when memory ends into the one message.

    Args:
        doing: completes "out of memory ...".
        hint: the flag to change.

    Raises:
        MemoryLimitError: memory ended inside.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(f"out of memory {doing}", hint=hint) from error


def in_batch(function: Callable[[Tensor], T], batch: Tensor, doing: str, otherwise: str) -> T:
    """``function`` of a batch; where memory does not suffice, the error says what batch it does suffice for.

    Args:
        function: of [B, ...], with nothing but its result to show for it.
        batch: [B, ...].
        doing: completes "out of memory ...".
        otherwise: what to change besides ``--batch-size``.

    Raises:
        MemoryLimitError: memory ended.
    """
    if (result := _tried(function, batch)) is not None:
        return result
    size = len(batch) // 2
    while size and _tried(function, batch[:size]) is None:
        size //= 2
    fits = f"--batch-size {size} fits; or" if size else "not even --batch-size 1 fits;"
    raise MemoryLimitError(f"out of memory {doing}", hint=f"{fits} try {otherwise}")


def _tried(function: Callable[[Tensor], T], batch: Tensor) -> T | None:
    """The result, or None where memory ended; by then it is free again, as the error, which held it, is gone."""
    try:
        return function(batch)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    if batch.is_cuda:
        import torch

        torch.cuda.empty_cache()
    return None
