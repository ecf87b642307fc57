"""Checkpoints are whole or absent: round trips, damage, strangers, a full disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import ROOT
from vqgan_cli.core.errors import CheckpointError
from vqgan_cli.core.files import staged_file
from vqgan_cli.core.models.layers import use_channels_last
from vqgan_cli.core.training.checkpoints import (
    Checkpoint,
    checkpoint_folders,
    load,
    load_newest,
    pack_optimizer,
    save,
    unpack_optimizer,
    verify,
)


def _run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, which has the folder as its argument."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _checkpoint(step: int) -> Checkpoint:
    tensors = {"weights": {"a": torch.arange(step, step + 1000.0), "empty": torch.zeros(0)}}
    return Checkpoint(step, tensors, {"best": {"loss": 0.5}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of the steps 10, 20 and 30."""
    for step in (10, 20, 30):
        save(tmp_path / "checkpoints", _checkpoint(step), keep=10)
    return tmp_path / "checkpoints"


def test_round_trip(tmp_path: Path) -> None:
    """Oracle: identity, of every type that a state dict holds."""
    tensors = {
        "model": {
            "float": torch.randn(3, 4),
            "half": torch.randn(5).bfloat16(),
            "flag": torch.tensor(True),
            "count": torch.tensor(7),
            "bytes": torch.get_rng_state(),
            "layout": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
            "view": torch.randn(6, 6).T,
        },
        "nothing": {},
    }
    facts = {"best": {"loss": 0.25}, "samples_seen": 12, "name": "ü", "none": None}
    path = save(tmp_path, Checkpoint(1234, tensors, facts), keep=1)
    assert path == tmp_path / "step-00001234"
    assert verify(path) == ""
    loaded = load(path)
    assert (loaded.step, loaded.facts) == (1234, facts)
    assert loaded.tensors.keys() == tensors.keys()
    for name, group in tensors.items():
        assert loaded.tensors[name].keys() == group.keys()
        for key, value in group.items():
            assert loaded.tensors[name][key].dtype == value.dtype
            assert torch.equal(loaded.tensors[name][key], value)
    assert {p.suffix for p in path.iterdir()} == {".safetensors", ".json"}


def test_files_are_as_readable_as_any_new_file(tmp_path: Path) -> None:
    """Oracle: what the user's umask gives a plain new file; a shared run folder must stay shared."""
    (tmp_path / "plain").touch()
    path = save(tmp_path, _checkpoint(1), keep=1)
    assert {p.stat().st_mode for p in path.iterdir()} == {(tmp_path / "plain").stat().st_mode}
    with staged_file(tmp_path / "one.safetensors") as staging:
        save_file({"a": torch.zeros(1)}, staging)
    assert (tmp_path / "one.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_files_are_flushed_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the calls themselves, which are made: a power failure finds all of a checkpoint that has its name."""
    calls: list[int | str] = []

    def fsync(handle: int, original: Callable[[int], None] = os.fsync) -> None:
        calls.append(os.fstat(handle).st_ino)
        original(handle)

    def rename(source: Path, target: Path, original: Callable[[Path, Path], None] = os.rename) -> None:
        calls.append("rename")
        original(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    path = save(tmp_path, _checkpoint(1), keep=1)
    named = calls.index("rename")
    assert {*calls[:named]} == {file.stat().st_ino for file in (path, *path.iterdir())}
    assert calls[named + 1 :] == [tmp_path.stat().st_ino]


def test_same_step_is_replaced(folder: Path) -> None:
    changed = _checkpoint(30)
    changed.facts["best"] = {"loss": 0.1}
    save(folder, changed, keep=10)
    assert load(folder / "step-00000030").facts["best"] == {"loss": 0.1}


def test_only_the_newest_are_kept(folder: Path) -> None:
    save(folder, _checkpoint(40), keep=2)
    assert [p.name for p in checkpoint_folders(folder)] == ["step-00000030", "step-00000040"]
    # By number: beyond eight digits names do not sort by letters.
    save(folder, _checkpoint(99_999_999), keep=2)
    save(folder, _checkpoint(100_000_000), keep=2)
    assert [p.name for p in checkpoint_folders(folder)] == ["step-99999999", "step-100000000"]


KILLED_AT_EVERY_CHANGE = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from vqgan_cli.core.training.checkpoints import Checkpoint, discard_after, load_newest, save

    folder = Path(sys.argv[1])

    def killed_at(change, step):
        def hook(name, arguments):
            nonlocal change
            writes = name == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writes or name in ("os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir"):
                change -= 1
                if change < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        discard_after(folder, step)
        save(folder, Checkpoint(step, {"weights": {"a": torch.full((1000,), float(step))}}), keep=1)
        os._exit(0)

    save(folder, Checkpoint(1, {"weights": {"a": torch.ones(1000)}}), keep=1)
    for step, loads in ((2, {1, 2}), (2, {2})):  # another one, and the same once more
        for change in range(1000):
            child = os.fork()
            if not child:
                killed_at(change, step)
            done = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            checkpoint, _, passed_over = load_newest(folder)
            assert checkpoint.step in loads and not passed_over, (change, checkpoint.step, passed_over)
            if done:
                break
        print(change)
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]
"""


def test_killed_at_every_change_of_the_file_system(tmp_path: Path) -> None:
    """Row 6 of the fault table, at each write, rename and removal: a whole checkpoint is there, with one kept."""
    done = _run(KILLED_AT_EVERY_CHANGE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(int(changes) > 8 for changes in done.stdout.split())


def test_newest_is_loaded(folder: Path) -> None:
    checkpoint, path, passed_over = load_newest(folder)
    assert (checkpoint.step, path.name, passed_over) == (30, "step-00000030", [])
    assert load_newest(folder / "step-00000020")[0].step == 20


def _flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damage_is_found_and_passed_over(folder: Path) -> None:
    """Rows 10 and 11 of the fault table: one truncated, one with a flipped bit."""
    os.truncate(folder / "step-00000030/weights.safetensors", 1000)
    _flip_bit(folder / "step-00000020/weights.safetensors")
    checkpoint, path, passed_over = load_newest(folder)
    assert (checkpoint.step, path.name) == (10, "step-00000010")
    assert len(passed_over) == 2
    for step, message in zip((30, 20), passed_over, strict=True):
        assert f"step-000000{step}" in message
        assert "weights.safetensors is damaged (checksum differs)" in message
    with pytest.raises(CheckpointError, match=r"step-00000020': weights.* is damaged"):
        load_newest(folder / "step-00000020")  # asked for by name, nothing else will do


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("manifest.json", None, "manifest.json is missing"),
        ("manifest.json", "", "manifest.json cannot be read"),
        ("manifest.json", '["facts.json"]', "manifest.json cannot be read"),
        ("manifest.json", "{}", "manifest.json does not list facts.json"),
        ("weights.safetensors", None, "weights.safetensors is missing"),
        ("facts.json", '{"step": 31}', "facts.json is damaged"),
    ],
)
def test_every_file_counts(folder: Path, name: str, content: str | None, reason: str) -> None:
    file = folder / "step-00000030" / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert load_newest(folder)[0].step == 20
    with pytest.raises(CheckpointError, match=reason):
        load(folder / "step-00000030")


def test_files_without_a_checksum_are_not_loaded(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "step-00000030/average.safetensors")
    assert load(folder / "step-00000030").tensors.keys() == {"weights"}


def test_nothing_usable_lists_what_was_tried(folder: Path) -> None:
    for path in checkpoint_folders(folder):
        (path / "manifest.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        load_newest(folder)
    assert caught.value.message.count("manifest.json is missing") == 3
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        load_newest(folder / "absent")


def test_strangers_and_staging_folders_are_ignored(folder: Path) -> None:
    """Rows 6 and 12 of the fault table. What is no checkpoint is neither loaded nor deleted."""
    strangers = [".step-00000040.partial", "step-00000050-copy", "step-99", "backup", "step-xxxxxxxx"]
    for name in strangers:
        shutil.copytree(folder / "step-00000030", folder / name)
    (folder / "step-00000060").write_text("a file")
    assert load_newest(folder)[0].step == 30
    save(folder, _checkpoint(40), keep=1)
    left = {p.name for p in folder.iterdir()}
    # The staging folder of step 40 was in the way of saving it.
    assert left == {"step-00000040", "step-00000060", *strangers} - {".step-00000040.partial"}


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    """Row 8 of the fault table, by a limit of the file size in a process of its own."""
    program = """
        import resource, sys
        from pathlib import Path
        import torch
        from vqgan_cli.core.errors import OutputError
        from vqgan_cli.core.training.checkpoints import Checkpoint, load_newest, save

        folder = Path(sys.argv[1])
        save(folder, Checkpoint(1, {"weights": {"a": torch.ones(1000)}}), keep=1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save(folder, Checkpoint(2, {"weights": {"a": torch.ones(1_000_000)}}), keep=1)
        except OutputError as error:
            print(error.message)
        assert [p.name for p in folder.iterdir()] == ["step-00000001"]
        assert load_newest(folder)[0].step == 1
    """
    done = _run(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cannot write" in done.stdout
    assert "step-00000002" in done.stdout
    assert "File too large" in done.stdout


def _train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        module(x.contiguous(memory_format=torch.channels_last)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def _module() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(4, 32), nn.SiLU(), nn.Conv2d(32, 5, 1))
    use_channels_last(module)
    return module


def _adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.1, fused=True)


def _state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {**module.state_dict(), **pack_optimizer(optimizer)[0]}


def test_optimizer_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    """Oracle: the uninterrupted run, bit by bit, with fused updates of weights that have channels last.

    The file holds contiguous tensors. Moments in another layout than their weights would be paired with the wrong
    weights, or take another path with other rounding.
    """
    module = _module()
    optimizer = _adam(module)
    _train(module, optimizer, range(3))
    tensors, groups = pack_optimizer(optimizer)
    checkpoint = Checkpoint(3, {"model": module.state_dict(), "optimizer": tensors}, {"optimizer": groups})
    path = save(tmp_path, checkpoint, keep=1)
    _train(module, optimizer, range(3, 6))

    resumed = _module()
    resumed_optimizer = _adam(resumed)
    loaded = load(path)
    resumed.load_state_dict(loaded.tensors["model"])
    unpack_optimizer(resumed_optimizer, loaded.tensors["optimizer"], loaded.facts["optimizer"])
    for parameter, slots in resumed_optimizer.state.items():
        assert slots["exp_avg"].stride() == parameter.stride()
        assert slots["step"].item() == 3
    _train(resumed, resumed_optimizer, range(3, 6))

    expected, found = _state(module, optimizer), _state(resumed, resumed_optimizer)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert resumed_optimizer.param_groups[0]["weight_decay"] == 0.1


def test_optimizer_before_its_first_step(tmp_path: Path) -> None:
    """A discriminator that has not started has no moments yet."""
    optimizer = _adam(_module())
    tensors, groups = pack_optimizer(optimizer)
    assert tensors == {}
    path = save(tmp_path, Checkpoint(0, {"optimizer": tensors}, {"optimizer": groups}), keep=1)
    loaded = load(path)
    unpack_optimizer(optimizer, loaded.tensors["optimizer"], loaded.facts["optimizer"])
    assert not optimizer.state


def test_nothing_is_pickled(folder: Path) -> None:
    """Oracle: every file is JSON, or begins as safetensors do: a length, then a JSON header."""
    for file in (folder / "step-00000030").iterdir():
        content = file.read_bytes()
        if file.suffix == ".safetensors":
            content = content[8 : 8 + int.from_bytes(content[:8], "little")]
        json.loads(content)
