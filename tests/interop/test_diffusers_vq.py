"""VQModels of diffusers, against recorded outputs and against diffusers itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.architecture import require_fit
from vqgan_cli.core.interop.diffusers_vq import LAYOUTS
from vqgan_cli.core.interop.foreign import Foreign, Ledger
from vqgan_cli.core.interop.imported import Imported
from vqgan_cli.core.interop.layouts import recognise
from vqgan_cli.core.models.tokenizer import Tokenizer

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
OLD_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


@pytest.fixture
def recorded(shared: Path) -> Foreign:
    folder = shared / "golden" / "diffusers" / "vqmodel"
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    return Foreign(folder, tensors, config=json.loads((folder / "config.json").read_text()))


@pytest.fixture
def io(shared: Path) -> dict[str, Tensor]:
    return load_file(shared / "golden" / "diffusers" / "vqmodel_io.safetensors")


def convert(source: Foreign) -> tuple[Imported, Ledger]:
    layout = recognise(source, LAYOUTS)
    assert layout.convert is not None
    ledger = Ledger(source.tensors)
    imported = layout.convert(source, ledger)
    ledger.settle()
    assert imported.tokenizer is not None
    require_fit(imported.tokenizer.config, imported.tokenizer.state)
    return imported, ledger


def tokenizer_of(imported: Imported) -> Tokenizer:
    assert imported.tokenizer is not None
    tokenizer = Tokenizer(imported.tokenizer.config).eval()
    tokenizer.load_state_dict(imported.tokenizer.state)
    return tokenizer


def changed(source: Foreign, tensors: Mapping[str, Tensor] | None = None, **config: Any) -> Foreign:
    return Foreign(source.path, tensors or source.tensors, config={**source.config, **config})


def renamed(source: Foreign, names: Mapping[str, str]) -> dict[str, Tensor]:
    tensors = {}
    for name, tensor in source.tensors.items():
        for old, new in names.items():
            name = name.replace(old, new)
        tensors[name] = tensor
    return tensors


@torch.no_grad()
@pytest.mark.parametrize("names", [{}, OLD_NAMES], ids=["new names", "old names"])
def test_encodes_and_decodes_as_recorded(
    recorded: Foreign, io: dict[str, Tensor], names: dict[str, str]
) -> None:
    """Oracle: recorded codes (equal), vectors and reconstruction of diffusers (1e-4); an old file is renamed."""
    imported, ledger = convert(changed(recorded, renamed(recorded, names)))
    tokenizer = tokenizer_of(imported)
    torch.testing.assert_close(tokenizer.features(io["x"]), io["pre_quant"], **TOLERANCE)
    assert torch.equal(tokenizer.encode(io["x"]), io["indices"])
    torch.testing.assert_close(tokenizer.quantizer.decode(io["indices"]), io["quant"], **TOLERANCE)
    torch.testing.assert_close(tokenizer(io["x"]).reconstruction, io["reconstruction"], **TOLERANCE)
    assert len(ledger.used) == len(recorded.tensors)
    assert not ledger.dropped
    assert tokenizer.config.quantizer.legacy
    assert imported.image_size == 64
    assert any("scaling_factor 0.18215" in note for note in imported.notes)


def test_tensors_are_not_copied(recorded: Foreign) -> None:
    imported, _ = convert(recorded)
    assert imported.tokenizer is not None
    ours = {tensor.data_ptr() for tensor in imported.tokenizer.state.values()}
    assert ours == {tensor.data_ptr() for tensor in recorded.tensors.values()}


def test_what_an_old_config_lacks_has_the_default(recorded: Foreign) -> None:
    """Oracle: the config as of diffusers 0.8, and none at all, give the same network; the latter with a note."""
    full, _ = convert(recorded)
    assert full.tokenizer is not None
    later = ("force_upcast", "lookup_from_codebook", "mid_block_add_attention", "norm_type", "scaling_factor")
    old = {key: value for key, value in recorded.config.items() if key not in later}
    for config in (old, {}):
        imported, _ = convert(Foreign(recorded.path, recorded.tensors, config=config))
        assert imported.tokenizer is not None
        network = imported.tokenizer.config.model_dump(exclude={"resolution", "attention_resolutions"})
        assert network == full.tokenizer.config.model_dump(exclude={"resolution", "attention_resolutions"})
        assert any("GroupNorm is taken to have 32 groups" in note for note in imported.notes) != bool(config)


def test_image_size_is_the_sample_size_or_as_set(recorded: Foreign) -> None:
    """32 is what diffusers writes where nobody said anything."""
    for sample_size, size in ((64, 64), (32, 256), (None, 256), (100, 100), (101, 100)):
        assert convert(changed(recorded, sample_size=sample_size))[0].image_size == size
    source = Foreign(
        recorded.path, recorded.tensors, config=recorded.config, settings={"data": {"size": 512}}
    )
    imported, _ = convert(source)
    assert imported.image_size == 512
    assert imported.tokenizer is not None
    assert imported.tokenizer.config.attention_resolutions == (256,)
    with pytest.raises(UsageError, match=r"data\.size=33"):
        convert(Foreign(recorded.path, recorded.tensors, settings={"data": {"size": 33}}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"norm_num_groups": 16}, "norm_num_groups 16 cannot be represented"),
        ({"norm_type": "spatial"}, "MoVQ.*norm_type: spatial"),
        ({"act_fn": "gelu"}, "act_fn 'gelu' cannot be represented"),
        ({"_class_name": "AutoencoderKL"}, "that of a AutoencoderKL, not of a VQModel"),
        (
            {"down_block_types": ["DownBlock2D"] * 2},
            "type DownBlock2D .* AttnDownEncoderBlock2D and DownEncoder",
        ),
        ({"up_block_types": ["UpBlock2D"] * 2}, "type UpBlock2D cannot be represented"),
        ({"block_out_channels": [32, 128]}, r"block_out_channels \[32, 128\], and the tensors \[32, 64\]"),
        ({"vq_embed_dim": 16}, "vq_embed_dim 16, and the tensors 12"),
        ({"layers_per_block": 1}, "layers_per_block 1, and the tensors 2"),
    ],
)
def test_what_computes_something_else_is_refused(
    recorded: Foreign, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        convert(changed(recorded, **config))


def test_attention_on_one_side_only_is_refused(recorded: Foreign) -> None:
    tensors = {
        n: t for n, t in recorded.tensors.items() if not n.startswith("encoder.down_blocks.1.attentions")
    }
    with pytest.raises(
        ModelError, match=r"encoder has attention at the levels \[\] and the decoder at \[1\]"
    ):
        convert(changed(recorded, tensors))


def test_movq_is_refused_by_its_tensors(recorded: Foreign) -> None:
    tensors = renamed(recorded, {"decoder.conv_norm_out.": "decoder.conv_norm_out.norm_layer."})
    with pytest.raises(ModelError, match="diffusers MoVQ, which cannot be imported"):
        convert(Foreign(recorded.path, tensors))


def test_continuous_autoencoders_are_refused_by_name(recorded: Foreign) -> None:
    tensors = {name: t for name, t in recorded.tensors.items() if not name.startswith("quantize.")}
    with pytest.raises(ModelError, match=r"AutoencoderKL, which cannot be imported: .* no codebook"):
        convert(Foreign(recorded.path, tensors))


# Against diffusers itself, where it is installed


@pytest.fixture(scope="module")
def vqmodel() -> Any:
    """The class."""
    from vqgan_cli.core.models.torchvision_compat import import_torchvision

    import_torchvision()
    return pytest.importorskip("diffusers").VQModel


def blocks(*attention: bool) -> dict[str, tuple[str, ...]]:
    """Types of the blocks, from the highest resolution on."""
    kinds = ["Attn" * each for each in attention]
    return {
        "down_block_types": tuple(f"{kind}DownEncoderBlock2D" for kind in kinds),
        "up_block_types": tuple(f"{kind}UpDecoderBlock2D" for kind in reversed(kinds)),
    }


def described(model: Any) -> dict[str, Any]:
    """The config as it is written to config.json."""
    return json.loads(model.to_json_string())


@torch.no_grad()
@pytest.mark.parametrize(
    "config",
    [
        {**blocks(False, True, False), "block_out_channels": (32, 64, 32)},
        {**blocks(True, False), "block_out_channels": (32, 64), "mid_block_add_attention": False},
        {**blocks(False, False), "block_out_channels": (64, 64), "vq_embed_dim": 7, "layers_per_block": 2},
        {**blocks(False), "block_out_channels": (32,), "in_channels": 1, "out_channels": 1},
        {**blocks(False, False), "block_out_channels": (32, 96), "lookup_from_codebook": True},
    ],
    ids=["attention between", "no attention in the middle", "vq_embed_dim", "one level", "aMUSEd"],
)
def test_same_as_diffusers(vqmodel: Any, config: dict[str, Any]) -> None:
    """Oracle: the codes (equal), vectors and images (1e-4) of diffusers' own class with random weights."""
    torch.manual_seed(0)
    model = vqmodel(latent_channels=12, num_vq_embeddings=48, **config).eval()
    torch.nn.init.normal_(model.quantize.embedding.weight)
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.normal_(module.weight, 1, 0.3)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    imported, _ = convert(Foreign(Path("x"), model.state_dict(), config=described(model)))
    tokenizer = tokenizer_of(imported)
    images = torch.rand(2, model.config.in_channels, 32, 48, generator=torch.Generator().manual_seed(1))
    unit = bool(model.config.lookup_from_codebook)
    assert unit == any("--set tokenizer.pixel_range=signed" in note for note in imported.notes)
    ours = images * 2 - 1
    theirs = images if unit else ours  # pixels of aMUSEd are in [0, 1]
    latents = model.encode(theirs).latents
    torch.testing.assert_close(tokenizer.features(ours), latents, **TOLERANCE)
    quantized, _, (_, _, codes) = model.quantize(latents)
    found = tokenizer.encode(ours)
    assert torch.equal(found.flatten(), codes)
    torch.testing.assert_close(tokenizer.quantizer.decode(found), quantized, **TOLERANCE)
    output = model.decode(latents).sample
    torch.testing.assert_close(
        tokenizer(ours).reconstruction, output * 2 - 1 if unit else output, **TOLERANCE
    )


@pytest.mark.parametrize(
    "config",
    [
        {
            **blocks(False, False, False, False, False),
            "block_out_channels": (128, 256, 256, 512, 768),
            "latent_channels": 64,
            "layers_per_block": 2,
            "num_vq_embeddings": 8192,
            "mid_block_add_attention": False,
            "lookup_from_codebook": True,
        },
        {
            **blocks(False, False, False, True),
            "block_out_channels": (64, 128, 256, 512),
            "latent_channels": 256,
            "layers_per_block": 2,
            "num_vq_embeddings": 4096,
            "vq_embed_dim": 128,
        },
    ],
    ids=["aMUSEd", "VQ-Diffusion ITHQ"],
)
def test_published_configurations(vqmodel: Any, config: dict[str, Any]) -> None:
    """Oracle: the number of parameters of diffusers' own class, from published config.json files."""
    with torch.device("meta"):
        model = vqmodel(**config)
    imported, _ = convert(Foreign(Path("x"), model.state_dict(), config=described(model)))
    assert imported.tokenizer is not None
    assert imported.image_size == 256
    ours = sum(tensor.numel() for tensor in imported.tokenizer.state.values())
    assert ours == sum(parameter.numel() for parameter in model.parameters())
