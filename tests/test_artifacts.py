"""Model files: what they say, and that damaged or foreign ones are refused."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vqgan_cli import __version__
from vqgan_cli.core.artifacts import (
    TOKENIZER_FORMAT,
    fingerprint,
    load_tokenizer,
    read_model_info,
    resolve_model,
    save_tokenizer,
)
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import ModelError, OutputError
from vqgan_cli.core.models.tokenizer import Tokenizer

CONFIG = ExperimentConfig.model_validate(
    {
        "name": "tiny",
        "data": {"size": 32},
        "tokenizer": {
            "channels": 32, "channel_multipliers": [1, 1], "res_blocks": 1, "attention_resolutions": [],
            "z_channels": 16, "codebook_size": 300, "codebook_dim": 4,
        },
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tokenizer(CONFIG.tokenizer).state_dict()


@pytest.fixture
def model(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "runs" / "mine" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_tokenizer(path, state, CONFIG, {"version": __version__, "steps": 12})
    return path


def refusal(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_tokenizer(path)
    assert repr(str(path)) in caught.value.message
    return caught.value


def test_round_trip(model: Path, state: dict[str, torch.Tensor]) -> None:
    """Invariant: the same weights, config and provenance; ready for inference."""
    info = read_model_info(model)
    assert (info.path, info.format, info.config) == (model, TOKENIZER_FORMAT, CONFIG)
    assert info.provenance == {"version": __version__, "steps": 12}
    assert info.fingerprint == fingerprint(state)
    tokenizer = load_tokenizer(model)
    assert not tokenizer.training
    assert not any(parameter.requires_grad for parameter in tokenizer.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in tokenizer.state_dict().items())


def test_folder_stands_for_its_model(model: Path) -> None:
    assert resolve_model(model.parent) == model
    assert read_model_info(model.parent).path == model
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        resolve_model(model.parent.parent)


def test_public_name() -> None:
    import vqgan_cli

    assert vqgan_cli.load_tokenizer is load_tokenizer


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("runs/mine/model.safetensor", " (did you mean 'model.safetensors'?)"),
        ("runs/mina", " (did you mean 'mine'?)"),
        ("elsewhere/model.safetensors", ""),
    ],
)
def test_missing_model(model: Path, tmp_path: Path, name: str, suggestion: str) -> None:
    assert refusal(tmp_path / name).message.endswith(f"does not exist{suggestion}")


def test_any_flipped_bit_of_the_weights_is_caught(model: Path) -> None:
    content = bytearray(model.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")  # the header's length, the header, the weights
    for position in (begin, (begin + len(content)) // 2, len(content) - 1):
        content[position] ^= 1
        model.write_bytes(content)
        assert "do not match the fingerprint" in refusal(model).message
        content[position] ^= 1
    model.write_bytes(content)
    load_tokenizer(model)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_truncated(model: Path, length: int) -> None:
    model.write_bytes(model.read_bytes()[:length])
    assert "not a readable safetensors file" in refusal(model).message


def test_what_is_no_model_of_ours(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"state_dict": state, "payload": Payload()}, tmp_path / "last.ckpt")
    assert "is a pickle, as torch.save writes it" in refusal(tmp_path / "last.ckpt").message
    assert not (tmp_path / "executed").exists()
    save_file(state, tmp_path / "plain.safetensors")
    assert "holds weights but no vqgan config" in refusal(tmp_path / "plain.safetensors").message


def test_metadata_that_does_not_fit(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    config = json.loads(CONFIG.model_dump_json())
    good = {"format": TOKENIZER_FORMAT, "config": json.dumps(config), "fingerprint": fingerprint(state)}

    save_file(state, path, good | {"format": "vqgan-transformer/1"})
    assert "is a vqgan-transformer/1 file, not a tokenizer" in refusal(path).message

    save_file(state, path, good | {"config": json.dumps(config | {"colour": 1})})
    message = refusal(path).message
    assert "does not fit this version" in message
    assert "colour: unknown key" in message

    save_file(state, path, good | {"provenance": "{"})
    assert "the provenance inside" in refusal(path).message

    config["tokenizer"]["codebook_size"] = 301
    save_file(state, path, good | {"config": json.dumps(config)})
    message = refusal(path).message
    assert "do not fit their own config" in message
    assert "quantizer.embedding.weight" in message

    save_file(state, path, good | {"fingerprint": "0" * 64})
    assert "do not match the fingerprint 000000000000" in refusal(path).message


def test_fingerprint_is_of_names_types_shapes_and_values_only() -> None:
    """Invariants of a hash: nothing but the order and the layout in memory may change without changing it."""
    base = {"a": torch.arange(6.0), "b": torch.tensor(3)}
    column_major = {"a": torch.arange(6.0).repeat(2, 1).T[:, 0], "b": torch.tensor(3)}
    assert fingerprint(dict(reversed(base.items()))) == fingerprint(base) == fingerprint(column_major)
    changed = [
        base | {"a": torch.zeros(6)},
        base | {"a": torch.zeros(6, dtype=torch.int32)},  # the same bytes
        base | {"a": torch.arange(6.0).double()},
        base | {"a": torch.arange(6.0).reshape(2, 3)},
        base | {"a": torch.arange(6.0).reshape(3, 2)},
        base | {"a": torch.tensor([0.0, 1, 2, 3, 4, 5.0000005])},
        base | {"b": torch.tensor([3])},
        {"c": base["a"], "b": base["b"]},
        base | {"c": torch.zeros(0)},
        base | {"a": torch.arange(6.0).bfloat16()},
    ]
    assert len({fingerprint(state) for state in [base, *changed]}) == len(changed) + 1


def test_unwritable_model(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        save_tokenizer(tmp_path / "no-such-folder" / "model.safetensors", state, CONFIG, {})


def test_full_disk_keeps_the_old_model(model: Path, state: dict[str, torch.Tensor]) -> None:
    """The limit of a file's size stands for the full disk: the same error, at a byte that one can choose."""
    before = model.read_bytes()
    changed = {name: tensor + 1 for name, tensor in state.items()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            save_tokenizer(model, changed, CONFIG, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert model.read_bytes() == before
    assert [path.name for path in model.parent.iterdir()] == ["model.safetensors"]


def test_metadata_is_read_without_torch(model: Path) -> None:
    """So that listing and describing models stays quick."""
    program = (
        "import sys; from vqgan_cli.core.newest import newest_tokenizer;"
        f"newest_tokenizer({str(model.parent.parent)!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
