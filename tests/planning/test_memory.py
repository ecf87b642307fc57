"""Memory of training on paper, against counted tensors and arithmetic written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vqgan_cli.core.models.priors import PriorSpec, build_prior
from vqgan_cli.core.planning.memory import _KEPT, memory_needs, memory_rows
from vqgan_cli.core.presets import resolve

IMAGENET = PriorSpec(16384, (16, 16), "class", 1000, null_condition=True)


def saved_bytes(kind: str, layers: int, *, autocast: bool, recomputed: bool) -> int:
    """What autograd keeps for the backward pass of 4 images of 8x8 codes, each memory once; weights and, where they are
    kept, their copies in bf16 are left out.
    """
    settings = [
        f"transformer.{name}={value}"
        for name, value in {
            "kind": kind, "layers": layers, "width": 128, "heads": 4, "hidden_multiple": 1,
            "gradient_checkpointing": str(recomputed).lower(), "embedding_dropout": 0, "residual_dropout": 0,
        }.items()
    ]  # fmt: skip
    prior = build_prior(resolve("demo", settings).transformer, PriorSpec(32, (8, 8), "class", 10)).train()
    own = {p.untyped_storage().data_ptr() for p in prior.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    codes = torch.randint(0, 32, (4, 64), generator=torch.Generator().manual_seed(0))
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        logits = prior(codes[:, :-1], torch.zeros(4, 1, dtype=torch.int64))
        F.cross_entropy(logits.flatten(0, 1), codes.flatten())
    copied = sum(p.numel() for block in prior.blocks for p in block.parameters() if p.ndim == 2)  # type: ignore[union-attr]
    return sum(kept.values()) - (2 * copied if autocast and not recomputed else 0)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_activations_are_what_autograd_keeps(kind: str, autocast: bool) -> None:
    """Oracle: the tensors saved by four blocks more, kept and recomputed, on the CPU."""
    stream = 4 * 64 * 128  # numbers in the residual stream
    for recomputed, expected in ((False, _KEPT[kind][autocast]), (True, 4)):
        few, many = (saved_bytes(kind, n, autocast=autocast, recomputed=recomputed) for n in (2, 6))
        assert (many - few) / 4 / stream == pytest.approx(expected, rel=0.02)


def test_the_published_size_written_out() -> None:
    """Closed form: 48 blocks of 12 d^2 + 13 d parameters, d = 1536; tables of 16,384 codes, 1,001 classes and 256
    places; the last norm; the head without a bias. AdamW in float32 takes 16 bytes of each.
    """
    d, batch, codes = 1536, 16, 256
    block = 12 * d * d + 13 * d
    rest = (16384 + 1001 + 256) * d + 2 * d + 16384 * d
    whole = 48 * block + rest
    settings = [f"train_transformer.batch_size={batch}", "transformer.gradient_checkpointing=true"]
    needs = memory_needs(resolve("imagenet", settings), IMAGENET)
    found = {(need.gpus, need.shared, need.recomputed): need for need in needs}
    stream, logits = batch * codes * d, 14 * batch * codes * 16384
    for (gpus, shared, recomputed), need in found.items():
        part = whole / 8 if shared else whole
        gathered = (4 * rest, 4 * block) if shared else (0, 0)
        assert need.optimizer == 8 * part
        assert need.weights == 4 * part + 2 * whole + gathered[0] + 2 * gathered[1]
        assert need.gradients == 4 * part + (4 * whole if gpus == 8 and not shared else 0) + sum(gathered)
        assert need.activations == logits + stream * (48 * 4 + 36 if recomputed else 48 * 36)
        assert need.total == need.weights + need.gradients + need.optimizer + need.activations
    assert list(found) == [(n, s, r) for n, s in ((1, False), (8, False), (8, True)) for r in (False, True)]


def test_an_average_is_one_more_copy() -> None:
    plain, averaged = (
        memory_needs(resolve("imagenet", [f"train_transformer.ema_decay={decay}"]), IMAGENET)[0]
        for decay in (0, 0.999)
    )
    assert averaged.weights - plain.weights == plain.optimizer / 2


def test_rows_are_for_people() -> None:
    rows = memory_rows(memory_needs(resolve("imagenet", []), IMAGENET))
    assert [name for name, _ in rows] == [
        "1 GPU",
        "1 GPU, recomputed",
        "8 GPUs",
        "8 GPUs, recomputed",
        "8 GPUs, shared",
        "8 GPUs, shared, recomputed",
    ]


def test_no_formula_for_convolutions() -> None:
    assert memory_needs(resolve("imagenet", ["transformer.kind=pixelcnn"]), IMAGENET) == []
