"""Transformers of taming-transformers, with their tokenizers and conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from tests.interop import taming_files as files
from tests.interop.taming_files import convert
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.imported import FirstStage, Imported
from vqgan_cli.core.interop.reading import read_foreign
from vqgan_cli.core.interop.taming_names import gpt_to_taming
from vqgan_cli.core.models.priors import Prior, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.sampling.sampler import draw
from vqgan_cli.core.sampling.settings import SamplingSettings

CELLS, HEADS = 4, 4
"""Grid and heads of the transformers of `files.gpt`, on images of 16 pixels."""


def prior_of(imported: Imported) -> Prior:
    """The transformer with its weights, all of them and no more."""
    stage = imported.transformer
    assert stage is not None
    prior = build_prior(stage.config, stage.spec).eval()
    prior.load_state_dict(stage.state)
    return prior


def tokenizer_of(stage: FirstStage | None) -> Tokenizer:
    assert stage is not None
    tokenizer = Tokenizer(stage.config).eval()
    tokenizer.load_state_dict(stage.state)
    return tokenizer


def checkpoint(
    *,
    block: int = CELLS**2,
    vocabulary: int = 24,
    prefix: int = 0,
    condition: files.Shapes | None = None,
    **more: Any,
) -> dict[str, Tensor]:
    """A transformer of random weights on a tokenizer of 24 codes and f = 4."""
    shapes = files.gpt(block=block, vocabulary=vocabulary)
    shapes |= files.below("first_stage_model.", files.tokenizer(**more))
    shapes |= files.below("cond_stage_model.", condition or {})
    return files.causal(files.random(shapes), prefix)


def yaml(condition: Any = "__is_unconditional__", **params: Any) -> dict[str, Any]:
    """Its config. A condition is a text, or a class and its arguments."""
    gpt = {"n_head": HEADS} | params.pop("gpt", {})
    if isinstance(condition, tuple):
        condition = {"target": f"taming.{condition[0]}", "params": condition[1]}
    model = {
        "cond_stage_config": condition,
        "first_stage_config": {"target": "taming.models.vqgan.VQModel", "params": params.pop("first", {})},
        "transformer_config": {"target": "taming.modules.transformer.mingpt.GPT", "params": gpt},
        **params,
    }
    return {"model": {"target": "taming.models.cond_transformer.Net2NetTransformer", "params": model}}


def reference(tensors: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """minGPT's logits [B, T, V] of tokens [B, T], straight from the file's tensors."""
    weights = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    length, width = tokens.shape[1], weights["tok_emb.weight"].shape[1]

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = weights["tok_emb.weight"][tokens] + weights["pos_emb"][:, :length]
    for index in range(2):
        block = f"blocks.{index}"
        h = norm(f"{block}.ln1", x)
        q, k, v = (
            linear(f"{block}.attn.{part}", h).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.transpose(-2, -1) / (width // HEADS) ** 0.5
        hidden = weights[f"{block}.attn.mask"][:, :, :length, :length] == 0
        y = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
        x = x + linear(f"{block}.attn.proj", y.transpose(1, 2).flatten(2))
        x = x + linear(f"{block}.mlp.2", F.gelu(linear(f"{block}.mlp.0", norm(f"{block}.ln2", x))))
    return norm("ln_f", x) @ weights["head.weight"].T


def require_equal(
    imported: Imported, tensors: Mapping[str, Tensor], ours: Tensor, theirs: Tensor, codes: Tensor
) -> None:
    """Check the logits of codes [B, N] after our tokens of the condition against those after theirs."""
    found = prior_of(imported)(codes[:, :-1], ours)
    logits = reference(tensors, torch.cat((theirs, codes[:, :-1]), 1))[:, theirs.shape[1] - 1 :]
    torch.testing.assert_close(found, logits[..., : found.shape[-1]], atol=1e-5, rtol=1e-4)


def codes_of(below: int = 24, batch: int = 3, cells: int = CELLS) -> Tensor:
    return torch.randint(below, (batch, cells**2), generator=torch.Generator().manual_seed(5))


RECORDED: dict[str, dict[str, Any]] = {
    "class": {"kind": "class"},
    "unconditional": {"kind": "none"},
    "segcond": {},
}


@torch.no_grad()
@pytest.mark.parametrize("with_yaml", [True, False])
@pytest.mark.parametrize("name", RECORDED)
def test_as_recorded(shared: Path, name: str, with_yaml: bool) -> None:
    """Oracle: logits (1e-4) and greedy codes (equal) recorded from the original; without the yaml the user says how
    many heads there are, and what the condition is where it has no tensors.
    """
    folder = shared / "golden/taming"
    foreign, io = read_foreign(folder / f"{name}.ckpt"), load_file(folder / f"{name}_io.safetensors")
    settings = {} if with_yaml else {"transformer": {"heads": 4}, "condition": RECORDED[name]}
    imported, ledger = convert(foreign.tensors, foreign.config if with_yaml else {}, settings)
    prior, tokenizer = prior_of(imported), tokenizer_of(imported.tokenizer)
    condition = io.get("classes", torch.zeros(2, 1, dtype=torch.int64))
    grid = condition
    if name == "segcond":
        reader = tokenizer_of(imported.condition)
        grid = reader.encode(reader.one_hot(io["labels"]))
        condition = grid.flatten(1)
        assert torch.equal(condition, io["cond_codes"])
        assert torch.equal(tokenizer.encode(io["x"]).flatten(1), io["codes"])
        assert imported.maps.classes == 7
    torch.testing.assert_close(prior(io["codes"][:, :-1], condition), io["logits"], atol=1e-4, rtol=1e-4)
    drawn = draw(prior, grid, (16, 16), SamplingSettings(temperature=0))
    assert torch.equal(drawn, io["greedy"])
    if "greedy_image" in io:
        torch.testing.assert_close(
            tokenizer.decode(drawn), io["greedy_image"].clamp(-1, 1), atol=1e-4, rtol=1e-4
        )
    stage = imported.transformer
    assert stage is not None
    assert (imported.image_size, stage.config.shared_vocabulary, stage.classes) == (64, True, ())
    assert (
        stage.condition.kind == {"class": "class", "unconditional": "none", "segcond": "segmentation"}[name]
    )
    assert (
        stage.spec.condition_size
        == {
            "class": 10 if with_yaml else 96,
            "unconditional": 0,
            "segcond": 96,
        }[name]
    )
    assert stage.sampling.top_k == (100 if name == "segcond" else 250)
    assert "causal masks" in ledger.dropped[-1].reason


@torch.no_grad()
def test_the_reference_of_these_tests_is_the_original(shared: Path) -> None:
    """Oracle: recorded logits."""
    folder = shared / "golden/taming"
    io = load_file(folder / "class_io.safetensors")
    tokens = torch.cat((io["classes"], io["codes"][:, :-1]), 1)
    found = reference(read_foreign(folder / "class.ckpt").tensors, tokens)
    torch.testing.assert_close(found, io["logits"], atol=1e-4, rtol=1e-4)


def test_names_go_back(shared: Path) -> None:
    """Oracle: the file itself, bit for bit; the position of the last code is never used and was cut."""
    foreign = read_foreign(shared / "golden/taming/segcond.ckpt")
    imported, _ = convert(foreign.tensors, foreign.config)
    assert imported.transformer is not None
    back = gpt_to_taming(imported.transformer.state)
    expected = {
        name.removeprefix("transformer."): tensor
        for name, tensor in foreign.tensors.items()
        if name.startswith("transformer.") and not name.endswith("mask")
    }
    expected["pos_emb"] = expected["pos_emb"][:, :511]
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[name], expected[name]) for name in back)


@torch.no_grad()
def test_other_tokens_for_no_condition() -> None:
    """Oracle: the reference, started by that token."""
    tensors, codes = checkpoint(), codes_of()
    for config, token in (
        (yaml(sos_token=7), 7),
        (yaml(("SOSProvider", {"sos_token": 9})), 9),
        (yaml(("Other", {}), unconditional=True, sos_token=3), 3),
        (yaml(), 0),
    ):
        imported, _ = convert(tensors, config)
        assert imported.transformer is not None
        assert imported.transformer.condition.kind == "none"
        require_equal(
            imported,
            tensors,
            torch.zeros(3, 1, dtype=torch.int64),
            torch.full((3, 1), token),
            codes,
        )


@torch.no_grad()
@pytest.mark.parametrize("classes", [5, 40])
def test_a_table_larger_than_the_codebook(classes: int) -> None:
    """Oracle: the reference, of which only the logits of codes that can be decoded count."""
    tensors = checkpoint(vocabulary=40)
    imported, _ = convert(tensors, yaml(("Labelator", {"n_classes": classes})))
    labels = torch.tensor([[0], [classes - 1], [2]])
    require_equal(imported, tensors, labels, labels, codes_of())
    assert "40 rows for 24 codes" in imported.notes[-1]
    with pytest.raises(ModelError, match="n_classes is 41"):
        convert(tensors, yaml(("Labelator", {"n_classes": 41})))


@torch.no_grad()
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("prefix", [0, 1, 9, 16])
def test_a_condition_whose_tokens_see_one_another(prefix: int, said: bool) -> None:
    """Oracle: the reference with the file's own masks; without the yaml's word they tell how many."""
    condition = files.tokenizer(channels=5, colorize=True)
    tensors = checkpoint(block=2 * CELLS**2, prefix=prefix, condition=condition)
    params = {"gpt": {"n_unmasked": prefix}} if said else {}
    imported, _ = convert(tensors, yaml(("VQModel", {}), **params))
    given = codes_of(batch=3).flip(1)
    require_equal(imported, tensors, given, given, codes_of())
    assert imported.transformer is not None
    assert imported.transformer.config.bidirectional_prefix == (prefix if prefix > 1 else 0)


def test_masks_of_another_kind_are_refused() -> None:
    tensors = checkpoint(prefix=3)
    with pytest.raises(ModelError, match="is not the mask of a model in which the first 0 tokens"):
        convert(tensors, yaml(gpt={"n_unmasked": 0}))
    with pytest.raises(ModelError, match="n_unmasked is 3, and the condition has 1 tokens"):
        convert(tensors, yaml())
    tensors["transformer.blocks.1.attn.mask"][0, 0, 12, 5] = 0
    with pytest.raises(ModelError, match=r"blocks\.1\.attn\.mask is not the mask"):
        convert(tensors, yaml(gpt={"n_unmasked": 3}))
    tensors["transformer.blocks.1.attn.mask"] = torch.ones(1, 1, 4, 4)
    with pytest.raises(ModelError, match=r"mask is \[1, 1, 4, 4\]"):
        convert(tensors, yaml(gpt={"n_unmasked": 3}))


def their_coordinates(side: int, f: int, steps: int) -> Tensor:
    """Tokens [1, cells] of the original: places as shares of the image, averaged per cell, times the steps, rounded."""
    places = torch.arange(side * side, dtype=torch.float64).view(1, 1, side, side) / (side * side)
    return (steps * F.avg_pool2d(places, f)).round().long().flatten(1)


def our_coordinates(imported: Imported, side: int) -> Tensor:
    assert imported.tokenizer is not None
    kind = build_map_kind("coordinates", imported.maps)
    encoder = MapEncoder(kind, None, imported.tokenizer.config.downsampling)
    return torch.from_numpy(encoder.encode([kind.compute(np.zeros((side, side, 3), np.uint8))])).flatten(1)


@torch.no_grad()
@pytest.mark.parametrize("steps", [8, 24])
def test_coordinates(steps: int) -> None:
    """Oracle: the reference, given the tokens of the original's formula."""
    tensors = checkpoint(block=2 * CELLS**2)
    config = yaml(("CoordStage", {"n_embed": steps, "down_factor": 4}), cond_stage_key="coord")
    imported, _ = convert(tensors, config)
    theirs = their_coordinates(16, 4, steps).expand(3, -1)
    assert len(theirs.unique()) >= 4
    require_equal(imported, tensors, our_coordinates(imported, 16).expand(3, -1), theirs, codes_of())
    assert imported.transformer is not None
    condition = imported.transformer.condition
    assert (condition.kind, condition.tokenizer, condition.dropout) == ("coordinates", "none", 0.0)


@pytest.mark.parametrize("f", [4, 16])
def test_coordinates_of_larger_images_are_those_of_the_original(f: int) -> None:
    """Oracle: the original's formula at the published size and at others."""
    kind = build_map_kind("coordinates", MapsConfig(coordinate_levels=1024))
    for side in (256, 384, 512, 1024):
        found = MapEncoder(kind, None, f).encode([kind.compute(np.zeros((side, side, 3), np.uint8))])
        assert torch.equal(torch.from_numpy(found).flatten(1), their_coordinates(side, f, 1024))


def test_coordinates_beyond_the_table_are_refused() -> None:
    tensors = checkpoint(block=2 * CELLS**2)
    with pytest.raises(ModelError, match="table of 24 tokens: too few for 24 codes of images and 200 of the"):
        convert(tensors, yaml(("CoordStage", {"n_embed": 200, "down_factor": 4})))
    with pytest.raises(ModelError, match="condition has 2x2 codes and the image 4x4"):
        convert(tensors, yaml(("CoordStage", {"n_embed": 24, "down_factor": 8})))


ORDERS = {
    "Identity": "row",
    "Subsample": "subsample",
    "ZCurve": "z-curve",
    "SpiralOut": "spiral-out",
    "SpiralIn": "spiral-in",
    "Random": "random",
    "AlternateParsing": "alternate",
}


def permuted(order: Tensor) -> dict[str, Tensor]:
    tensors = checkpoint(block=64)
    return {
        **tensors,
        "permuter.forward_shuffle_idx": order,
        "permuter.backward_shuffle_idx": order.argsort(),
    }


@pytest.mark.parametrize("name", ORDERS)
def test_orders(shared: Path, name: str) -> None:
    """Oracle: the permutations recorded from the original, with and without its name for them."""
    recorded = json.loads((shared / "golden/taming/permuters_8x8.json").read_text())
    tensors = permuted(torch.tensor(recorded[name]))
    target = {"target": f"taming.modules.transformer.permuter.{name}", "params": {"H": 8, "W": 8}}
    for config in (yaml(), yaml(permuter_config=target)):
        imported, ledger = convert(tensors, config)
        assert imported.transformer is not None
        assert imported.transformer.config.order == ORDERS[name]
        assert any(f"transformer.order {ORDERS[name]}" in each.reason for each in ledger.dropped)
    other = {"target": "permuter.ZCurve" if name != "ZCurve" else "permuter.Random"}
    with pytest.raises(ModelError, match=f"the order is .* in the config and {ORDERS[name]}"):
        convert(tensors, yaml(permuter_config=other))
    with pytest.raises(UsageError, match=f"trained in {ORDERS[name]} order"):
        convert(tensors, yaml(), {"transformer": {"order": "no"}})


def test_orders_that_are_none() -> None:
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        ModelError, match=r"order of the cells \(permuter.forward_shuffle_idx\) is none of row"
    ):
        convert(permuted(order), yaml())
    with pytest.raises(ModelError, match=r"order \(permuter.forward_shuffle_idx\) is one of \[9\] cells"):
        convert(permuted(torch.arange(9)), yaml())
    with pytest.raises(ModelError, match="does not undo"):
        convert({**permuted(torch.arange(64)), "permuter.backward_shuffle_idx": order}, yaml())
    with pytest.raises(ModelError, match="permuter_config is ZCurve"):
        convert(checkpoint(), yaml(permuter_config={"target": "permuter.ZCurve"}))


@torch.no_grad()
def test_a_codebook_of_which_some_codes_are_used() -> None:
    """Oracle: the reference; its codes are places in the list of used ones, and so are those of the tokenizer."""
    used = torch.tensor([20, 3, 11, 7, 0, 15, 9, 22, 4, 17])
    tensors = checkpoint(vocabulary=10) | {"first_stage_model.quantize.used": used}
    imported, _ = convert(tensors, yaml(("Labelator", {"n_classes": 4})))
    labels = torch.tensor([[3], [0], [1]])
    require_equal(imported, tensors, labels, labels, codes_of(10))
    assert imported.transformer is not None
    assert imported.transformer.spec.codebook_size == tokenizer_of(imported.tokenizer).codebook_size == 10
    with pytest.raises(ModelError, match="a table of 10 tokens: too few for 24 codes"):
        convert(checkpoint(vocabulary=10), yaml())


def test_depth_as_a_condition() -> None:
    condition = files.tokenizer(channels=1, codes=20)
    tensors = checkpoint(block=2 * CELLS**2, condition=condition)
    for config in (yaml(("VQModel", {}), cond_stage_key="depth"), {}):
        imported, _ = convert(tensors, config, {"transformer": {"heads": HEADS}})
        assert imported.transformer is not None
        assert imported.condition is not None
        assert (imported.transformer.condition.kind, imported.transformer.condition.tokenizer) == (
            "depth",
            "own",
        )
        assert (imported.condition.kind, imported.transformer.spec.condition_size) == ("depth", 20)
        assert imported.maps.depth_unknown is None
        assert any("inverse depth" in note for note in imported.notes)


@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("said", [True, False])
def test_a_condition_read_by_the_tokenizer_of_images(twice: bool, said: bool) -> None:
    """Oracle: modules that stand at two places are saved under both names."""
    tensors = checkpoint(block=2 * CELLS**2)
    again = {
        name.replace("first_stage_model.", "cond_stage_model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("first_stage_model.")
    }
    config = yaml("__is_first_stage__" if said else ("VQModel", {}), cond_stage_key="stickman")
    if not said and not twice:
        with pytest.raises(
            ModelError, match="the condition is keypoints, but the checkpoint holds no tokenizer"
        ):
            convert(tensors, config)
        return
    imported, ledger = convert(tensors | again if twice else tensors, config)
    assert imported.transformer is not None
    assert imported.condition is None
    assert imported.transformer.condition.tokenizer == "same"
    assert imported.transformer.condition.kind == "keypoints"
    assert imported.transformer.spec.condition_size == 24
    assert any("second time" in each.reason for each in ledger.dropped) == twice


def test_a_second_tokenizer_is_not_the_first_one() -> None:
    tensors = checkpoint(block=2 * CELLS**2, condition=files.tokenizer())
    imported, _ = convert(tensors, yaml(("VQModel", {}), cond_stage_key="edges"))
    assert imported.transformer is not None
    assert imported.transformer.condition.tokenizer == "own"
    assert imported.condition is not None
    assert imported.condition.kind == "edges"
    with pytest.raises(ModelError, match=r"__is_first_stage__, but .* differ"):
        convert(tensors, yaml("__is_first_stage__", cond_stage_key="edges"))
    with pytest.raises(UsageError, match="edges, keypoints or lowres") as asked:
        convert(tensors, yaml(("VQModel", {}), cond_stage_key="sketch"))
    assert "condition.kind=edges" in str(asked.value.hint)
    said, _ = convert(tensors, yaml(("VQModel", {})), {"condition": {"kind": "lowres"}})
    assert said.condition is not None
    assert said.condition.kind == "lowres"


F16: dict[str, Any] = {
    "ch": 128,
    "ch_mult": (1, 1, 2, 2, 4),
    "blocks": 2,
    "attention": (4,),
    "z": 256,
    "embed": 256,
}
LARGE = {"layers": 24, "width": 1024, "vocabulary": 1024, "block": 512}
PUBLISHED: dict[str, tuple[dict[str, int], int, int, str, float]] = {
    # sizes, channels of the condition's tokenizer (0: none), heads, kind of condition, million parameters of the GPT
    "ImageNet": (
        {"layers": 48, "width": 1536, "vocabulary": 16384, "block": 256},
        0,
        24,
        "class",
        1410.6,
    ),
    "FFHQ": ({"layers": 24, "width": 1664, "vocabulary": 1024, "block": 256}, 0, 16, "none", 801.8),
    "FacesHQ": (LARGE, 0, 16, "coordinates", 304.9),
    "D-RIN": (LARGE, 1, 16, "depth", 304.9),
    "S-FLCKR": (LARGE, 182, 16, "segmentation", 304.9),
    "ADE20K": (
        {"layers": 28, "width": 1024, "vocabulary": 4096, "block": 512},
        151,
        16,
        "segmentation",
        361.6,
    ),
    "COCO-Stuff": (
        {"layers": 32, "width": 1280, "vocabulary": 8192, "block": 512},
        183,
        16,
        "segmentation",
        651.3,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_without_values_and_without_their_yaml(name: str) -> None:
    """Oracle: heads and conditions as published (the appendix of the paper has 1.4 billion for ImageNet); parameters
    counted in the format itself.
    """
    sizes, channels, heads, kind, millions = PUBLISHED[name]
    shapes = files.gpt(**sizes)
    counted = sum(torch.Size(shape).numel() for each, shape in shapes.items() if not each.endswith("mask"))
    assert round(counted / 1e6, 1) == millions
    shapes |= files.below("first_stage_model.", files.tokenizer(codes=sizes["vocabulary"], **F16))
    shapes |= files.below("first_stage_model.", files.loss())
    if channels:
        condition = files.tokenizer(codes=1024, channels=channels, colorize=channels > 1, **F16)
        shapes |= files.below("cond_stage_model.", condition)
    imported, _ = convert(files.on_meta(shapes))
    stage = imported.transformer
    assert stage is not None
    assert (stage.config.heads, stage.condition.kind, imported.image_size) == (heads, kind, 256)
    assert stage.spec.grid == (16, 16)
    assert stage.spec.condition_size == {"class": 1000, "none": 0, "coordinates": 1024}.get(kind, 1024)
    ours = sum(tensor.numel() for part, tensor in stage.state.items() if part != "cond_emb.weight")
    # The position of the last code is cut, where the file has one.
    cut = sizes["block"] - stage.state["pos_emb"].shape[0]
    assert counted - ours == cut * sizes["width"]
    assert cut == (0 if sizes["block"] == 256 else 1)
    with torch.device("meta"):
        prior = build_prior(stage.config, stage.spec)
    prior.load_state_dict(stage.state, assign=True)


def test_heads_that_nothing_tells_are_asked_for() -> None:
    tensors = checkpoint()
    with pytest.raises(UsageError, match="number of attention heads is in no tensor") as asked:
        convert(tensors, yaml(gpt={"n_head": None}))
    assert "--set transformer.heads=16" in str(asked.value.hint)
    said, _ = convert(tensors, yaml(), {"transformer": {"heads": 8}})
    assert said.transformer is not None
    assert said.transformer.config.heads == 8
    with pytest.raises(UsageError, match=r"--set transformer\.heads is 5, which does not divide"):
        convert(tensors, yaml(), {"transformer": {"heads": 5}})
    with pytest.raises(UsageError, match="n_head of the config is 5"):
        convert(tensors, yaml(gpt={"n_head": 5}))


def test_conditions_that_nothing_tells_are_asked_for() -> None:
    heads = {"transformer": {"heads": HEADS}}
    with pytest.raises(UsageError, match="none, class or coordinates") as asked:
        convert(checkpoint(), settings=heads)
    assert "--set condition.kind=" in str(asked.value.hint)
    with pytest.raises(UsageError, match=r"condition\.kind=deepth: not one of .* mean 'depth'"):
        convert(checkpoint(), settings={**heads, "condition": {"kind": "deepth"}})
    with pytest.raises(ModelError, match="the condition is depth, but the checkpoint holds no tokenizer"):
        convert(checkpoint(), settings={**heads, "condition": {"kind": "depth"}})
    segmentation = checkpoint(block=2 * CELLS**2, condition=files.tokenizer(channels=5))
    with pytest.raises(ModelError, match="the condition is class, but the checkpoint holds a tokenizer"):
        convert(segmentation, yaml(("Labelator", {"n_classes": 5})))
    with pytest.raises(
        ModelError, match="cond_stage_model: a tokenizer of 5 channels is not one of depth maps"
    ):
        convert(segmentation, yaml(("VQModel", {}), cond_stage_key="depth"))


def test_a_condition_of_another_class_is_not_taken_for_a_published_one() -> None:
    """A published shape tells the condition only where no config names another."""
    shapes = files.gpt(**LARGE) | files.below("first_stage_model.", files.tokenizer(codes=1024, **F16))
    with pytest.raises(UsageError, match="conditioned on is in no tensor"):
        convert(files.on_meta(shapes), yaml(("ObjectsBoundingBoxes", {}), gpt={"n_head": 16}))


def test_classes_without_their_number() -> None:
    """The table tells the largest number that can be asked for."""
    settings = {"transformer": {"heads": HEADS}, "condition": {"kind": "class"}}
    imported, _ = convert(checkpoint(vocabulary=30), settings=settings)
    assert imported.transformer is not None
    assert imported.transformer.spec.condition_size == 30
    assert any("any class below 30" in note for note in imported.notes)


@pytest.mark.parametrize(
    ("block", "condition", "cells"),
    [(16, "none", 4), (17, "none", 4), (32, "coordinates", 4), (31, "coordinates", 4), (64, "none", 8)],
)
def test_grids_are_told_by_the_positions(block: int, condition: str, cells: int) -> None:
    """Oracle: C + N positions, or one less, for N a square and C one or N."""
    settings = {"transformer": {"heads": HEADS}, "condition": {"kind": condition}}
    imported, _ = convert(checkpoint(block=block), settings=settings)
    assert imported.transformer is not None
    assert imported.transformer.spec.grid == (cells, cells)
    assert imported.image_size == 4 * cells


def test_positions_that_no_square_fills() -> None:
    settings: dict[str, Any] = {"transformer": {"heads": HEADS}, "condition": {"kind": "none"}}
    tensors = checkpoint(block=20)
    with pytest.raises(ModelError, match="20 positions, which no square of codes fills") as refused:
        convert(tensors, settings=settings)
    assert "--set data.size" in str(refused.value.hint)
    imported, _ = convert(tensors, settings={**settings, "data": {"size": 16}})
    assert imported.transformer is not None
    assert imported.transformer.spec.grid == (4, 4)
    assert imported.transformer.state["pos_emb"].shape == (16, 32)
    with pytest.raises(UsageError, match=r"data\.size=20 needs 25 positions, and the transformer has 20"):
        convert(tensors, settings={**settings, "data": {"size": 20}})


def test_a_grid_of_another_size_than_the_tokenizer_was_trained_at() -> None:
    first = {"ddconfig": {"resolution": 32, "attn_resolutions": [8]}}
    imported, _ = convert(checkpoint(), yaml(first=first))
    assert imported.image_size == 16
    assert "16 pixels, not of 32" in imported.notes[0]
    first = {"ddconfig": {"resolution": 16, "attn_resolutions": [4]}}
    imported, _ = convert(checkpoint(), yaml(first=first))
    assert imported.notes == ()


def test_conditions_on_another_grid_are_refused() -> None:
    tensors = checkpoint(block=2 * CELLS**2, condition=files.tokenizer(channels=5))
    config = yaml(("VQModel", {}), cond_stage_key="segmentation", downsample_cond_size=8)
    with pytest.raises(ModelError, match="condition has 2x2 codes and the image 4x4"):
        convert(tensors, config)
    finer = checkpoint(
        block=2 * CELLS**2, condition=files.tokenizer(channels=5, ch_mult=(1, 2), attention=())
    )
    with pytest.raises(ModelError, match="condition has 8x8 codes and the image 4x4"):
        convert(finer, yaml(("VQModel", {}), cond_stage_key="segmentation"))
    imported, _ = convert(finer, yaml(("VQModel", {}), cond_stage_key="segmentation", downsample_cond_size=8))
    assert imported.condition is not None


def test_what_no_tensor_tells_comes_from_the_yaml() -> None:
    gpt = {"embd_pdrop": 0.1, "resid_pdrop": 0.2, "attn_pdrop": 0.3}
    imported, _ = convert(checkpoint(), yaml(gpt=gpt, pkeep=0.9))
    assert imported.transformer is not None
    config = imported.transformer.config
    assert (config.embedding_dropout, config.residual_dropout, config.attention_dropout) == (0.1, 0.2, 0.3)
    assert imported.transformer.pkeep == 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpt": {"n_layer": 3, "n_embd": 64}}, "n_layer is 3 in the config and 2 .* n_embd is 64"),
        ({"gpt": {"vocab_size": 96}}, "vocab_size is 96 in the config and 24 by the tensors"),
        ({"gpt": {"block_size": 512}}, "block_size is 512 in the config and 16"),
        ({"gpt": {"embd_pdrop": 3}}, "embedding_dropout"),
        ({"first": {"n_embed": 96}}, "first_stage_model: .*n_embed is 96 in the config and 24"),
        ({"pkeep": 0.0}, "draws all codes at once"),
        ({"sos_token": 24}, "sos_token is 24"),
    ],
)
def test_a_yaml_that_contradicts_the_tensors_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        convert(checkpoint(), yaml(**changes))


@pytest.mark.parametrize(
    ("drop", "add", "message"),
    [
        ("transformer.ln_f.bias", "", r"lacks the tensor 'transformer\.ln_f\.bias'"),
        (
            "transformer.blocks.1.attn.value.bias",
            "",
            "lacks the tensor 'transformer.blocks.1.attn.value.bias'",
        ),
        ("transformer.head.weight", "", "lacks the tensor 'transformer.head.weight'"),
        ("first_stage_model.quant_conv.bias", "", "first_stage_model: .*quant_conv.bias is missing"),
        ("", "transformer.extra.weight", "no place in a model of its kind: transformer.extra.weight"),
        ("", "cond_stage_model.weight", "condition is none, but the checkpoint holds a tokenizer of maps"),
    ],
)
def test_tensors_that_are_missing_or_too_many(drop: str, add: str, message: str) -> None:
    tensors = checkpoint()
    tensors.pop(drop, None)
    if add:
        tensors[add] = torch.zeros(4)
    with pytest.raises(ModelError, match=message):
        convert(tensors, yaml())


def test_other_transformers_are_refused() -> None:
    config = yaml()
    config["model"]["params"]["transformer_config"]["target"] = "taming.modules.transformer.mingpt.CodeGPT"
    with pytest.raises(ModelError, match="a CodeGPT, which cannot be represented"):
        convert(checkpoint(), config)
    with pytest.raises(ModelError, match="draws segmentation maps, and only those that draw pictures"):
        convert(checkpoint(channels=5), yaml())
    tensors = checkpoint()
    tensors["transformer.head.weight"] = torch.zeros(30, 32)
    with pytest.raises(ModelError, match=r"head \[30, 32\] .* do not fit together"):
        convert(tensors, yaml())


@torch.no_grad()
def test_a_transformer_without_its_tokenizer() -> None:
    """Oracle: the same file with it. The config describes what is not there."""
    tensors = checkpoint()
    alone = {name: tensor for name, tensor in tensors.items() if name.startswith("transformer.")}
    first = {"n_embed": 24, "ddconfig": {"ch_mult": [1, 2, 2]}}
    imported, _ = convert(alone, yaml(first=first))
    whole, _ = convert(tensors, yaml(first=first))
    assert imported.tokenizer is None
    assert imported.transformer is not None
    assert whole.transformer is not None
    assert imported.transformer.spec == whole.transformer.spec
    assert imported.transformer.state.keys() == whole.transformer.state.keys()
    with pytest.raises(UsageError, match="a transformer without its tokenizer"):
        convert(alone, yaml())
