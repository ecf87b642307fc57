"""`read_foreign` on recorded checkpoints, on every wrapper and folder, and on what must be refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.interop.hostile import HOSTILE, Call
from vqgan_cli.core.artifacts import save_tokenizer
from vqgan_cli.core.config import ExperimentConfig
from vqgan_cli.core.errors import ModelError
from vqgan_cli.core.interop.reading import read_foreign
from vqgan_cli.core.models.tokenizer import Tokenizer

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3)}
OTHER = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(3)}


def same_values(read: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return read.keys() == expected.keys() and all(
        torch.equal(read[name], expected[name]) for name in expected
    )


def same(read: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Equal in names, their order, and values."""
    return list(read) == list(expected) and same_values(read, expected)


class _Stand(dict[Any, Any]):
    """An object of a class that is not installed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in ("torch", "collections"):
            return super().find_class(module, name)
        return type(name, (_Stand,), {})


class _TrustingPickle:
    """For `torch.load`: Python's own unpickler, for files that are known."""

    __name__ = "trusting"
    Unpickler = _Unpickler
    load = staticmethod(lambda file, **_: _Unpickler(file).load())


# Recorded checkpoints


@pytest.mark.parametrize("name", ["vqgan", "gumbel", "segmentation", "class", "unconditional", "segcond"])
def test_recorded_lightning_checkpoints(shared: Path, name: str) -> None:
    """Oracle: `torch.load` with Python's unpickler; the callbacks' class is of a package that is not installed."""
    path = shared / "golden" / "taming" / f"{name}.ckpt"
    expected = torch.load(path, weights_only=False, pickle_module=_TrustingPickle)
    foreign = read_foreign(path)
    assert same(foreign.tensors, expected["state_dict"])
    assert (foreign.path, foreign.files, foreign.wrapper) == (path, (path,), "state_dict")
    assert (foreign.values["epoch"], foreign.values["global_step"]) == (3, 1234)
    assert foreign.config_path == path.with_suffix(".yaml")
    assert "model" in foreign.config
    assert foreign.notes == ("also in the file, and not read: callbacks",)


@pytest.mark.parametrize("name", ["vq", "gpt"])
def test_recorded_llamagen_checkpoints(shared: Path, name: str) -> None:
    """Oracle: `torch.load`, weights only."""
    path = shared / "golden" / "llamagen" / f"{name}.pt"
    foreign = read_foreign(path)
    assert same(foreign.tensors, torch.load(path, weights_only=True)["model"])
    assert foreign.wrapper == "model"
    assert foreign.config == json.loads(path.with_suffix(".json").read_text())


def test_recorded_diffusers_folder(shared: Path) -> None:
    """Oracle: safetensors' own reader."""
    folder = shared / "golden" / "diffusers" / "vqmodel"
    weights = folder / "diffusion_pytorch_model.safetensors"
    expected = load_file(weights)
    for path in (folder, folder.parent, weights):  # itself, the folder above it, its file
        foreign = read_foreign(path)
        assert same_values(foreign.tensors, expected)
        assert foreign.files == (weights,)
        assert foreign.path == (path if path == weights else folder)
        assert foreign.config["_class_name"] == "VQModel"
        assert foreign.config_path == folder / "config.json"
        assert foreign.values == {"metadata": {"format": "pt"}}


# Wrappers


@pytest.mark.parametrize(
    ("content", "wrapper"),
    [
        (STATE, ""),
        ({"state_dict": STATE}, "state_dict"),
        ({"model": STATE, "steps": 10}, "model"),
        ({"module": STATE}, "module"),
        ({"model_state_dict": STATE}, "model_state_dict"),
        ({"ema": STATE}, "ema"),
        ({"model": {"state_dict": STATE}}, "model.state_dict"),
        ({"model": STATE, "best": torch.tensor(0.5)}, "model"),
        ({"model": {}, "state_dict": STATE}, "state_dict"),
        ({"model": "vq-16", **STATE}, ""),
        ({f"module.{name}": tensor for name, tensor in STATE.items()}, ""),
        ({"model": {f"_orig_mod.module.{name}": tensor for name, tensor in STATE.items()}}, "model"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
def test_wrappers(tmp_path: Path, content: dict[str, Any], wrapper: str, zipped: bool) -> None:
    """Oracle: the state dict that was saved, and the key under which."""
    path = tmp_path / "x.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    foreign = read_foreign(path)
    assert same(foreign.tensors, STATE)
    assert foreign.wrapper == wrapper
    assert foreign.config == {}
    assert foreign.config_path is None


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    """Oracle: closed form."""
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    torch.save(state, tmp_path / "x.pt")
    assert list(read_foreign(tmp_path / "x.pt").tensors) == ["module.a", "b"]


def test_two_state_dicts_are_chosen_from_aloud(tmp_path: Path) -> None:
    """Oracle: the stated order; the averaged weights are used, and a note says so."""
    torch.save(
        {"model": OTHER, "ema": STATE, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
        tmp_path / "x.pt",
    )
    foreign = read_foreign(tmp_path / "x.pt")
    assert same(foreign.tensors, STATE)
    assert foreign.wrapper == "ema"
    assert foreign.notes == (
        "of the weights under ema and model, those under ema are used",
        "also in the file, and not read: optimizer",
    )


def test_values_beside_the_weights(tmp_path: Path) -> None:
    """Oracle: closed form. Plain ones are kept, large and other ones only named."""
    loop: list[Any] = []
    loop.append(loop)
    content = {
        "state_dict": {**STATE, "version": 2},
        "epoch": 3,
        "loss": 0.5,
        "args": {"lr": 1e-4, "sizes": (1, 2)},
        "loop": loop,
        "large": list(range(5000)),
        "text": "x" * 100_000,
        "number": 10**40,
        "best": torch.tensor(1.0),
        "\x1b[2J": {1: nn.ReLU()},
    }
    torch.save(content, tmp_path / "x.pt")
    foreign = read_foreign(tmp_path / "x.pt")
    assert foreign.values == {"epoch": 3, "loss": 0.5, "args": {"lr": 1e-4, "sizes": [1, 2]}, "version": 2}
    assert foreign.notes == ("also in the file, and not read: loop, large, text, number, best, '\\x1b[2J'",)


def test_a_state_dict_that_holds_itself(tmp_path: Path) -> None:
    """Oracle: invariant. It ends."""
    content: dict[str, Any] = dict(STATE)
    content["model"] = content
    torch.save(content, tmp_path / "x.pt")
    assert same(read_foreign(tmp_path / "x.pt").tensors, STATE)
    endless: dict[str, Any] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "x.pt")
    with pytest.raises(ModelError, match="holds no tensors"):
        read_foreign(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no tensors, .* its keys are none"),
        ({"epoch": 3, "lr": 0.1}, "its keys are epoch, lr"),
        ({str(i): i for i in range(100)}, "7 and 92 more"),
        ({"encoder": STATE, "decoder": STATE}, "its keys are encoder, decoder"),
        ([STATE], "holds a list"),
        (torch.ones(3), "holds a TensorRecord"),
        (nn.Linear(2, 2), r"a whole object, a torch\.nn\.modules\.linear\.Linear"),
        ({"model": nn.Linear(2, 2)}, r"under 'model' a whole object, a torch\.nn\.modules\.linear\.Linear"),
        ({**STATE, "b": torch.eye(3).to_sparse()}, r"'b' as torch\._utils\._rebuild_sparse_tensor"),
        ({3: torch.ones(2)}, "names a tensor by a int"),
        ({"a\nb": torch.ones(2)}, "unusable name"),
        ({"": torch.ones(2)}, "unusable name"),
        ({"x": torch.zeros(1).expand(1000)}, "repeats"),
    ],
)
def test_what_holds_no_weights_is_refused_with_the_reason(tmp_path: Path, content: Any, message: str) -> None:
    """Oracle: closed form."""
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=message):
        read_foreign(tmp_path / "x.pt")


def test_what_is_beside_the_weights_may_be_anything_inert(tmp_path: Path) -> None:
    """Oracle: invariant. Optimisers, schedulers and random states of a training are no obstacle."""
    import numpy as np

    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    content = {
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3),
        "random": np.random.default_rng(0),
        "best": np.float64(0.5),
        "class": nn.Linear,
        "activation": nn.functional.silu,
    }
    torch.save(content, tmp_path / "x.pt")
    foreign = read_foreign(tmp_path / "x.pt")
    assert same(foreign.tensors, model.state_dict())
    torch.save({**model.state_dict(), "best": np.float64(0.5), "class": nn.Linear}, tmp_path / "x.pt")
    assert read_foreign(tmp_path / "x.pt").notes == ("also in the file, and not read: best, class",)


def test_numpy_arrays_are_no_weights(tmp_path: Path) -> None:
    """Oracle: closed form. They are not left out as if they were something else."""
    import numpy as np

    torch.save({**STATE, "b": np.ones(3)}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"'b' as numpy\..*_reconstruct, which is no plain tensor"):
        read_foreign(tmp_path / "x.pt")


# Kinds of files


def test_the_content_tells_the_kind_not_the_name(tmp_path: Path) -> None:
    """Oracle: the tensors that were saved; also where a header's length looks like the beginning of a pickle."""
    torch.save(STATE, tmp_path / "x.safetensors")
    assert same(read_foreign(tmp_path / "x.safetensors").tensors, STATE)
    for note in range(0, 400, 8):  # header lengths over more than 256
        save_file(STATE, tmp_path / "x.ckpt", {"note": "x" * note})
        foreign = read_foreign(tmp_path / "x.ckpt")
        assert same_values(foreign.tensors, STATE)
        assert foreign.values == {"metadata": {"note": "x" * note}}


def test_a_text_with_a_brace_is_no_safetensors(tmp_path: Path) -> None:
    """Oracle: closed form. The first 8 bytes must be the length of a header as well."""
    (tmp_path / "x.ckpt").write_text('weights {"a": 1}')
    with pytest.raises(ModelError, match="no checkpoint"):
        read_foreign(tmp_path / "x.ckpt")


def test_damaged_safetensors(tmp_path: Path) -> None:
    """Oracle: invariant. A file without its end is never read, wherever it is cut."""
    save_file(STATE, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "x.safetensors").write_bytes(whole[:end])
        with pytest.raises(ModelError):
            read_foreign(tmp_path / "x.safetensors")


def test_our_own_models_are_refused(tmp_path: Path) -> None:
    """Oracle: a model of this program, as a file and as a folder."""
    config = ExperimentConfig.model_validate(
        {"tokenizer": {"channels": 32, "channel_multipliers": [1, 1], "attention_resolutions": []}}
    )
    path = tmp_path / "model.safetensors"
    save_tokenizer(path, Tokenizer(config.tokenizer).state_dict(), config, {})
    for given in (path, tmp_path):
        with pytest.raises(ModelError, match="a model of this program already") as error:
            read_foreign(given)
        assert "no import" in (error.value.hint or "")


def test_missing_and_unreadable(tmp_path: Path) -> None:
    """Oracle: closed form."""
    torch.save(STATE, tmp_path / "model.ckpt")
    with pytest.raises(ModelError, match=r"no file .*did you mean 'model\.ckpt'"):
        read_foreign(tmp_path / "modle.ckpt")
    with pytest.raises(ModelError, match="no file"):
        read_foreign(tmp_path / "nowhere" / "model.ckpt")
    with pytest.raises(ModelError, match=r"no file|cannot be read"):
        read_foreign(tmp_path / ("x" * 300))


# Folders and shards


@pytest.mark.parametrize("subfolder", ["", "vqvae", "vqmodel"])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_folders_of_diffusers(tmp_path: Path, subfolder: str, suffix: str) -> None:
    """Oracle: the tensors that were saved; safetensors is preferred to a pickle."""
    folder = tmp_path / subfolder
    folder.mkdir(exist_ok=True)
    torch.save(OTHER if suffix == "safetensors" else STATE, folder / "diffusion_pytorch_model.bin")
    if suffix == "safetensors":
        save_file(STATE, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text('{"_class_name": "VQModel"}')
    foreign = read_foreign(tmp_path)
    assert torch.equal(foreign.tensors["a.weight"], STATE["a.weight"])
    assert foreign.path == folder
    assert foreign.files == (folder / f"diffusion_pytorch_model.{suffix}",)
    assert foreign.config == {"_class_name": "VQModel"}


def test_a_folder_without_weights_says_what_is_in_it(tmp_path: Path) -> None:
    """Oracle: closed form."""
    with pytest.raises(ModelError, match="it holds nothing"):
        read_foreign(tmp_path)
    torch.save(STATE, tmp_path / "last.ckpt")
    (tmp_path / "logs").mkdir()
    with pytest.raises(
        ModelError, match=r"diffusion_pytorch_model\.safetensors.*it holds last\.ckpt, logs/"
    ) as error:
        read_foreign(tmp_path)
    assert error.value.hint


def shards(folder: Path, places: dict[str, str]) -> Path:
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    save_file({"a.weight": STATE["a.weight"]}, folder / "1.safetensors")
    save_file({"a.bias": STATE["a.bias"]}, folder / "2.safetensors")
    return index


def test_shards(tmp_path: Path) -> None:
    """Oracle: the tensors that were saved, from the folder and from its index."""
    index = shards(tmp_path, {"a.weight": "1.safetensors", "a.bias": "2.safetensors"})
    (tmp_path / "config.json").write_text("{}")
    for path in (tmp_path, index):
        foreign = read_foreign(path)
        assert same(foreign.tensors, STATE)
        assert foreign.files == (tmp_path / "1.safetensors", tmp_path / "2.safetensors")
        assert foreign.config_path == tmp_path / "config.json"


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"a.weight": "../1.safetensors"}, "no file beside it"),
        ({"a.weight": "/etc/passwd"}, "no file beside it"),
        ({"a.weight": ".."}, "no file beside it"),
        ({"a.weight": ""}, "no file beside it"),
        ({"a.weight": 3}, "no index of shards"),
        ({"a.weight": "3.safetensors"}, "is missing"),
        ({"a.weight": "1.safetensors", "b": "1.safetensors"}, "lack 1 tensors, such as 'b'"),
        ({"a.weight": "1.safetensors", "a.bias": "again.safetensors"}, "two shards .* 'a.weight'"),
    ],
)
def test_shards_that_do_not_fit(tmp_path: Path, places: dict[str, str], message: str) -> None:
    """Oracle: closed form. No name leads out of the folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    index = shards(folder, places)
    save_file(STATE, tmp_path / "1.safetensors")
    save_file(STATE, folder / "again.safetensors")
    with pytest.raises(ModelError, match=message):
        read_foreign(index)


def test_hostile_shards_and_folders(tmp_path: Path) -> None:
    """Oracle: a canary. Pickles are read by the same reader wherever they lie."""
    canary = tmp_path / "canary"
    HOSTILE["os.system"](tmp_path / "diffusion_pytorch_model.bin", canary)
    (tmp_path / "x.index.json").write_text('{"weight_map": {"a": "diffusion_pytorch_model.bin"}}')
    for path in (tmp_path, tmp_path / "x.index.json"):
        with pytest.raises(ModelError, match="nothing of it was executed"):
            read_foreign(path)
    assert not canary.exists()


# Configs


def test_configs_given_and_found(tmp_path: Path) -> None:
    """Oracle: closed form. The one given wins over those beside the file, and of these the yaml."""
    torch.save(STATE, tmp_path / "x.ckpt")
    (tmp_path / "x.json").write_text('{"from": "json"}')
    assert read_foreign(tmp_path / "x.ckpt").config == {"from": "json"}
    (tmp_path / "x.yaml").write_text("from: yaml\nlr: 4.5e-06\n")
    assert read_foreign(tmp_path / "x.ckpt").config == {"from": "yaml", "lr": 4.5e-6}
    (tmp_path / "given.yml").write_text("from: given")
    foreign = read_foreign(tmp_path / "x.ckpt", tmp_path / "given.yml", {"transformer": {"heads": 16}})
    assert foreign.config == {"from": "given"}
    assert foreign.config_path == tmp_path / "given.yml"
    assert foreign.setting("transformer.heads") == 16


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.yaml", "a: [", "no valid YAML"),
        ("c.yaml", "- a\n- b\n", "no keys with values"),
        ("c.yaml", "", "no keys with values"),
        ("c.yaml", "[" * 1_200, "no valid YAML"),
        ("c.yaml", "\x00", "no valid YAML"),
        ("c.json", "{", "no valid JSON"),
        ("c.json", "[]", "no keys with values"),
        ("c.json", "[" * 100_000, "no valid JSON"),
        ("missing.yaml", None, "cannot be read"),
    ],
)
def test_configs_that_are_none(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    """Oracle: closed form."""
    torch.save(STATE, tmp_path / "x.ckpt")
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=message):
        read_foreign(tmp_path / "x.ckpt", tmp_path / name)


def test_hostile_configs_run_nothing(tmp_path: Path) -> None:
    """Oracle: a canary, which an unrestricted loader of YAML creates from the same text."""
    import yaml

    canary = tmp_path / "canary"
    text = f"a: !!python/object/apply:os.mkdir ['{canary}']\n"
    torch.save(STATE, tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ModelError, match="no valid YAML"):
        read_foreign(tmp_path / "x.ckpt")
    assert not canary.exists()
    yaml.unsafe_load(text)
    assert canary.exists()


def test_a_config_is_not_read_as_utf8_if_it_is_none(tmp_path: Path) -> None:
    """Oracle: closed form."""
    torch.save(STATE, tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ModelError, match="no valid YAML"):
        read_foreign(tmp_path / "x.ckpt")


def test_nothing_is_called_for_values(tmp_path: Path) -> None:
    """Oracle: closed form. A call of a class that is not known leaves a stand-in, which is no plain value."""
    torch.save({"state_dict": STATE, "extra": Call(Tokenizer.__mro__[1], 1)}, tmp_path / "x.pt")
    assert read_foreign(tmp_path / "x.pt").notes == ("also in the file, and not read: extra",)
