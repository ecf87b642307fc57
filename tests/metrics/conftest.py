"""torch-fidelity, whose own computations are oracles."""

from __future__ import annotations

from types import ModuleType

import pytest

from vqgan_cli.core.models.torchvision_compat import import_torch_fidelity


@pytest.fixture(scope="session")
def torch_fidelity() -> ModuleType:
    try:
        return import_torch_fidelity()
    except ModuleNotFoundError:
        pytest.skip("torch-fidelity is not installed: pip install 'vqgan[eval]'")
