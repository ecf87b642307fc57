"""A step of drawing as a CUDA graph: some hundred small kernels, which a CPU launches more slowly than a GPU runs them,
become one launch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["RecordedStep", "recorded"]

Step = Callable[[Tensor, Tensor], Tensor]


class RecordedStep:
    """Replays what a step did, in the same memory.

    Args:
        step: (codes int64 [B], positions int64 [B]) on a GPU to logits [B, K]. Nothing in it may wait for the device,
            and its shapes may depend on B alone. It is called three times, so twice must be as good as once.
        codes: of the step to be made next.
        positions: of these codes.
    """

    def __init__(self, step: Step, codes: Tensor, positions: Tensor) -> None:
        self._codes, self._positions = codes.clone(), positions.clone()
        # Libraries choose and allocate what they need at the first calls, which cannot be recorded.
        aside = torch.cuda.Stream(codes.device)
        aside.wait_stream(torch.cuda.current_stream(codes.device))
        with torch.cuda.stream(aside):
            for _ in range(2):
                step(self._codes, self._positions)
        torch.cuda.current_stream(codes.device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Threads that write pictures may use the device meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._logits = step(self._codes, self._positions)

    def __call__(self, codes: Tensor, positions: Tensor) -> Tensor:
        """The step; its logits are good until the next call."""
        self._codes.copy_(codes)
        self._positions.copy_(positions)
        self._graph.replay()
        return self._logits


def recorded(step: Step, codes: Tensor, positions: Tensor) -> Step:
    """A `RecordedStep`, or the step itself with a warning where it cannot be recorded, such as for want of memory."""
    try:
        return RecordedStep(step, codes, positions)
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        warnings.warn(f"drawing goes on without a CUDA graph: {reason}", RuntimeWarning, stacklevel=2)
        return step
