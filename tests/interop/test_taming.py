"""Tokenizers of taming-transformers and latent-diffusion."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.interop import taming_files as files
from tests.interop.taming_files import convert
from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop import LAYOUTS
from vqgan_cli.core.interop.foreign import Foreign
from vqgan_cli.core.interop.imported import Imported
from vqgan_cli.core.interop.layouts import recognise
from vqgan_cli.core.interop.reading import read_foreign
from vqgan_cli.core.interop.taming_names import tokenizer_to_taming
from vqgan_cli.core.models.tokenizer import Tokenizer

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}


def loaded(imported: Imported) -> Tokenizer:
    """The tokenizer with its weights, all of them and no more."""
    assert imported.tokenizer is not None
    tokenizer = Tokenizer(imported.tokenizer.config).eval()
    tokenizer.load_state_dict(imported.tokenizer.state)
    return tokenizer


def recorded(shared: Path, name: str, with_yaml: bool) -> tuple[Foreign, dict[str, Tensor]]:
    folder = shared / "golden/taming"
    foreign = read_foreign(folder / f"{name}.ckpt")
    assert foreign.config
    return foreign if with_yaml else dataclasses.replace(foreign, config={}), load_file(
        folder / f"{name}_io.safetensors"
    )


def yaml(**params: Any) -> dict[str, Any]:
    """The config of the tokenizer that `files.tokenizer` describes, with changes; ``ddconfig`` is merged."""
    ddconfig = {
        "double_z": False,
        "z_channels": 16,
        "resolution": 32,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 2, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [8],
        "dropout": 0.0,
    } | params.pop("ddconfig", {})
    target = params.pop("target", "VQModel")
    model = {"embed_dim": 8, "n_embed": 24, "ddconfig": ddconfig, **params}
    return {"model": {"target": f"taming.models.vqgan.{target}", "params": model}}


@torch.no_grad()
@pytest.mark.parametrize("with_yaml", [True, False])
def test_vqmodel_as_recorded(shared: Path, with_yaml: bool) -> None:
    """Oracle: recorded indices (equal) and reconstructions (1e-4), square and wide."""
    foreign, io = recorded(shared, "vqgan", with_yaml)
    imported, ledger = convert(foreign.tensors, foreign.config)
    tokenizer = loaded(imported)
    for suffix in ("", "_wide"):
        assert torch.equal(tokenizer.encode(io[f"x{suffix}"]), io[f"indices{suffix}"])
        output = tokenizer(io[f"x{suffix}"])
        torch.testing.assert_close(output.reconstruction, io[f"reconstruction{suffix}"], **TOLERANCE)
    torch.testing.assert_close(tokenizer(io["x"]).quantized.loss, io["codebook_loss_legacy"], **TOLERANCE)
    assert imported.tokenizer is not None
    assert (imported.tokenizer.kind, imported.tokenizer.loss) == ("image", "l1")
    assert imported.tokenizer.config.quantizer.legacy
    assert imported.image_size == (64 if with_yaml else 256)
    assert [len(each.names) for each in ledger.dropped] == [16]
    assert "discriminator" in ledger.dropped[0].reason


@torch.no_grad()
@pytest.mark.parametrize("with_yaml", [True, False])
def test_gumbel_as_recorded(shared: Path, with_yaml: bool) -> None:
    """Oracle: recorded logits, codes and reconstruction; the weight of the divergence is in the yaml only."""
    foreign, io = recorded(shared, "gumbel", with_yaml)
    imported, _ = convert(foreign.tensors, foreign.config)
    tokenizer = loaded(imported)
    assert torch.equal(tokenizer.encode(io["x"]), io["indices"])
    torch.testing.assert_close(
        tokenizer.quantizer.logits(tokenizer.features(io["x"])), io["logits"], **TOLERANCE
    )
    torch.testing.assert_close(tokenizer(io["x"]).reconstruction, io["reconstruction"], **TOLERANCE)
    assert tokenizer.config.quantizer.kl_weight == (1e-6 if with_yaml else 1e-8)


@torch.no_grad()
@pytest.mark.parametrize("with_yaml", [True, False])
def test_segmentation_as_recorded(shared: Path, with_yaml: bool) -> None:
    """Oracle: recorded codes and logits of the autoencoder of label maps."""
    foreign, io = recorded(shared, "segmentation", with_yaml)
    imported, ledger = convert(foreign.tensors, foreign.config)
    tokenizer = loaded(imported)
    target = tokenizer.one_hot(io["labels"])
    assert torch.equal(tokenizer.encode(target), io["indices"])
    torch.testing.assert_close(tokenizer(target).reconstruction, io["logits"], **TOLERANCE)
    assert imported.tokenizer is not None
    assert (imported.tokenizer.kind, imported.tokenizer.loss) == ("segmentation", "bce")
    assert ("colorize",) in [each.names for each in ledger.dropped]


@pytest.mark.parametrize("name", ["vqgan", "gumbel", "segmentation"])
def test_names_go_back(shared: Path, name: str) -> None:
    """Oracle: the file itself, bit for bit, but for what was dropped."""
    foreign, _ = recorded(shared, name, True)
    imported, ledger = convert(foreign.tensors, foreign.config)
    assert imported.tokenizer is not None
    back = tokenizer_to_taming(imported.tokenizer.state)
    assert sorted(back) == sorted(ledger.used)
    assert all(torch.equal(back[name], foreign.tensors[name]) for name in back)


F16: dict[str, Any] = {"ch_mult": (1, 1, 2, 2, 4), "attention": (4,)}
F8: dict[str, Any] = {"ch_mult": (1, 2, 2, 4), "attention": (3,)}
F4: dict[str, Any] = {"ch_mult": (1, 2, 4), "attention": (), "z": 3, "embed": 3, "codes": 8192}
PUBLISHED: dict[str, tuple[dict[str, Any], int, tuple[int, ...]]] = {
    "taming f16, 1024": (F16 | {"z": 256, "embed": 256, "codes": 1024}, 16, (16,)),
    "taming f16, 16384": (F16 | {"z": 256, "embed": 256, "codes": 16384}, 16, (16,)),
    "taming f8, Gumbel": (
        {"ch_mult": (1, 1, 2, 4), "attention": (3,), "z": 256, "embed": 256, "codes": 8192}
        | {"quantizer": "gumbel"},
        8,
        (32,),
    ),
    "latent-diffusion f4": (F4, 4, ()),
    "latent-diffusion f4-noattn": (F4 | {"mid_attention": False}, 4, ()),
    "latent-diffusion f8": (F8 | {"z": 4, "embed": 4, "codes": 16384}, 8, (32,)),
    "latent-diffusion f8-n256": (F8 | {"z": 4, "embed": 4, "codes": 256}, 8, (32,)),
    "latent-diffusion f16": (F16 | {"z": 8, "embed": 8, "codes": 16384}, 16, (16,)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_without_values(name: str) -> None:
    """Oracle: the format's own names and shapes at full size; f, K and places of attention as published."""
    options, f, attention = PUBLISHED[name]
    shapes = files.tokenizer(ch=128, blocks=2, **options)
    imported, _ = convert(files.on_meta(shapes | files.loss()))
    assert imported.tokenizer is not None
    config, state = imported.tokenizer.config, imported.tokenizer.state
    assert (config.downsampling, config.codebook_size) == (f, options["codes"])
    assert config.attention_resolutions == attention
    assert config.mid_attention == options.get("mid_attention", True)
    assert config.quantizer.kind == options.get("quantizer", "vq")
    assert sum(tensor.numel() for tensor in state.values()) == sum(
        torch.Size(shape).numel() for shape in shapes.values()
    )
    assert imported.image_size == 256


def test_the_published_f16_is_counted() -> None:
    """Oracle: 343 tensors and 72.1 million parameters, as published."""
    shapes = files.tokenizer(ch=128, blocks=2, z=256, embed=256, codes=1024, **F16)
    imported, ledger = convert(files.on_meta(shapes))
    assert imported.tokenizer is not None
    assert len(ledger.used) == 343
    assert round(sum(tensor.numel() for tensor in imported.tokenizer.state.values()) / 1e6, 1) == 72.1


@torch.no_grad()
def test_averaged_weights_are_used_and_said_so() -> None:
    """Oracle: a file that holds the averages as its plain weights."""
    shapes = files.tokenizer()
    plain, averaged = files.random(shapes, 0), files.random(shapes, 1)
    tensors = plain | {f"model_ema.{name.replace('.', '')}": tensor for name, tensor in averaged.items()}
    extra = files.random(files.loss() | files.averages({"loss.discriminator.main.0.weight": (64, 3, 4, 4)}))
    imported, ledger = convert(tensors | extra)
    expected, _ = convert(averaged)
    assert imported.tokenizer is not None
    assert expected.tokenizer is not None
    for name, tensor in expected.tokenizer.state.items():
        assert torch.equal(imported.tokenizer.state[name], tensor)
    assert re.search(rf"averages.* {len(shapes)} of {len(shapes)}", imported.notes[0])
    assert not expected.notes
    assert sum("last step" in each.reason for each in ledger.dropped) == 1


def test_what_has_no_average_is_taken_as_it_is() -> None:
    """Oracle: the averages cover parameters; ``quantize.used`` is a buffer."""
    shapes = files.tokenizer()
    tensors = files.random(shapes | files.averages(shapes))
    tensors["quantize.used"] = torch.tensor([5, 2, 9])
    imported, _ = convert(tensors)
    assert imported.tokenizer is not None
    codebook = tensors["model_ema.quantizeembeddingweight"]
    assert torch.equal(imported.tokenizer.state["quantizer.embedding.weight"], codebook[[5, 2, 9]])


@torch.no_grad()
def test_running_means_of_a_codebook() -> None:
    """Oracle: the nearest row of ``embedding.weight``; training goes on from the means in the file."""
    tensors = files.random(files.tokenizer(quantizer="ema"))
    imported, _ = convert(tensors, yaml(target="EMAVQ"))
    tokenizer = loaded(imported)
    z = torch.randn(2, 8, 3, 3)
    distances = torch.cdist(z.permute(0, 2, 3, 1).reshape(-1, 8), tensors["quantize.embedding.weight"])
    assert torch.equal(tokenizer.quantizer.encode(z).flatten(), distances.argmin(1))
    assert torch.equal(tokenizer.quantizer.cluster_size, tensors["quantize.embedding.cluster_size"])
    assert torch.equal(tokenizer.quantizer.embed_avg, tensors["quantize.embedding.embed_avg"])
    assert bool(tokenizer.quantizer.initialized)
    assert tokenizer.config.quantizer.kind == "ema"
    assert tokenizer.config.quantizer.dead_code_threshold == 0  # no code restarts in the original
    assert imported.tokenizer is not None
    back = tokenizer_to_taming(imported.tokenizer.state)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in back)


def remapped(indices: Tensor, used: Tensor) -> Tensor:
    """Where the rows stand in the list of used ones; -1 for others. The original gives a random code there."""
    match = indices[..., None] == used
    return torch.where(match.any(-1), match.long().argmax(-1), -1)


@torch.no_grad()
@pytest.mark.parametrize("quantizer", ["vq", "ema", "gumbel"])
def test_used_codes_are_numbered_as_in_the_original(quantizer: str) -> None:
    """Oracle: the rule of the format, on the whole codebook: the nearest of all rows, then its place among the used
    ones; the logits of used codes alone for Gumbel. Decoding takes the row that a place means.
    """
    used = torch.tensor([20, 3, 11, 7, 0, 15, 9, 22, 4, 17])
    embed = 16 if quantizer == "gumbel" else 8
    tensors = files.random(files.tokenizer(quantizer=quantizer, embed=embed, z=16))
    whole = loaded(convert(tensors)[0])
    imported, _ = convert({**tensors, "quantize.used": used})
    tokenizer = loaded(imported)
    images = torch.rand(4, 3, 32, 32) * 2 - 1
    codes = tokenizer.encode(images)
    if quantizer == "gumbel":
        logits = whole.quantizer.logits(whole.features(images))
        assert torch.equal(codes, logits[:, used].argmax(1))
    else:
        theirs = remapped(whole.encode(images), used)
        assert 0 < (theirs >= 0).sum() < theirs.numel()
        assert torch.equal(codes[theirs >= 0], theirs[theirs >= 0])
    every = torch.arange(len(used)).view(1, 2, 5)
    torch.testing.assert_close(tokenizer.decode(every), whole.decode(used[every]))
    assert tokenizer.codebook_size == len(used)
    assert "10 used" in imported.notes[0]
    assert ("random" in imported.notes[0]) == (quantizer != "gumbel")


def test_the_whole_codebook_can_be_kept() -> None:
    tensors = files.random(files.tokenizer())
    used = {"quantize.used": torch.tensor([5, 2, 9])}
    imported, _ = convert(tensors | used, settings={"tokenizer": {"codebook_size": 24}})
    assert imported.tokenizer is not None
    assert torch.equal(
        imported.tokenizer.state["quantizer.embedding.weight"], tensors["quantize.embedding.weight"]
    )
    assert "do not fit" in imported.notes[0]
    with pytest.raises(UsageError, match="24 rows, of which 3 are used"):
        convert(tensors | used, settings={"tokenizer": {"codebook_size": 8}})


@pytest.mark.parametrize("used", [[1, 1, 2], [0, 24], [-1, 3], [4]])
def test_a_list_of_used_codes_that_is_none(used: list[int]) -> None:
    with pytest.raises(ModelError, match=r"quantize\.used"):
        convert({**files.random(files.tokenizer()), "quantize.used": torch.tensor(used)})


def test_depth() -> None:
    """Oracle: one channel is a value; the original scales each map by its own range, and knows no unknown pixels."""
    ddconfig = {"in_channels": 1, "out_ch": 1}
    imported, _ = convert(
        files.random(files.tokenizer(channels=1)), yaml(ddconfig=ddconfig, image_key="depth")
    )
    assert imported.tokenizer is not None
    assert imported.tokenizer.kind == "depth"
    assert imported.maps.depth_unknown is None
    assert "inverse depth" in imported.notes[0]


@pytest.mark.parametrize(("key", "kind"), [("image", "image"), ("stickman", "keypoints"), ("lr", "lowres")])
def test_kinds_of_pictures_are_told_by_the_yaml(key: str, kind: str) -> None:
    imported, _ = convert(files.on_meta(files.tokenizer()), yaml(image_key=key))
    assert imported.tokenizer is not None
    assert imported.tokenizer.kind == kind


def test_what_no_tensor_tells_comes_from_the_yaml() -> None:
    schedule = {
        "target": "taming.lr_scheduler.LambdaWarmUpCosineScheduler",
        "params": {"lr_max": 0.9, "lr_min": 1e-6, "max_decay_steps": 1000001, "warm_up_steps": 0},
    }
    loss = {"target": "ldm.VQLPIPSWithDiscriminator", "params": {"pixel_loss": "l2"}}
    config = yaml(
        target="GumbelVQ",
        embed_dim=16,
        kl_weight=1e-7,
        temperature_scheduler_config=schedule,
        lossconfig=loss,
        ddconfig={"dropout": 0.1, "resolution": 64, "attn_resolutions": [16]},
    )
    imported, _ = convert(files.on_meta(files.tokenizer(quantizer="gumbel", embed=16)), config)
    assert imported.tokenizer is not None
    found, quantizer = imported.tokenizer.config, imported.tokenizer.config.quantizer
    assert (found.dropout, found.resolution, found.attention_resolutions) == (0.1, 64, (16,))
    assert (quantizer.kl_weight, quantizer.temperature, quantizer.temperature_end) == (1e-7, 0.9, 1e-6)
    assert quantizer.temperature_steps == 1000001
    assert (imported.image_size, imported.tokenizer.loss) == (64, "l2")


def test_a_yaml_of_the_whole_diffusion_model_describes_its_first_stage() -> None:
    first = yaml(ddconfig={"resolution": 64, "attn_resolutions": [16]})["model"]
    config = {"model": {"target": "ldm.LatentDiffusion", "params": {"first_stage_config": first}}}
    imported, _ = convert(files.on_meta(files.tokenizer()), config)
    assert imported.image_size == 64
    first["params"]["n_embed"] = 25
    with pytest.raises(ModelError, match="n_embed is 25 in the config and 24"):
        convert(files.on_meta(files.tokenizer()), config)


def test_settings_win_over_guesses() -> None:
    """Oracle: the network is the same whatever the resolution that its levels are named by."""
    settings = {"data": {"size": 64}, "tokenizer": {"resolution": 128}}
    imported, _ = convert(files.on_meta(files.tokenizer()), settings=settings)
    assert imported.tokenizer is not None
    assert imported.image_size == 64
    assert (imported.tokenizer.config.resolution, imported.tokenizer.config.attention_resolutions) == (
        128,
        (32,),
    )
    with pytest.raises(UsageError, match="multiple of this tokenizer's f = 4"):
        convert(files.on_meta(files.tokenizer()), settings={"data": {"size": 62}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ddconfig": {"ch": 64}}, "ch is 64 in the config and 32 by the tensors"),
        ({"ddconfig": {"ch_mult": [1, 2, 4]}}, r"ch_mult is \[1, 2, 4\] in the config and \[1, 2, 2\]"),
        ({"ddconfig": {"num_res_blocks": 2}}, "num_res_blocks is 2 in the config and 1"),
        ({"ddconfig": {"z_channels": 8}}, "z_channels is 8 in the config and 16"),
        ({"ddconfig": {"in_channels": 1}}, "in_channels is 1 in the config and 3"),
        ({"ddconfig": {"attn_resolutions": [16]}}, r"attention is \[1\] in the config and \[2\]"),
        ({"ddconfig": {"attn_type": "none"}}, "attn_type none is True in the config and False"),
        ({"ddconfig": {"tanh_out": True}}, "tanh_out"),
        ({"ddconfig": {"dropout": "much"}}, "dropout is 'much'"),
        ({"ddconfig": {"dropout": 7}}, "dropout"),
        ({"embed_dim": 9}, "embed_dim is 9 in the config and 8"),
        ({"n_embed": 1024, "embed_dim": 9}, "embed_dim.*; n_embed is 1024 in the config and 24"),
        ({"target": "GumbelVQ"}, "quantizer is gumbel in the config and vq"),
        ({"n_labels": 3}, "label maps with 3 classes"),
    ],
)
def test_a_yaml_that_contradicts_the_tensors_is_refused(changes: dict[str, Any], message: str) -> None:
    tensors = files.on_meta(files.tokenizer())
    convert(tensors, yaml())
    with pytest.raises(ModelError, match=message):
        convert(tensors, yaml(**changes))


def without(shapes: files.Shapes, *names: str) -> files.Shapes:
    return {name: shape for name, shape in shapes.items() if name not in names}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (without(files.tokenizer(), "decoder.up.1.block.0.conv1.bias"), "block.0.conv1.bias is missing"),
        (without(files.tokenizer(), "encoder.conv_in.weight"), "lacks the tensor 'encoder.conv_in.weight'"),
        (files.tokenizer() | {"decoder.up.0.extra.weight": (4,)}, "extra.weight has no place"),
        (files.tokenizer() | {"quantize.proj.bias": (4,)}, "proj.bias has no place"),
        (files.tokenizer() | {"teacher.weight": (4,)}, "no place in a model of its kind: teacher.weight"),
        (files.tokenizer() | {"quant_conv.weight": (8, 17, 1, 1)}, r"quant_conv.weight is \[8, 17, 1, 1\]"),
        (files.tokenizer() | {"encoder.conv_in.weight": (32,)}, "4 dimensions are expected"),
        (files.tokenizer() | {"decoder.conv_out.weight": (1, 32, 3, 3)}, "reads 3 channels and makes 1"),
        (files.tokenizer(channels=1, colorize=True), "label maps with 1 classes"),
        (
            without(files.tokenizer(quantizer="ema"), "quantize.embedding.weight"),
            "lacks the tensor 'quantize.embedding.weight'",
        ),
    ],
)
def test_tensors_that_are_missing_or_too_many(shapes: files.Shapes, message: str) -> None:
    if shapes["decoder.conv_out.weight"][0] == 1:
        shapes = shapes | {"decoder.conv_out.bias": (1,)}
    with pytest.raises(ModelError, match=message):
        convert(files.on_meta(shapes))


def test_what_has_no_codes_is_refused_by_name() -> None:
    shapes = without(files.tokenizer(), "quantize.embedding.weight")
    shapes["quant_conv.weight"] = (16, 16, 1, 1)
    diffusion = files.below("first_stage_model.", files.tokenizer())
    diffusion["model.diffusion_model.time_embed.0.weight"] = (4, 4)
    for tensors, message in ((shapes, "Kullback-Leibler .* no codebook"), (diffusion, "diffusion model")):
        with pytest.raises(ModelError, match=message):
            recognise(Foreign(Path("kl.ckpt"), files.on_meta(tensors)), LAYOUTS)
