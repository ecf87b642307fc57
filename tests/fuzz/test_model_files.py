"""Properties of the readers of our own models and checkpoints, where what a file says of itself is changed."""

from __future__ import annotations

import copy
import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.fuzz.damage import changed
from tests.fuzz.efforts import attempted, efforts
from tests.fuzz.test_presets import CONFIG
from tests.fuzz.tiny_models import save_tiny_models
from tests.recipes.conftest import Vqgan
from tests.recipes.conftest import vqgan as vqgan
from vqgan_cli.core.artifacts import Transformer, load_tokenizer, load_transformer, read_model_info
from vqgan_cli.core.errors import VqganError
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.presets import dump
from vqgan_cli.core.training.checkpoints import Checkpoint, load, save


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_tiny_models(tmp_path_factory.mktemp("models"))


@efforts
@pytest.mark.parametrize(("which", "part"), [(0, "config"), (0, "provenance"), (1, "config"), (1, "prior")])
def test_what_a_model_says_of_itself(
    effort: settings, which: int, part: str, models: list[Path], vqgan: Vqgan, tmp_path: Path
) -> None:
    """Invariant: a model, or an error of the project, for values of any kind in any place of a JSON in its metadata.

    The weights, and so the fingerprint, stay as they are: nothing but the checks of what is said stands in the way.
    """
    tensors, metadata = load_file(models[which]), read_model_info(models[which])
    path = tmp_path / "model.safetensors"
    said = {
        "config": metadata.config.model_dump(mode="json"),
        "provenance": metadata.provenance,
        "prior": metadata.prior,
    }
    read = (load_tokenizer, load_transformer)[which]

    # Of a config, what models are built by; the rest is presets' business.
    sections = ("tokenizer", "condition", "transformer") if part == "config" else tuple(said[part])

    @settings(effort, max_examples=effort.max_examples // 6)  # models are built
    @given(changed({name: said[part][name] for name in sections}) | st.sampled_from([None, 3, "text"]))
    def holds(new: Any) -> None:
        if part == "config" and isinstance(new, dict):
            new = {**said[part], **new}
        texts = {name: json.dumps(value) for name, value in {**said, part: new}.items()}
        save_file(tensors, path, {"format": metadata.format, "fingerprint": metadata.fingerprint, **texts})
        model = attempted(lambda: read(path))
        assert isinstance(model, Exception | Tokenizer | Transformer)
        shown = vqgan("info", path)
        assert shown.code in (0, 1, 2)
        assert "internal error" not in shown.err

    holds()


@pytest.mark.parametrize(
    ("part", "place", "value"),
    [
        ("config", ("tokenizer", "codebook_size"), 9),
        ("config", ("tokenizer", "codebook_size"), 2**31),
        ("config", ("tokenizer", "codebook_dim"), 2**62),
        ("config", ("tokenizer", "channels"), 32 * 10**15),
        ("config", ("tokenizer", "res_blocks"), 3),
        ("config", ("tokenizer", "res_blocks"), 10**9),
        ("config", ("tokenizer", "channel_multipliers"), []),
        ("config", ("tokenizer", "channel_multipliers"), [1] * 10_000),
        ("config", ("tokenizer", "quantizer", "kind"), "other"),
        ("config", ("transformer", "layers"), 3),
        ("config", ("transformer", "layers"), 10**9),
        ("config", ("transformer", "width"), 2**62),
        ("config", ("transformer", "kind"), "llama"),
        ("prior", ("grid",), [2**12, 2**12]),
        ("prior", ("grid",), [0, 4]),
        ("prior", ("grid",), [4]),
        ("prior", ("codebook_size",), 10**30),
        ("prior", ("condition_size",), -1),
        ("prior", ("condition_size",), 2**62),
        ("prior", ("classes",), None),
    ],
)
def test_models_that_cannot_be(
    part: str, place: tuple[str, ...], value: Any, models: list[Path], tmp_path: Path
) -> None:
    """Invariant: sizes that do not fit the weights are an error of the project, and cost no memory and no time.

    Of the largest of these models the weights would take 10**30 bytes, and its layers days to be built.
    """
    tensors, metadata = load_file(models[1]), read_model_info(models[1])
    said = {"config": metadata.config.model_dump(mode="json"), "prior": copy.deepcopy(metadata.prior)}
    section: Any = said[part]
    for name in place[:-1]:
        section = section[name]
    section[place[-1]] = value
    if place == ("grid",):
        said["config"]["transformer"]["kind"] = "llama"  # which computes where each cell lies
    texts = {name: json.dumps(content) for name, content in said.items()}
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, {"format": metadata.format, "fingerprint": metadata.fingerprint, **texts})
    tracemalloc.start()
    try:
        error = attempted(lambda: load_transformer(path))
        assert isinstance(error, VqganError)
        assert place != ("grid",) or "do not fit" not in error.message  # found before it is computed
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@efforts
def test_facts_of_a_checkpoint(effort: settings, tmp_path: Path) -> None:
    """Invariant: a checkpoint, or an error of the project, whatever its files say, with checksums that agree."""
    saved = save(tmp_path, Checkpoint(4, {}, {"samples_seen": 16, "best": {"loss": 0.5}}), keep=1)
    documents = {name: json.loads((saved / name).read_text()) for name in ("facts.json", "manifest.json")}

    @effort
    @given(
        st.sampled_from(list(documents)).flatmap(
            lambda name: st.tuples(st.just(name), changed(documents[name]))
        )
    )
    def holds(which: tuple[str, Any]) -> None:
        contents = {**documents, which[0]: which[1]}
        (saved / "facts.json").write_text(json.dumps(contents["facts.json"]))
        if which[0] == "facts.json":
            digest = hashlib.sha256((saved / "facts.json").read_bytes()).hexdigest()
            contents["manifest.json"] = {"facts.json": digest}
        (saved / "manifest.json").write_text(json.dumps(contents["manifest.json"]))
        found = attempted(lambda: load(saved))
        assert isinstance(found, Exception) or type(found.step) is int

    holds()


@efforts
def test_what_a_run_says_of_itself(effort: settings, vqgan: Vqgan, tmp_path: Path) -> None:
    """Invariant: a run folder is described, damaged or not, whatever its status and the newest line of its log say."""
    run, time = tmp_path / "run", "2025-01-01T00:00:00+00:00"
    (run / "samples").mkdir(parents=True)
    (run / "config.yaml").write_text(dump(CONFIG))
    documents: dict[str, dict[str, Any]] = {
        "status.json": {
            "state": "stopped", "time": time, "pid": 1, "step": 4, "steps": 9, "reason": "interrupted",
            "resume": "vqgan train-ae --resume", "validation": {"loss": 0.5}, "unreadable_files": [{"path": "a"}],
        },
        "log.jsonl": {"step": 4, "time": time, "loss/total": 0.5, "validation/loss": 0.5},
    }  # fmt: skip

    @settings(effort, max_examples=effort.max_examples // 5)  # the config is read each time
    @given(st.sampled_from(list(documents)), st.data())
    def holds(which: str, data: st.DataObject) -> None:
        new = data.draw(changed(documents[which]) | st.sampled_from([3, [], "text", None, {}]))
        for name, document in {**documents, which: new}.items():
            (run / name).write_text(json.dumps(document) + "\n")
        assert vqgan("info", "run").code == 0

    holds()
