"""What is written for taming-transformers holds what was imported from it, and refuses what it cannot hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from tests.interop import exported_models as models
from tests.interop import taming_files as files
from tests.interop.test_taming_transformer import CELLS, checkpoint
from tests.interop.test_taming_transformer import yaml as described
from vqgan_cli.core.artifacts import ModelInfo, read_model_info, save_transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.config import ExperimentConfig, MapsConfig, TokenizerConfig, TransformerConfig
from vqgan_cli.core.data.maps import build_map_kind
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.writing.source import unheld_tokenizer
from vqgan_cli.core.interop.writing.taming import CHECKPOINT_FILE, CONFIG_FILE, write_taming
from vqgan_cli.core.interop.writing.taming_gpt import gpt_tensors, permuter
from vqgan_cli.core.models.priors import Prior, PriorSpec, build_prior
from vqgan_cli.core.recipes.export import ExportOptions, export
from vqgan_cli.core.recipes.import_ import ImportOptions, import_model
from vqgan_cli.core.reporting import Reporter

CLASSES = ("modules.util.Labelator", {"n_classes": 7})
COORDINATES = ("modules.misc.coord.CoordStage", {"n_embed": 24, "down_factor": 4})
DEPTH = ("models.vqgan.VQModel", {"image_key": "depth"})
MAPS = {"block": 2 * CELLS**2}
"""As many positions again for a condition with a token per cell."""


def imported(source: Path, config: Path, out: Path) -> ModelInfo:
    """The model that an import makes of a checkpoint."""
    options = ImportOptions(source, out, config, settings=("data.size=16",), name="model")
    import_model(options, Reporter())
    return read_model_info(out)


def there_and_back(
    folder: Path, tensors: dict[str, Tensor], config: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the config that an export writes of an imported checkpoint.

    Its own oracle: an import of what was written makes the same model, weights and config.
    """
    torch.save({"state_dict": tensors}, folder / "last.ckpt")
    (folder / "last.yaml").write_text(yaml.safe_dump(config))
    model = imported(folder / "last.ckpt", folder / "last.yaml", folder / "imported")
    out = export(ExportOptions(folder / "imported", "taming", folder / "exported"), Reporter()).path
    again = imported(out / CHECKPOINT_FILE, out / CONFIG_FILE, folder / "again")
    assert again.fingerprint == model.fingerprint
    assert again.prior == model.prior
    for section in ("data", "tokenizer", "condition", "transformer"):
        assert getattr(again.config, section) == getattr(model.config, section)
    # Plain tensors alone: the reader that refuses all else reads them.
    written = torch.load(out / CHECKPOINT_FILE, weights_only=True)
    assert set(written) == {"state_dict"}
    return written["state_dict"], yaml.safe_load((out / CONFIG_FILE).read_text())["model"]


def require_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same names, types and bits."""
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(
    ("kind", "target"),
    [("vq", "VQModel"), ("ema", "EMAVQ"), ("gumbel", "GumbelVQ")],
    ids=["vq", "ema", "gumbel"],
)
def test_tokenizer_comes_back_bit_for_bit(kind: str, target: str, tmp_path: Path) -> None:
    """Oracle: the checkpoint that was imported, without what only its training needed."""
    tensors = files.random(files.tokenizer(quantizer=kind, embed=16 if kind == "gumbel" else 8))
    params: dict[str, Any] = {"n_embed": 24, "ddconfig": {"double_z": False}}
    if kind == "gumbel":
        schedule = {"lr_max": 0.9, "lr_min": 1e-6, "max_decay_steps": 1000001}
        params |= {"kl_weight": 5e-7, "temperature_scheduler_config": {"params": schedule}}
    config = {"model": {"target": f"taming.models.vqgan.{target}", "params": params}}
    found, model = there_and_back(tmp_path, tensors | files.random(files.loss(), 1), config)
    require_same(found, tensors)
    assert model["target"] == f"taming.models.vqgan.{target}"
    assert model["params"]["ddconfig"] == {
        "double_z": False,
        "z_channels": 16,
        "resolution": 16,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 2, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [4],
        "dropout": 0.0,
    }


def test_tokenizer_of_label_maps_gets_new_colours(tmp_path: Path) -> None:
    """Oracle: the checkpoint that was imported, and the shape of the buffer that no model here keeps."""
    tensors = files.random(files.tokenizer(channels=5, colorize=True))
    params = {"n_labels": 5, "ddconfig": {"double_z": False}}
    config = {"model": {"target": "taming.models.vqgan.VQSegmentationModel", "params": params}}
    found, model = there_and_back(tmp_path, tensors, config)
    assert found.pop("colorize").shape == tensors.pop("colorize").shape
    require_same(found, tensors)
    assert model["target"] == "taming.models.vqgan.VQSegmentationModel"
    assert model["params"]["n_labels"] == 5


@pytest.mark.parametrize(
    ("condition", "source", "config"),
    [
        ("__is_unconditional__", {}, {}),
        # A model whose one token is another row comes in with a table for that token alone.
        ("__is_unconditional__", {}, {"sos_token": 5}),
        (CLASSES, {}, {"cond_stage_key": "class_label"}),
        (COORDINATES, MAPS | {"prefix": CELLS**2}, {"cond_stage_key": "coord"}),
        (DEPTH, MAPS | {"condition": files.tokenizer(channels=1)}, {"cond_stage_key": "depth"}),
        ("__is_first_stage__", MAPS, {"cond_stage_key": "edges"}),
    ],
    ids=["unconditional", "other token", "classes", "coordinates", "depth", "edges"],
)
def test_transformer_comes_back_bit_for_bit(
    condition: Any, source: dict[str, Any], config: dict[str, Any], tmp_path: Path
) -> None:
    """Oracle: the checkpoint that was imported. The position behind the last input, which is never used, is zeros: so
    the original starts it and leaves it.
    """
    tensors = checkpoint(**source)
    if "block" in source:
        tensors["transformer.pos_emb"][:, -1] = 0
    if condition == "__is_first_stage__":
        first = {name: tensor for name, tensor in tensors.items() if name.startswith("first_stage_model.")}
        tensors |= {name.replace("first_", "cond_", 1): tensor for name, tensor in first.items()}
    prefix = source.get("prefix", 0)
    found, model = there_and_back(
        tmp_path, tensors, described(condition, gpt={"n_unmasked": prefix}, **config)
    )
    require_same(found, tensors)
    params = model["params"]
    assert params["sos_token"] == config.get("sos_token", 0)
    stage = params["cond_stage_config"]
    if isinstance(condition, str):
        assert stage == condition
    else:
        assert stage["target"] == f"taming.{condition[0]}"
        assert condition[1].items() <= stage["params"].items()
    gpt = params["transformer_config"]["params"]
    assert gpt == {
        "vocab_size": 24,
        "block_size": source.get("block", CELLS**2),
        "n_layer": 2,
        "n_head": 4,
        "n_embd": 32,
        "n_unmasked": prefix,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


def prior(spec: PriorSpec, **config: Any) -> Prior:
    small = {"layers": 1, "heads": 2, "width": 16, "shared_vocabulary": True}
    return build_prior(TransformerConfig(**(small | config)), spec).eval()


def test_orders_are_those_recorded(shared: Path) -> None:
    """Oracle: orders of the original on a grid of 8x8."""
    recorded = json.loads((shared / "golden/taming/permuters_8x8.json").read_text())
    names = ("row", "subsample", "z-curve", "spiral-out", "spiral-in", "random", "alternate")
    seen = {}
    for name in names:
        config, buffers = permuter(prior(PriorSpec(24, (8, 8)), order=name))
        if name == "row":
            assert (config, buffers) == (None, {})
            continue
        assert config is not None
        assert config["params"] == {"H": 8, "W": 8}
        seen[config["target"].rpartition(".")[2]] = buffers["forward_shuffle_idx"].tolist()
        assert torch.equal(buffers["backward_shuffle_idx"], buffers["forward_shuffle_idx"].argsort())
    assert seen == {name: order for name, order in recorded.items() if name != "Identity"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantizer": "l2"}, r"tokenizer\.quantizer\.kind 'l2' \(only vq, ema, gumbel\)"),
        ({"mid_attention": False}, r"tokenizer\.mid_attention false \(only true\)"),
        ({"decoder_res_blocks": 1}, r"tokenizer\.decoder_res_blocks 1 \(only 0\)"),
        ({"downsample": "average"}, r"tokenizer\.downsample 'average' \(only 'conv'\)"),
        ({"pixel_range": "unit"}, r"tokenizer\.pixel_range 'unit' \(only 'signed'\)"),
        ({"quantizer": "gumbel"}, r"tokenizer\.codebook_dim 8 \(only z_channels, 16, with gumbel\)"),
        (
            {"quantizer": "ema", "kind": "segmentation", "in_channels": 5, "out_channels": 5},
            r"tokenizer\.quantizer\.kind 'ema' \(only vq for label maps\)",
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_tokenizers_it_cannot_hold(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """Oracle: the option is named, with what could be held; nothing is written."""
    source = models.source_of(models.save(tmp_path / "it.safetensors", **changes))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ModelError, match=reason) as caught:
        write_taming(source, out)
    assert caught.value.hint is not None
    assert "--to onnx" in caught.value.hint
    assert not list(out.iterdir())


def test_blocks_of_the_decoder_may_be_said(tmp_path: Path) -> None:
    """One more than the encoder has is what their decoder has."""
    source = models.source_of(models.save(tmp_path / "it.safetensors", decoder_res_blocks=2))
    assert tuple(write_taming(source, tmp_path).files) == (CHECKPOINT_FILE, CONFIG_FILE)


def test_options_of_later_versions_are_refused_until_they_are_listed() -> None:
    """Invariant: what a target was not taught is refused wherever it differs from the default."""

    class Later(TokenizerConfig):
        codes_per_cell: int = 1

    assert unheld_tokenizer(Later(), (), ("vq",)) == []
    problems = unheld_tokenizer(Later(codes_per_cell=2), (), ("vq",))
    assert problems == ["tokenizer.codes_per_cell 2 (only 1)"]


@pytest.mark.parametrize(
    ("spec", "config", "reason"),
    [
        *(
            (PriorSpec(24, (4, 4)), {"kind": kind}, rf"transformer\.kind {kind!r} \(only gpt\)")
            for kind in ("llama", "pixelcnn", "pixelsnail")
        ),
        (PriorSpec(24, (4, 4), "class", 30), {}, "a condition of 30 tokens with pictures of 24 codes"),
        (PriorSpec(24, (6, 6)), {"order": "subsample"}, "transformer.order 'subsample' on a grid of 6x6"),
        (PriorSpec(24, (2, 4)), {"order": "spiral-in"}, "transformer.order 'spiral-in' on a grid of 2x4"),
    ],
    ids=["llama", "pixelcnn", "pixelsnail", "more tokens than codes", "subsample", "spiral"],
)
def test_transformers_it_cannot_hold(spec: PriorSpec, config: dict[str, Any], reason: str) -> None:
    """Oracle: the option is named, with what could be held."""
    with pytest.raises(ModelError, match=reason):
        gpt_tensors(prior(spec, **config))


@pytest.mark.parametrize(
    ("condition", "spec", "shared", "reason"),
    [
        (
            {"kind": "class"},
            PriorSpec(24, (8, 8), "class", 7),
            False,
            r"transformer\.shared_vocabulary false",
        ),
        ({"kind": "none"}, PriorSpec(24, (8, 8)), False, r"transformer\.shared_vocabulary false"),
        (
            {"kind": "segmentation", "tokenizer": "none"},
            PriorSpec(24, (8, 8), "codes", 5),
            True,
            r"condition\.tokenizer 'none' with segmentation \(only own\)",
        ),
    ],
    ids=["classes", "unconditional", "labels"],
)
def test_conditions_it_cannot_hold(
    condition: dict[str, Any], spec: PriorSpec, shared: bool, reason: str, tmp_path: Path
) -> None:
    """Oracle: the option is named. A table of its own is no obstacle where its rows are in the other one: see above."""
    tokenizer = models.source_of(models.save(tmp_path / "it.safetensors", codebook_size=24))
    config = ExperimentConfig.model_validate(
        tokenizer.config.model_dump()
        | {
            "condition": condition,
            "transformer": {"layers": 1, "heads": 2, "width": 16, "shared_vocabulary": shared},
        }
    )
    maps = MapsConfig(classes=5)
    config = config.model_copy(update={"data": config.data.model_copy(update={"maps": maps})})
    encoder = None
    if spec.condition == "codes":
        encoder = MapEncoder(build_map_kind(condition["kind"], maps), None, 4)
    state = build_prior(config.transformer, spec).state_dict()
    path = tmp_path / "model.safetensors"
    tokens = tokenizer.tokenizer.state_dict()
    save_transformer(path, state, tokens, config, spec, ["c"] * 7, {}, encoder)
    with pytest.raises(ModelError, match=reason) as caught:
        export(ExportOptions(path, "taming", tmp_path / "out"), Reporter())
    assert caught.value.hint is not None
    assert "--part tokenizer" in caught.value.hint
    assert not (tmp_path / "out").exists()
