"""Codebook statistics against closed forms."""

from __future__ import annotations

import pytest
import torch

from vqgan_cli.core.metrics.codebook import CodebookUsage


def test_uniform_codes() -> None:
    """Oracle: K codes, all as frequent, have perplexity K and leave none unused."""
    usage = CodebookUsage(512)
    usage.update(torch.arange(512).repeat(3).view(6, 16, 16))
    assert usage.perplexity == pytest.approx(512)
    assert usage.usage == 1
    assert usage.never_used == 0


def test_a_single_code() -> None:
    """Oracle: a distribution without entropy has perplexity 1."""
    usage = CodebookUsage(512)
    usage.update(torch.full((2, 4, 4), 7))
    assert usage.perplexity == 1
    assert usage.usage == 1 / 512
    assert usage.never_used == 511


def test_unequal_codes_in_two_processes() -> None:
    """Oracle: shares 1/2, 1/4, 1/4 have entropy 1.5 ln 2; the counts of processes add."""
    first, second = CodebookUsage(8), CodebookUsage(8)
    first.update(torch.tensor([0, 0, 1]))
    second.update(torch.tensor([2]))
    first.counts += second.counts
    assert first.perplexity == pytest.approx(2**1.5)
    assert first.usage == 3 / 8


def test_before_the_first_update() -> None:
    assert CodebookUsage(8).perplexity == 0
    assert CodebookUsage(8).usage == 0


def test_code_outside_the_codebook() -> None:
    with pytest.raises(ValueError, match="code 8 is outside a codebook of 8"):
        CodebookUsage(8).update(torch.tensor([3, 8]))
