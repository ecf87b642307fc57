"""diffusers' own ``VQModel`` loads what is written for it and gives the same codes and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.interop import exported_models as models
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.writing.diffusers import CONFIG_FILE, WEIGHTS_FILE, write_diffusers
from vqgan_cli.core.interop.writing.source import Written
from vqgan_cli.core.models.torchvision_compat import import_torchvision
from vqgan_cli.core.recipes.import_ import ImportOptions, import_model
from vqgan_cli.core.reporting import Reporter

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def vqmodel() -> Any:
    """The class."""
    import_torchvision()
    return pytest.importorskip("diffusers").VQModel


def written(folder: Path, **changes: Any) -> tuple[models.Source, Written]:
    """A model, and what an export into the folder said of it."""
    source = models.source_of(models.save(folder / "it.safetensors", **changes))
    folder = folder / "out"
    folder.mkdir()
    return source, write_diffusers(source, folder)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention_resolutions": (8, 32), "res_blocks": 2},
        {"attention_resolutions": (), "mid_attention": False},
        {"channel_multipliers": (1, 3), "quantizer": "ema", "decoder_res_blocks": 2},
        {"kind": "segmentation", "in_channels": 5, "out_channels": 5},
        {"kind": "depth", "in_channels": 1, "out_channels": 1, "codebook_dim": 16},
    ],
    ids=["attention", "two levels with attention", "no attention", "ema", "label maps", "depth"],
)
def test_same_codes_and_images(changes: dict[str, Any], vqmodel: Any, tmp_path: Path) -> None:
    """Oracle: diffusers; codes equal, what the decoder gives within 1e-4, for pictures of another shape than any that
    the model was made with.
    """
    source, _ = written(tmp_path, **changes)
    model, loading = vqmodel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values())  # no tensor is missing, left over or of another shape
    tokenizer = source.tokenizer
    images = models.pictures(tokenizer, 2, 24, 40)
    expected = tokenizer.encode(images)
    assert len(expected.unique()) > 5
    latents = model.encode(images).latents
    _, _, (_, _, codes) = model.quantize(latents)
    assert torch.equal(codes.view_as(expected), expected)
    shape = (*expected.shape, tokenizer.config.codebook_dim)
    from_codes = model.decode(expected.flatten(), force_not_quantize=True, shape=shape).sample
    shown = tokenizer.decode(expected)
    for sample in (from_codes, model.decode(latents).sample):
        if tokenizer.makes_labels:
            assert (tokenizer.pixels(sample) == shown).double().mean() > 0.99
        else:
            torch.testing.assert_close(sample.clamp(-1, 1), shown, **CLOSE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantizer": "l2"}, r"tokenizer\.quantizer\.kind 'l2' \(only vq, ema\)"),
        ({"quantizer": "gumbel"}, r"tokenizer\.quantizer\.kind 'gumbel' \(only vq, ema\)"),
        ({"channel_multipliers": (2, 2)}, r"tokenizer\.channel_multipliers from 2 on \(only from 1:"),
        ({"decoder_res_blocks": 1}, r"tokenizer\.decoder_res_blocks 1 \(only 0\)"),
        (
            {"downsample": "average", "pixel_range": "unit"},
            r"tokenizer\.pixel_range 'unit' \(only 'signed'\); tokenizer\.downsample 'average' \(only 'conv'\)",
        ),
    ],
    ids=["l2", "gumbel", "wide start", "fewer blocks", "two at once"],
)
def test_what_it_cannot_hold(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """Oracle: every such option is named, with what could be held; nothing is written."""
    with pytest.raises(ModelError, match=reason):
        written(tmp_path, **changes)
    assert not list((tmp_path / "out").iterdir())


def test_comes_back_bit_for_bit(shared: Path, tmp_path: Path) -> None:
    """Oracle: the recorded folder. Imported and exported it has the same tensors, and the same config but for what a
    user of codes needs, the scale of latents, and the version that wrote it.
    """
    folder = shared / "golden/diffusers/vqmodel"
    import_model(ImportOptions(folder, tmp_path / "imported"), Reporter())
    source = models.source_of(tmp_path / "imported")
    notes = write_diffusers(source, tmp_path).notes
    assert notes == ("decode() gives pixels as they come: clamp them to [-1, 1]",)
    found, expected = load_file(tmp_path / WEIGHTS_FILE), load_file(folder / WEIGHTS_FILE)
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    config, recorded = (json.loads((each / CONFIG_FILE).read_text()) for each in (tmp_path, folder))
    differing = {key for key in config.keys() | recorded.keys() if config.get(key) != recorded.get(key)}
    assert differing == {"_diffusers_version", "force_upcast", "lookup_from_codebook", "scaling_factor"}
