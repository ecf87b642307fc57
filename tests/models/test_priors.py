"""Priors against the original implementations, and against themselves with a cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.golden import gpt_prior, llama_prior, state_dict
from vqgan_cli.core.config import TransformerConfig
from vqgan_cli.core.errors import ConfigError
from vqgan_cli.core.models.priors import PRIORS, Prior, PriorSpec, build_prior
from vqgan_cli.core.models.priors.transformer import TransformerPrior
from vqgan_cli.core.presets import resolve

SPECS = {
    "class": PriorSpec(20, (3, 4), "class", 5, null_condition=True),
    "none": PriorSpec(20, (3, 4)),
    "codes": PriorSpec(20, (3, 4), "codes", 7),
}


TRANSFORMERS = ("gpt", "llama")
CONVOLUTIONAL = ("pixelcnn", "pixelsnail")
KINDS = tuple(PRIORS)


def tiny(kind: str, condition: str | PriorSpec, **options: object) -> Prior:
    spec = SPECS[condition] if isinstance(condition, str) else condition
    torch.manual_seed(0)
    config = TransformerConfig(kind=kind, layers=2, heads=2, width=32, **options)  # type: ignore[arg-type]
    prior = build_prior(config, spec).eval()
    # Logits far from uniform, and no gate shut: the sums of convolutions are longer than those of linear layers.
    std = 0.1 if kind in CONVOLUTIONAL else 0.3
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return prior


def inputs(prior: Prior, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    spec = prior.spec
    codes = torch.randint(spec.codebook_size, (batch, spec.cells), generator=generator)
    shape = (batch, spec.condition_length)
    return codes, torch.randint(max(1, spec.condition_size), shape, generator=generator)


@pytest.mark.parametrize("name", ["class", "unconditional"])
def test_gpt_equals_the_original(name: str, shared: Path) -> None:
    """Oracle: logits recorded from the original implementation, within 1e-4."""
    folder = shared / "golden/taming"
    recorded = load_file(folder / f"{name}_io.safetensors")
    weights = state_dict(folder / f"{name}.ckpt")
    weights = {k.removeprefix("transformer."): v for k, v in weights.items() if k.startswith("transformer.")}
    prior = gpt_prior(
        weights, PriorSpec(96, (16, 16), name if name == "class" else "none", 10 * (name == "class"))
    )
    condition = recorded.get("classes", torch.zeros(2, 1, dtype=torch.int64))
    with torch.inference_mode():
        logits = prior(recorded["codes"][:, :-1], condition)
    assert torch.allclose(logits, recorded["logits"], atol=1e-4, rtol=0)
    if "loss" in recorded:
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), recorded["codes"].flatten())
        assert loss.item() == pytest.approx(recorded["loss"].item(), abs=1e-4)


def test_gpt_with_condition_codes_equals_the_original(shared: Path) -> None:
    """Oracle: logits recorded with the codes of a segmentation map as condition, within 1e-4."""
    folder = shared / "golden/taming"
    recorded = load_file(folder / "segcond_io.safetensors")
    weights = state_dict(folder / "segcond.ckpt")
    weights = {k.removeprefix("transformer."): v for k, v in weights.items() if k.startswith("transformer.")}
    prior = gpt_prior(weights, PriorSpec(96, (16, 16), "codes", 96))
    with torch.inference_mode():
        logits = prior(recorded["codes"][:, :-1], recorded["cond_codes"])
    assert torch.allclose(logits, recorded["logits"], atol=1e-4, rtol=0)


def test_llama_equals_the_original(shared: Path) -> None:
    """Oracle: teacher-forced logits recorded from LlamaGen, within 1e-4."""
    recorded = load_file(shared / "golden/llamagen/gpt_io.safetensors")
    prior = llama_prior(shared / "golden/llamagen/gpt.pt")
    with torch.inference_mode():
        logits = prior(recorded["codes"][:, :-1], recorded["classes"][:, None])
    assert torch.allclose(logits, recorded["logits"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("condition", SPECS)
def test_one_code_at_a_time_equals_the_whole_sequence(kind: str, condition: str) -> None:
    """Invariant: teacher-forced logits are the same one code at a time."""
    prior = tiny(kind, condition, bidirectional_prefix=12 if condition == "codes" else 0)
    codes, given = inputs(prior)
    with torch.inference_mode():
        expected = prior(codes[:, :-1], given)
        sequences = prior.sequences(given, prior.spec.cells)
        found = [sequences.prefix(codes[:, :0], torch.zeros(3, dtype=torch.int64))]
        found += [sequences.step(codes[:, n], n) for n in range(prior.spec.cells - 1)]
    assert torch.allclose(torch.stack(found, 1), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_prefixes_of_different_lengths_share_a_batch(kind: str) -> None:
    """Invariant: padding on the right changes nothing, neither in the prefix nor in the steps after it."""
    prior = tiny(kind, "class")
    codes, given = inputs(prior)
    lengths = torch.tensor([0, 4, 7])
    with torch.inference_mode():
        expected = prior(codes[:, :-1], given)
        sequences = prior.sequences(given, prior.spec.cells)
        first = sequences.prefix(codes[:, :7], lengths)
        second = sequences.step(codes[torch.arange(3), lengths], lengths)
    rows = torch.arange(3)
    assert torch.allclose(first, expected[rows, lengths], atol=1e-5)
    assert torch.allclose(second, expected[rows, lengths + 1], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_later_codes_do_not_change_earlier_logits(kind: str) -> None:
    """Invariant: causality; every code changes all logits after it and none before."""
    order = "spiral-out" if kind in TRANSFORMERS else "row"
    prior = tiny(kind, "class", order=order, qk_norm=True)
    codes, given = inputs(prior)
    with torch.inference_mode():
        before = prior(codes[:, :-1], given)
        for place in range(prior.spec.cells - 1):
            changed = codes.clone()
            changed[:, place] = (codes[:, place] + 1) % 20
            differs = (prior(changed[:, :-1], given) - before).abs().amax((0, 2)) > 1e-6
            assert differs.tolist() == [later > place for later in range(prior.spec.cells)]


@pytest.mark.parametrize(("layers", "kernel_size"), [(1, 5), (2, 3), (3, 3)])
def test_pixelcnn_sees_a_rectangle_without_a_blind_spot(layers: int, kernel_size: int) -> None:
    """Oracle: closed form. Half a kernel further in each layer, from the row above to both sides, and to the left."""
    height, width, row, column = 7, 9, 5, 4
    spec = PriorSpec(20, (height, width))
    prior = build_prior(
        TransformerConfig(kind="pixelcnn", layers=layers, heads=1, width=32, kernel_size=kernel_size), spec
    ).eval()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    embeddings: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, given: object, result: torch.Tensor) -> None:
        result.retain_grad()
        embeddings.append(result)

    prior.tok_emb.register_forward_hook(keep)
    codes, given = inputs(prior, batch=1)
    prior(codes[:, :-1], given)[0, row * width + column].square().sum().backward()
    gradient = embeddings[0].grad
    assert gradient is not None
    reach = layers * (kernel_size // 2)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    above = (rows < row) & (rows >= row - 1 - reach) & ((columns - column).abs() <= reach)
    before = (rows == row) & (columns < column) & (columns >= column - 1 - reach)
    assert torch.equal(gradient[0].abs().sum(-1) > 0, above | before)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision(kind: str) -> None:
    """Oracle: the logits in float32, as near as eight bits of mantissa allow; angles of positions are not rounded."""
    prior = tiny(kind, "class")
    if kind in TRANSFORMERS:
        for parameter in prior.parameters():
            parameter.data.mul_(0.3)
    codes, given = inputs(prior)
    with torch.inference_mode():
        expected = prior(codes[:, :-1], given)
        prior.to(torch.bfloat16)
        found = prior(codes[:, :-1], given)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    if kind == "llama":
        assert prior.rotary.dtype == torch.float32
    if isinstance(prior, TransformerPrior):
        # Of shapes alone, as on any device that is no CPU.
        kept = [prior.to(device).new_cache(1, 2).layers[0].keys.dtype for device in ("cpu", "meta")]
        assert kept == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_steps_in_half_precision(kind: str) -> None:
    """Oracle: the logits of one pass in float32; what is kept in float32 makes steps no less exact than one pass."""
    prior = tiny(kind, "class")
    codes, given = inputs(prior)
    with torch.inference_mode():
        expected = prior(codes[:, :-1], given)
        whole = prior.to(torch.bfloat16)(codes[:, :-1], given)
        sequences = prior.sequences(given, codes.shape[1])
        logits = [sequences.prefix(codes[:, :0], torch.zeros(len(codes), dtype=torch.int64))]
        logits += [sequences.step(codes[:, place], place) for place in range(codes.shape[1] - 1)]
    found = torch.stack(logits, 1)
    assert (found - expected).norm() < 1.1 * (whole - expected).norm()


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_checkpointing_changes_no_gradient(kind: str) -> None:
    """Invariant: recomputed activations give the same gradients."""
    gradients = []
    for flag in (False, True):
        prior = tiny(kind, "class", gradient_checkpointing=flag).train()
        codes, given = inputs(prior)
        prior(codes[:, :-1], given).square().mean().backward()
        gradients.append([parameter.grad for parameter in prior.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'lama' is not one of gpt, .*did you mean 'llama'"):
        resolve("demo", ["transformer.kind=lama"])


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_convolutions_have_one_order(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"transformer: order spiral-in: {kind} draws row by row"):
        resolve("demo", [f"transformer.kind={kind}", "transformer.order=spiral-in"])
    with pytest.raises(ConfigError, match="kernel_size 4 is not odd"):
        resolve("demo", [f"transformer.kind={kind}", "transformer.kernel_size=4"])


@pytest.mark.parametrize("prefix", [0, 12])
def test_a_bidirectional_prefix_reaches_within_the_condition_only(prefix: int) -> None:
    """Invariant: with it the first condition token sees the last one; no condition token ever sees an image code."""
    prior = tiny("gpt", "codes", bidirectional_prefix=prefix)
    assert isinstance(prior, TransformerPrior)
    codes, condition = inputs(prior)
    changed = condition.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 7
    plain = prior.hidden(codes[:, :-1], condition, 0, None)[:, :12]
    sees_back = prior.hidden(codes[:, :-1], changed, 0, None)[:, 0] != plain[:, 0]
    assert bool(sees_back.any()) == (prefix > 0)
    assert torch.equal(prior.hidden((codes[:, :-1] + 1) % 20, condition, 0, None)[:, :12], plain)
    first = prior(codes[:, :0], condition)
    assert not torch.allclose(prior(codes[:, :0], changed), first)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_of_a_condition_have_places(kind: str) -> None:
    """Invariant: the same codes in other cells are another condition, which shows in the first code of the image."""
    prior = tiny(kind, "codes", bidirectional_prefix=12)
    codes, condition = inputs(prior)
    condition[:, :2] = torch.tensor([3, 4])
    with torch.inference_mode():
        first = prior(codes[:, :0], condition)
        condition[:, :2] = torch.tensor([4, 3])
        assert not torch.allclose(prior(codes[:, :0], condition), first, atol=1e-3)
