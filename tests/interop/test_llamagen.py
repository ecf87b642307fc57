"""LlamaGen's tokenizers and class-conditional transformers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop import llamagen, llamagen_gpt
from vqgan_cli.core.interop.architecture import require_fit
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import FirstStage, Imported, SecondStage
from vqgan_cli.core.interop.layouts import recognise
from vqgan_cli.core.models.priors import Prior, build_prior
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.sampling.sampler import draw
from vqgan_cli.core.sampling.settings import SamplingSettings

LAYOUTS = (*llamagen.LAYOUTS, *llamagen_gpt.LAYOUTS)
TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def folder(shared: Path) -> Path:
    return shared / "golden" / "llamagen"


def read(path: Path, **settings: Any) -> Foreign:
    """A recorded checkpoint, with its config and what ``--set section.key`` says (``section__key``)."""
    return foreign(
        torch.load(path, weights_only=True)["model"],
        json.loads(path.with_suffix(".json").read_text()),
        **settings,
    )


def foreign(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    name: str = "x.pt",
    **settings: Any,
) -> Foreign:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, _, field = key.partition("__")
        nested.setdefault(section, {})[field] = value
    return Foreign(Path(name), tensors, config=config or {}, settings=nested)


def convert(source: Foreign) -> tuple[Imported, Ledger]:
    layout = recognise(source, LAYOUTS)
    assert layout.convert is not None
    ledger = Ledger(source.tensors)
    imported = layout.convert(source, ledger)
    ledger.settle()
    return imported, ledger


def tokenizer_of(stage: FirstStage | None) -> Tokenizer:
    assert stage is not None
    tokenizer = Tokenizer(stage.config).eval()
    tokenizer.load_state_dict(stage.state)
    return tokenizer


def prior_of(stage: SecondStage | None) -> Prior:
    assert stage is not None
    prior = build_prior(stage.config, stage.spec).eval()
    prior.load_state_dict(stage.state)
    return prior


# The tokenizers


@torch.no_grad()
def test_tokenizer_encodes_and_decodes_as_recorded(folder: Path) -> None:
    """Oracle: recorded codes (equal), vectors and reconstruction of LlamaGen (1e-4)."""
    imported, ledger = convert(read(folder / "vq.pt"))
    tokenizer, io = tokenizer_of(imported.tokenizer), load_file(folder / "vq_io.safetensors")
    assert torch.equal(tokenizer.encode(io["x"]), io["indices"])
    torch.testing.assert_close(tokenizer.quantizer.decode(io["indices"]), io["quant"], **TOLERANCE)
    torch.testing.assert_close(tokenizer(io["x"]).reconstruction, io["reconstruction"], **TOLERANCE)
    shown = io["reconstruction"].clamp(-1, 1)
    torch.testing.assert_close(tokenizer.decode(io["indices"]), shown, **TOLERANCE)
    assert [each.names for each in ledger.dropped] == [("quantize.codebook_used",)]
    assert len(ledger.used) == len(torch.load(folder / "vq.pt", weights_only=True)["model"]) - 1


@torch.no_grad()
def test_rows_of_the_codebook_are_normalised_at_lookup(folder: Path) -> None:
    """Invariant: their length changes nothing. Without normalisation, as a config may say, it does."""
    source, io = read(folder / "vq.pt"), load_file(folder / "vq_io.safetensors")
    factors = torch.rand(96, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    longer = dict(source.tensors)
    longer["quantize.embedding.weight"] = longer["quantize.embedding.weight"] * factors
    imported, _ = convert(replace(source, tensors=longer))
    tokenizer = tokenizer_of(imported.tokenizer)
    assert torch.equal(tokenizer.encode(io["x"]), io["indices"])
    torch.testing.assert_close(tokenizer(io["x"]).reconstruction, io["reconstruction"], **TOLERANCE)

    config = {**source.config, "codebook_l2_norm": False}
    plain, _ = convert(replace(source, tensors=longer, config=config))
    assert plain.tokenizer is not None
    assert plain.tokenizer.config.quantizer.kind == "vq"
    assert not torch.equal(tokenizer_of(plain.tokenizer).encode(io["x"]), io["indices"])


def test_renamed_tensors_are_not_copied(folder: Path) -> None:
    source = read(folder / "vq.pt")
    imported, _ = convert(source)
    assert imported.tokenizer is not None
    ours = {tensor.data_ptr() for tensor in imported.tokenizer.state.values()}
    assert ours == {t.data_ptr() for name, t in source.tensors.items() if name != "quantize.codebook_used"}


def test_image_size_is_256_or_as_set(folder: Path) -> None:
    """Attention stays at the deepest level whatever the size that names it."""
    for settings, size in (({}, 256), ({"data__size": 384}, 384)):
        imported, _ = convert(read(folder / "vq.pt", **settings))
        assert imported.image_size == size
        stage = imported.tokenizer
        assert stage is not None
        assert (stage.config.resolution, stage.config.attention_resolutions) == (size, (size // 4,))
        require_fit(stage.config, stage.state)
    for wrong in (30, 0, "large", True):
        with pytest.raises(UsageError, match=r"data\.size=.* multiple of this tokenizer's f = 4"):
            convert(read(folder / "vq.pt", data__size=wrong))


def vq_shapes(multipliers: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published tokenizer, from the facts of the format."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, kernel, kernel), (outputs,)

    def norm(name: str, channels: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)

    def residual(name: str, inputs: int, outputs: int) -> None:
        norm(f"{name}.norm1", inputs)
        conv(f"{name}.conv1", inputs, outputs)
        norm(f"{name}.norm2", outputs)
        conv(f"{name}.conv2", outputs, outputs)
        if inputs != outputs:
            conv(f"{name}.nin_shortcut", inputs, outputs, 1)

    def attention(name: str, channels: int) -> None:
        norm(f"{name}.norm", channels)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", channels, channels, 1)

    widths = [128 * m for m in multipliers]
    conv("encoder.conv_in", 3, 128)
    conv("decoder.conv_in", 256, widths[-1])
    for side, blocks, order in (("encoder", 2, widths), ("decoder", 3, widths[::-1])):
        previous = 128 if side == "encoder" else widths[-1]
        for level, width in enumerate(order):
            name = f"{side}.conv_blocks.{level}"
            deepest = level == (len(widths) - 1 if side == "encoder" else 0)
            for block in range(blocks):
                residual(f"{name}.res.{block}", previous, width)
                if deepest:
                    attention(f"{name}.attn.{block}", width)
                previous = width
            if level < len(widths) - 1:
                conv(f"{name}.{'downsample' if side == 'encoder' else 'upsample'}.conv", width, width)
        residual(f"{side}.mid.0", widths[-1], widths[-1])
        attention(f"{side}.mid.1", widths[-1])
        residual(f"{side}.mid.2", widths[-1], widths[-1])
        norm(f"{side}.norm_out", order[-1])
    conv("encoder.conv_out", widths[-1], 256)
    conv("decoder.conv_out", 128, 3)
    conv("quant_conv", 256, 8, 1)
    conv("post_quant_conv", 8, 256, 1)
    shapes["quantize.embedding.weight"] = (16384, 8)
    shapes["quantize.codebook_used"] = (65536,)
    return shapes


def on_meta(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("multipliers", "millions"), [((1, 1, 2, 2, 4), 71.88), ((1, 2, 2, 4), 70.11)], ids=["VQ-16", "VQ-8"]
)
def test_published_tokenizers_have_their_published_size(
    multipliers: tuple[int, ...], millions: float
) -> None:
    """Oracle: 71.88 and 70.11 million parameters, with tensors named and shaped as in the published files."""
    imported, _ = convert(foreign(on_meta(vq_shapes(multipliers))))
    stage = imported.tokenizer
    assert stage is not None
    require_fit(stage.config, stage.state)
    assert round(sum(tensor.numel() for tensor in stage.state.values()) / 1e6, 2) == millions
    assert stage.config.channel_multipliers == multipliers
    assert (stage.config.codebook_size, stage.config.codebook_dim) == (16384, 8)
    assert stage.config.quantizer.kind == "l2"
    assert not stage.config.quantizer.legacy


# The transformers


def test_transformer_gives_the_recorded_logits(folder: Path) -> None:
    """Oracle: teacher-forced logits of LlamaGen, within 1e-4."""
    imported, ledger = convert(read(folder / "gpt.pt"))
    prior, io = prior_of(imported.transformer), load_file(folder / "gpt_io.safetensors")
    with torch.inference_mode():
        logits = prior(io["codes"][:, :-1], io["classes"][:, None])
    torch.testing.assert_close(logits, io["logits"], atol=1e-4, rtol=0)
    assert prior.spec.null_token == 10
    assert not ledger.dropped
    assert imported.tokenizer is None
    assert imported.image_size == 128  # 8x8 codes of 16 pixels
    assert imported.transformer is not None
    assert imported.transformer.condition.kind == "class"
    assert imported.transformer.sampling.guidance == 4
    assert imported.transformer.sampling.top_k == 2000


@pytest.mark.parametrize(("name", "guidance"), [("greedy", 1.0), ("greedy_cfg2p5", 2.5)])
def test_transformer_draws_the_recorded_codes(folder: Path, name: str, guidance: float) -> None:
    """Oracle: greedy codes of LlamaGen, without guidance and with a scale of 2.5."""
    imported, _ = convert(read(folder / "gpt.pt"))
    io = load_file(folder / "gpt_io.safetensors")
    settings = SamplingSettings(temperature=0, guidance=guidance)
    assert torch.equal(
        draw(prior_of(imported.transformer), io["classes"][:, None], (8, 8), settings), io[name]
    )


def gpt_shapes(
    layers: int, width: int, hidden: int, **changes: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a transformer, from the facts of the format."""
    shapes = {
        "cls_embedding.embedding_table.weight": (1001, width),
        "tok_embeddings.weight": (16384, width),
        "norm.weight": (width,),
        "output.weight": (16384, width),
    }
    for layer in range(layers):
        shapes |= {
            f"layers.{layer}.attention.wqkv.weight": (3 * width, width),
            f"layers.{layer}.attention.wo.weight": (width, width),
            f"layers.{layer}.feed_forward.w1.weight": (hidden, width),
            f"layers.{layer}.feed_forward.w3.weight": (hidden, width),
            f"layers.{layer}.feed_forward.w2.weight": (width, hidden),
            f"layers.{layer}.attention_norm.weight": (width,),
            f"layers.{layer}.ffn_norm.weight": (width,),
        }
    return shapes | changes


@pytest.mark.parametrize(
    ("layers", "heads", "width", "hidden", "millions"),
    [
        (12, 12, 768, 2048, 110.9),
        (24, 16, 1024, 2816, 342.9),
        (36, 20, 1280, 3584, 774.7),
        (48, 24, 1536, 4096, 1411.0),
        (24, 32, 3200, 8704, 3096.7),
    ],
    ids=["B", "L", "XL", "XXL", "3B"],
)
def test_published_transformers_have_their_published_size(
    layers: int, heads: int, width: int, hidden: int, millions: float
) -> None:
    """Oracle: published parameter counts and heads, with tensors named and shaped as in the published files."""
    imported, _ = convert(foreign(on_meta(gpt_shapes(layers, width, hidden)), name="c2i_3B_384.pt"))
    stage = imported.transformer
    assert stage is not None
    with torch.device("meta"):
        prior = build_prior(stage.config, stage.spec)
    prior.load_state_dict(stage.state, assign=True)
    assert round(sum(p.numel() for p in prior.parameters()) / 1e6, 1) == millions
    assert (stage.config.layers, stage.config.heads, stage.config.width) == (layers, heads, width)
    assert (stage.spec.codebook_size, stage.spec.condition_size, stage.spec.null_condition) == (
        16384,
        1000,
        True,
    )
    assert stage.spec.grid == (24, 24)


def small(config: Mapping[str, Any] | None = None, name: str = "x.pt", **settings: Any) -> Foreign:
    """Two layers of width 64, whose heads are in no table."""
    return foreign(on_meta(gpt_shapes(2, 64, 256)), config, name, **settings)


def stage_of(source: Foreign) -> SecondStage:
    stage = convert(source)[0].transformer
    assert stage is not None
    return stage


def test_heads_that_nothing_tells_are_asked_for() -> None:
    with pytest.raises(UsageError) as caught:
        convert(small())
    assert "2 layers and width 64" in caught.value.message
    assert "--set transformer.heads=16" in (caught.value.hint or "")
    assert stage_of(small(transformer__heads=8)).config.heads == 8
    assert stage_of(small({"n_head": 4})).config.heads == 4
    assert stage_of(small({"config": {"n_head": 4}})).config.heads == 4  # as huggingface_hub writes it
    assert stage_of(small({"n_head": 4}, transformer__heads=2)).config.heads == 2
    for wrong in (3, 32, 0, "many"):
        with pytest.raises(UsageError, match="do not divide the width 64"):
            convert(small(transformer__heads=wrong))


def test_stale_angles_tell_heads_and_grid(folder: Path) -> None:
    """Oracle: the recorded logits. Angles are of [1 + grid^2, half a head, 2], and nothing else is taken from them."""
    source, io = read(folder / "gpt.pt"), load_file(folder / "gpt_io.safetensors")
    tensors = {**source.tensors, "freqs_cis": torch.full((65, 8, 2), math.nan)}
    imported, ledger = convert(replace(source, tensors=tensors, config={}))
    assert [each.names for each in ledger.dropped] == [("freqs_cis",)]
    with torch.inference_mode():
        logits = prior_of(imported.transformer)(io["codes"][:, :-1], io["classes"][:, None])
    torch.testing.assert_close(logits, io["logits"], atol=1e-4, rtol=0)


def test_grid_is_set_or_configured_or_named_or_said_to_be_assumed() -> None:
    """Oracle: 16 pixels per code; a note wherever it is a guess."""
    heads = {"transformer__heads": 4}
    cases: list[tuple[Foreign, int, str]] = [
        (small(**heads), 16, "256x256 pixels, as no tensor tells"),
        (small(name="c2i_XL_384.pt", **heads), 24, "384x384 pixels, by the name of the file"),
        (small({"block_size": 64}, **heads), 8, ""),
        (small({"block_size": 64}, **heads, data__size=384), 24, ""),
    ]
    for source, side, note in cases:
        imported, _ = convert(source)
        assert imported.transformer is not None
        assert imported.transformer.spec.grid == (side, side)
        assert imported.image_size == 16 * side
        guesses = [each for each in imported.notes if "taken for" in each]
        assert bool(guesses) == bool(note)
        assert all(note in each and "--set data.size=" in each for each in guesses)
    with pytest.raises(UsageError, match=r"data\.size=100"):
        convert(small(**heads, data__size=100))


def test_names_of_wrapped_modules_mean_the_same() -> None:
    """Oracle: the names without what FSDP, torch.compile and DataParallel put into them."""
    plain = stage_of(small(transformer__heads=4)).state
    for start, inside in (("_orig_mod.", ""), ("module._orig_mod.", ""), ("_fsdp_wrapped_module.",) * 2):
        wrapped = {
            start + name.replace(".attention.", f".{inside}attention."): shape
            for name, shape in gpt_shapes(2, 64, 256).items()
        }
        found = stage_of(foreign(on_meta(wrapped), transformer__heads=4)).state
        assert found.keys() == plain.keys()


def test_a_model_without_a_null_class() -> None:
    """Oracle: as many rows as classes; guidance is then off."""
    stage = stage_of(small({"num_classes": 1001, "n_head": 4}))
    assert (stage.spec.condition_size, stage.spec.null_condition) == (1001, False)
    assert (stage.sampling.guidance, stage.condition.dropout) == (1, 0)


@pytest.mark.parametrize(("hidden", "config"), [(192, {"multiple_of": 64}), (384, {}), (171, {}), (170, {})])
def test_any_width_of_the_feed_forward_layers(hidden: int, config: dict[str, int]) -> None:
    """Oracle: the module that the config builds has this width."""
    source = foreign(on_meta(gpt_shapes(2, 64, hidden)), {**config, "n_head": 4})
    stage = stage_of(source)
    with torch.device("meta"):
        prior = build_prior(stage.config, stage.spec)
    prior.load_state_dict(stage.state, assign=True)


@pytest.mark.parametrize(
    ("changes", "config", "message"),
    [
        ({"layers.0.attention.wqkv.weight": (96, 64)}, {}, "grouped-query attention cannot be represented"),
        ({"layers.0.feed_forward.w1.weight": (100, 64)}, {}, "less than 8/3 of the width"),
        (
            {"layers.0.attention.rope": (3,)},
            {},
            r"1 tensors that have no place .*: layers\.0\.attention\.rope",
        ),
        ({}, {"norm_eps": 1e-6}, "norm_eps 1e-06 cannot be represented"),
        ({}, {"cls_token_num": 120}, "120 class tokens"),
        ({}, {"rope_base": "large"}, "rope_base 'large'"),
    ],
)
def test_what_means_something_else_is_refused(
    changes: dict[str, tuple[int, ...]], config: dict[str, Any], message: str
) -> None:
    source = foreign(on_meta(gpt_shapes(2, 64, 256, **changes)), {**config, "n_head": 4})
    with pytest.raises(ModelError, match=message):
        convert(source)


def test_text_to_image_is_refused_by_name() -> None:
    shapes = gpt_shapes(2, 64, 256)
    del shapes["cls_embedding.embedding_table.weight"]
    shapes |= {"cls_embedding.cap_proj.fc1.weight": (64, 2048), "cls_embedding.uncond_embedding": (120, 2048)}
    with pytest.raises(ModelError, match=r"LlamaGen text-to-image GPT, which cannot be imported: .*T5"):
        convert(foreign(on_meta(shapes)))
