"""From arrays of files to what tokenizers take."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vqgan_cli.core.data.tensors import to_batch, to_tensor

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda: RNG.integers(0, 256, (3, 6, 4, 3), np.uint8), id="pictures"),
        pytest.param(lambda: RNG.integers(0, 900, (3, 6, 4), np.uint16), id="label maps"),
        pytest.param(lambda: RNG.random((3, 6, 4), np.float32), id="depth"),
    ],
)
def test_a_batch_is_its_images_together(draw: Callable[[], np.ndarray]) -> None:
    """Oracle: each image made a tensor by itself, and then stacked."""
    arrays = draw()
    expected = torch.stack([to_tensor(each) for each in arrays])
    batch = to_batch(arrays)
    assert batch.dtype == expected.dtype
    assert torch.equal(batch, expected)


def test_pictures_are_not_copied_and_lie_in_memory_as_convolutions_like_them() -> None:
    pictures = RNG.integers(0, 256, (2, 8, 6, 3), np.uint8)
    batch = to_batch(pictures)
    assert batch.data_ptr() == pictures.ctypes.data
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch.float().is_contiguous(memory_format=torch.channels_last)
