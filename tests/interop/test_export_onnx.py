"""ONNX graphs of tokenizers: run by onnxruntime, they give what torch gives, at any size and batch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interop import exported_models as models
from vqgan_cli.core.errors import ModelError, UsageError
from vqgan_cli.core.interop.writing.onnx import DECODER_FILE, ENCODER_FILE, OPSETS, codes_at_once, write_onnx
from vqgan_cli.core.interop.writing.onnx_checking import check_graphs
from vqgan_cli.core.interop.writing.source import Source, Written
from vqgan_cli.core.models.tokenizer import Tokenizer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZES = ((1, 4, 5), (5, 3, 4), (2, 8, 8), (1, 11, 3))
"""Batch, rows and columns of codes; none is what the graphs were traced at or checked at. In smaller ones a group of
GroupNorm has so few values that rounding alone moves a pixel by more than the tolerance."""
SMALL: dict[str, Any] = {"channel_multipliers": (1, 1), "attention_resolutions": (), "mid_attention": False}
"""Without attention, and f = 2."""


class Export:
    """A tokenizer and the graphs that were written of it."""

    def __init__(self, folder: Path, opset: int, **changes: Any) -> None:
        self.folder = folder
        self.source: Source = models.source_of(models.save(folder / "it.safetensors", **changes))
        self.tokenizer: Tokenizer = self.source.tokenizer
        self.written: Written = write_onnx(self.source, folder, opset)

    def run(self, file: str, given: Tensor) -> Tensor:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = str(self.folder / file)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (name,) = (each.name for each in session.get_inputs())
        (made,) = session.run(None, {name: given.numpy()})
        return torch.from_numpy(made)

    def require_same(self, least_codes: int) -> None:
        """Codes equal; pixels within 1e-4, or for label maps of the same class where that is no tie."""
        tokenizer, f, seen = self.tokenizer, self.tokenizer.downsampling, set[int]()
        for seed, (batch, rows, columns) in enumerate(SIZES):
            images = models.pictures(tokenizer, batch, rows * f, columns * f, seed)
            codes, shown = tokenizer.encode(images), tokenizer.decode(tokenizer.encode(images))
            seen |= set(codes.flatten().tolist())
            found, pictures = self.run(ENCODER_FILE, images), self.run(DECODER_FILE, codes)
            assert found.dtype == torch.int64
            assert torch.equal(found, codes)
            assert pictures.dtype == shown.dtype
            if tokenizer.makes_labels:
                with torch.inference_mode():
                    logits = tokenizer.decoder(tokenizer.post_quant_conv(tokenizer.quantizer.decode(codes)))
                best = logits.topk(2, dim=1).values
                clear = best[:, 0] - best[:, 1] > 1e-4
                assert clear.float().mean() > 0.9
                pictures, shown = pictures[clear], shown[clear]
            torch.testing.assert_close(pictures, shown, atol=1e-4, rtol=1e-4)
        assert len(seen) >= least_codes


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """With attention at a level and in the middle; f = 4."""
    return Export(tmp_path_factory.mktemp("onnx"), OPSETS[0])


def test_graphs_give_what_the_model_gives(exported: Export) -> None:
    """Oracle: the module in torch."""
    exported.require_same(least_codes=20)


def test_graphs_describe_themselves(exported: Export) -> None:
    """Oracle: the standard's checker, the names of dimensions, and the model file. No path of the exporting machine."""
    tokens = ("batch", "rows", "columns")
    expected = {
        ENCODER_FILE: (("batch", 3, "4*rows", "4*columns"), tokens),
        DECODER_FILE: (tokens, ("batch", 3, "4*rows", "4*columns")),
    }
    for file, shapes in expected.items():
        path = exported.folder / file
        graph = onnx.load(path)
        onnx.checker.check_model(graph, full_check=True)
        assert [(each.domain, each.version) for each in graph.opset_import] == [("", 18)]
        found = [
            tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in (*graph.graph.input, *graph.graph.output)
        ]
        assert found == list(shapes)
        facts = {each.key: each.value for each in graph.metadata_props}
        assert facts["vqgan.opset"] == "18"
        assert json.loads(facts["vqgan.source"])["fingerprint"] == exported.source.info.fingerprint
        assert json.loads(facts["vqgan.tokenizer"])["downsampling"] == 4
        assert b".py" not in path.read_bytes()
    check = exported.written.facts["check"]
    assert check["onnxruntime"] == onnxruntime.__version__
    assert (check["codes"], check["differing"]) == (606, 0)
    assert 0 < check["largest_pixel_difference"] < 1e-4


def test_label_maps_and_gumbel(tmp_path: Path) -> None:
    """Oracle: the module in torch. One-hot in, class indices out."""
    labels = {"kind": "segmentation", "in_channels": 5, "out_channels": 5}
    export = Export(tmp_path, 21, quantizer="gumbel", **labels, **SMALL)
    export.require_same(least_codes=5)
    output = onnx.load(tmp_path / DECODER_FILE).graph.output[0].type.tensor_type
    assert output.elem_type == onnx.TensorProto.INT64
    assert [each.dim_param for each in output.shape.dim] == ["batch", "2*rows", "2*columns"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("opset", "changes"),
    [
        (19, {"quantizer": "l2"}),
        (20, {"quantizer": "ema", "channel_multipliers": (1,)}),
        (22, {"kind": "depth", "in_channels": 1, "out_channels": 1}),
        (23, {"attention_resolutions": (32, 16), "res_blocks": 2}),
        (18, {"downsample": "average", "pixel_range": "unit", "decoder_res_blocks": 1}),
    ],
    ids=["l2", "ema, f = 1", "depth", "attention at two levels", "pooling, pixels from 0 to 1"],
)
def test_other_tokenizers_and_opsets(opset: int, changes: dict[str, Any], tmp_path: Path) -> None:
    """Oracle: the module in torch."""
    Export(tmp_path, opset, **(SMALL | changes)).require_same(least_codes=10)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vq", "l2", "ema", "gumbel"])
def test_search_of_all_codes_at_once(kind: str, tmp_path: Path) -> None:
    """Oracle: the quantizer's own search, in parts."""
    tokenizer = models.source_of(models.save(tmp_path / "it.safetensors", quantizer=kind, **SMALL)).tokenizer
    z = tokenizer.features(models.pictures(tokenizer, 3, 16, 24))
    codes = tokenizer.quantizer.encode(z)
    assert len(codes.unique()) > 5
    assert torch.equal(codes_at_once(tokenizer.quantizer, z), codes)


def test_graphs_of_another_model_are_noticed(exported: Export, tmp_path: Path) -> None:
    """The check compares: graphs of one model are not those of another."""
    other = models.source_of(
        models.save(tmp_path / "it.safetensors", quantizer="ema", codebook_size=30)
    ).tokenizer
    with pytest.raises(ModelError, match="something else than the model"):
        check_graphs(other, exported.folder / ENCODER_FILE, exported.folder / DECODER_FILE)


def test_without_onnxruntime_it_is_said(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is claimed that was not compared."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    check = check_graphs(exported.tokenizer, exported.folder / ENCODER_FILE, exported.folder / DECODER_FILE)
    assert check.facts is None
    assert "not compared with torch" in check.summary
    assert "pip install 'vqgan[onnx]'" in check.summary


def test_opsets_beyond_the_exporter(tmp_path: Path) -> None:
    """Oracle: the range, named."""
    source = models.source_of(models.save(tmp_path / "it.safetensors", **SMALL))
    for opset in (17, 24):
        with pytest.raises(UsageError, match=rf"--opset {opset} is none of 18 to 23"):
            write_onnx(source, tmp_path, opset)
