"""Faults of the commands that write one result after the other, caused for real: signals, a full disk, two at once.

What is finished stays whole, and the same command goes on to the very files of a call that nothing had stopped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.recipes.conftest import SavedTokenizer, Vqgan
from tests.recipes.forked import Forked
from tests.recipes.test_generate import save_transformer_of
from tests.recipes.test_upscale import save_model
from tests.recipes.tiny_run import assert_plain, fault
from vqgan_cli.core.generation import drawer, work
from vqgan_cli.core.models import tiled_decoding
from vqgan_cli.core.recipes import upscale
from vqgan_cli.core.sampling import sampler
from vqgan_cli.core.upscaling import upscaler

Fork = Callable[..., Forked]


@dataclass(frozen=True)
class Writer:
    """A command at work on material in ``folder``.

    Attributes:
        command: its name.
        words: its arguments but for the model and the output.
        option: that names the model.
        model: the weights file.
        out: output, below the folder ``work``.
        half_done: audit event at which some results are written and others are not, see ``tests/faults``.
        folder: with the material, and with the results of a call that nothing stopped, in ``whole``.
    """

    command: str
    words: tuple[str, ...]
    option: str
    model: Path
    out: str
    half_done: tuple[str, str]
    folder: Path

    def line(self, *more: str | Path, work: str | Path = "work", model: Path | None = None) -> list[str]:
        """The command line."""
        words = [self.command, *self.words, self.option, model or self.model, "--device", "cpu"]
        return [*map(str, words), "--out", f"{work}/{self.out}", *map(str, more)]

    @property
    def whole(self) -> dict[str, bytes]:
        """What a call that nothing stopped has written."""
        return contents(self.folder / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder by name, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def write_photos(folder: Path, count: int, side: int) -> None:
    for number in range(count):
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")


def is_asleep(process: Forked) -> bool:
    """Whether a process has stopped itself."""
    state = ["ps", "-o", "state=", "-p", str(process.pid)]
    return subprocess.run(state, capture_output=True, check=True).stdout.startswith(b"T")


def damaged(path: Path, copy: Path) -> Path:
    """A copy of a model with one flipped bit in its last tensor."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    copy.write_bytes(content)
    return copy


@pytest.fixture(scope="session")
def writer_of(
    tiny: SavedTokenizer, coarse: SavedTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Writer]:
    """Makes the material of a command, once."""
    from vqgan_cli.cli.app import run

    made: dict[str, Writer] = {}

    def make(command: str) -> Writer:
        if command in made:
            return made[command]
        folder = tmp_path_factory.mktemp(command)
        if command == "encode":
            write_photos(folder / "photos", 24, 64)
            words: tuple[str, ...] = (f"{folder}/photos", "--batch-size", "2", "--size", "64")
            writer = Writer(command, words, "--ae", tiny.path, "codes.npy", ("open", "photos/20.png"), folder)
        elif command == "decode":
            np.save(folder / "codes.npy", np.random.default_rng(0).integers(0, 300, (24, 24, 24), np.uint16))
            words = (f"{folder}/codes.npy", "--batch-size", "2")
            writer = Writer(command, words, "--ae", tiny.path, "out", ("open", ".unfinished"), folder)
        elif command == "generate":
            model = save_transformer_of(folder).path
            words = ("-n", "6", "--max-batch", "2")
            writer = Writer(command, words, "--model", model, "out", ("open", ".unfinished"), folder)
        else:
            write_photos(folder / "small", 6, 12)
            model = save_model(folder / "model.safetensors", coarse)
            writer = Writer(
                command, (f"{folder}/small",), "--model", model, "out", ("open", ".unfinished"), folder
            )
        assert run([*writer.line(work=folder / "whole"), "--quiet"]) == 0
        return made.setdefault(command, writer)

    return make


@pytest.fixture
def writer(request: pytest.FixtureRequest, writer_of: Callable[[str], Writer]) -> Writer:
    """The command that the test is parametrised by."""
    return writer_of(request.param)


def writers(*rows: int) -> Any:
    """Parametrises a test by ``writer``: the four commands, of which each meets these rows of the table of faults."""
    commands = ("encode", "decode", "generate", "upscale")
    marked = [pytest.param(name, marks=[pytest.mark.fault(row, name) for row in rows]) for name in commands]
    return pytest.mark.parametrize("writer", marked, indirect=True)


def assert_same_command_ends_it(writer: Writer, vqgan: Vqgan, work: Path) -> None:
    """Determinism: the same command goes on, and leaves all files of a call that nothing had stopped, and no other."""
    done = vqgan(*writer.line())
    assert done.code == 0, done.err
    assert "going on: " in done.err
    assert contents(work) == writer.whole


def assert_finished_is_whole(writer: Writer, work: Path) -> None:
    """Some results are there, not all, and each is as it will stay."""
    if writer.command == "encode":
        journals = work.glob(".codes.npy.partial/*.jsonl")
        finished, total = sum(path.read_bytes().count(b"\n") for path in journals), 24
        assert not (work / writer.out).exists()
    else:
        pictures = {name: content for name, content in contents(work).items() if name.endswith(".png")}
        assert pictures.items() <= writer.whole.items()
        finished, total = len(pictures), len([name for name in writer.whole if name.endswith(".png")])
    assert 0 < finished < total


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, id="interrupt"),
        pytest.param(signal.SIGTERM, 143, id="terminate"),
        pytest.param(signal.SIGHUP, 129, id="hang up"),
    ],
)
@writers(1, 3, 33)
def test_stopped_by_a_signal(
    writer: Writer, number: signal.Signals, code: int, fork: Fork, vqgan: Vqgan, tmp_path: Path
) -> None:
    event, part = writer.half_done
    found, output, errors = fork(*writer.line(), env=fault(event, part, number.name)).wait()
    assert (found, output) == (code, ""), errors
    assert_plain(errors)
    assert errors.count("error: ") == 1
    assert errors.endswith("hint: repeat the same command to go on\n")
    assert_finished_is_whole(writer, tmp_path / "work")
    assert_same_command_ends_it(writer, vqgan, tmp_path / "work")


# Of one large picture: what is at work when the signal comes, and what would come next.
PHASES = {
    "generate": [
        (sampler, "draw_sliding", drawer, "decode_tiled"),
        (tiled_decoding, "patches_of", work, "write_image"),
    ],
    "upscale": [
        (upscaler, "encode_tiled", upscaler, "draw"),
        (sampler, "draw_sliding", upscaler, "decode_in_tiles"),
        (upscaler, "decode_in_tiles", upscaler, "back_project"),
        (upscaler, "back_project", upscale, "write_upscaled"),
    ],
}


@pytest.mark.parametrize(
    ("command", "phase", "number", "code"),
    [
        pytest.param(
            command, phase, number, code, id=f"{command} {phase[1]} {number.name}",
            marks=pytest.mark.fault(row, command),
        )
        for command, phases in PHASES.items()
        for phase in phases
        for number, code, row in ((signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 3))
    ],
)  # fmt: skip
def test_stopped_within_one_large_picture(
    command: str,
    phase: tuple[Any, str, Any, str],
    number: signal.Signals,
    code: int,
    writer_of: Callable[[str], Writer],
    vqgan: Vqgan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The step that is at work is the last, whichever it is; nothing half is left, and the same command begins anew."""
    writer = writer_of(command)
    write_photos(tmp_path / "photo", 1, 20)
    words = {
        "generate": ["-n", "1", "--size", "24x32", "--out", "work/out"],
        "upscale": ["photo/00.png", "--consistent", "--out", "work/out.png"],
    }[command]
    line = [command, *words, "--model", str(writer.model), "--device", "cpu"]
    module, at_work, next_module, comes_next = phase
    called: list[str] = []

    def noted(name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        called.append(name)
        if called == [at_work]:
            os.kill(os.getpid(), number)
        return function(*arguments, **options)

    with monkeypatch.context() as patch:
        # In tiles, as pictures are that take long.
        for decoding, name in ((drawer, "decode_tiled"), (upscaler, "decode_in_tiles")):
            patch.setattr(decoding, name, partial(getattr(decoding, name), max_activations=2**14))
        for where, name in ((module, at_work), (next_module, comes_next)):
            patch.setattr(where, name, partial(noted, name, getattr(where, name)))
        done = vqgan(*line)
    assert (done.code, done.out) == (code, ""), done.err
    assert_plain(done.err)
    assert "hint: repeat the same command to go on" in done.err
    assert called == [at_work]
    assert not [name for name in contents(tmp_path / "work") if name.endswith(".png")]
    assert vqgan(*line).code == 0


@writers(30)
def test_two_at_once(writer: Writer, fork: Fork, vqgan: Vqgan, tmp_path: Path) -> None:
    """The second is refused, whatever its flags, for as long as the first lives, were it asleep; dead, it is none.

    The first one stops itself half-way, still holding what it holds.
    """
    event, part = writer.half_done
    first = fork(*writer.line(), env=fault(event, part, "SIGSTOP"))
    first.wait_until(lambda: is_asleep(first))
    before = contents(tmp_path / "work")
    for flag in ((), ("--force",)):
        done = vqgan(*writer.line(*flag))
        assert (done.code, done.out) == (1, "")
        assert "another process" in done.err
        assert contents(tmp_path / "work") == before
    first.kill()
    done = vqgan(*writer.line())
    assert done.code == 0, done.err
    assert contents(tmp_path / "work") == writer.whole


@writers(8)
def test_full_disk(writer: Writer, fork: Fork, vqgan: Vqgan, tmp_path: Path) -> None:
    event, part = writer.half_done
    # Messages go to a file here, so that there is room for one.
    code, output, errors = fork(*writer.line("--quiet"), env=fault(event, part, "DISK_FULL:200")).wait()
    assert (code, output) == (1, ""), errors
    assert_plain(errors)
    assert errors.count("cannot write 'work/") == 1
    assert "File too large" in errors
    visible = {
        name: content for name, content in contents(tmp_path / "work").items() if "/." not in f"/{name}"
    }
    visible.pop("out/samples.json", None)  # says that the work is not finished
    assert visible.items() <= writer.whole.items()
    done = vqgan(*writer.line())
    assert done.code == 0, done.err
    assert contents(tmp_path / "work") == writer.whole


@writers(9)
def test_output_that_cannot_be_written(writer: Writer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Fails before any work: not even the model has been loaded, which is damaged."""
    (tmp_path / "work").touch()
    done = vqgan(*writer.line(model=damaged(writer.model, tmp_path / "damaged.safetensors")))
    assert (done.code, done.out) == (1, "")
    assert_plain(done.err)
    assert "cannot write to 'work" in done.err


@writers(11)
def test_flipped_bit_in_the_model(writer: Writer, vqgan: Vqgan, tmp_path: Path) -> None:
    """Named; nothing is written, and nothing is in the way of the next call."""
    done = vqgan(*writer.line(model=damaged(writer.model, tmp_path / "damaged.safetensors")))
    assert (done.code, done.out) == (1, "")
    assert_plain(done.err)
    assert "damaged.safetensors' is damaged: its weights do not match the fingerprint" in done.err
    assert not [name for name in contents(tmp_path / "work") if name.endswith((".png", ".npy"))]
    done = vqgan(*writer.line())
    assert done.code == 0, done.err
    assert contents(tmp_path / "work") == writer.whole


@writers()
def test_finished_is_replaced_by_force_alone(writer: Writer, vqgan: Vqgan, tmp_path: Path) -> None:
    shutil.copytree(writer.folder / "whole", tmp_path / "work")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*") if path.is_file()}
    done = vqgan(*writer.line("--precision", "bf16"))
    assert (done.code, done.out) == (1, "")
    assert "--force" in done.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert vqgan(*writer.line("--force")).code == 0
    assert contents(tmp_path / "work") == writer.whole
    results = [path for path in before if path.suffix in (".png", ".npy")]
    assert all(path.stat().st_mtime_ns > before[path] for path in results)


@pytest.mark.parametrize("writer", ["encode", "decode", "generate"], indirect=True)
def test_stopped_with_force_goes_on_with_force(
    writer: Writer, fork: Fork, vqgan: Vqgan, tmp_path: Path
) -> None:
    """--force replaces what was there before the command, and not what the same command has made so far."""
    shutil.copytree(writer.folder / "whole", tmp_path / "work")
    event, part = writer.half_done
    code, _, errors = fork(*writer.line("--force"), env=fault(event, part, "SIGTERM")).wait()
    assert code == 143, errors
    done = vqgan(*writer.line("--force"))
    assert done.code == 0, done.err
    assert "going on: " in done.err
    assert contents(tmp_path / "work") == writer.whole


@pytest.mark.parametrize(
    ("command", "words", "code", "message"),
    [
        pytest.param(command, words, code, message, marks=pytest.mark.fault(28, command), id=f"{command} {words[0]}")
        for command, words, code, message in (
            ("encode", ["--size", "63x64"], 2, "the nearest sizes (height x width) are 62x64 and 64x64"),
            ("encode", ["--ae", "modle.safetensors"], 1, "did you mean 'model.safetensors'?"),
            ("decode", ["--format", "pgn"], 2, "'pgn' is not one of 'png'"),
            ("decode", ["--ae", "modle.safetensors"], 1, "did you mean 'model.safetensors'?"),
            ("generate", ["--class", "taby"], 2, "no class 'taby' (did you mean 'tabby'?)"),
            ("generate", ["--size", "9x8"], 2, "the nearest sizes (height x width) are 8x8 and 10x8"),
            ("generate", ["--model", "modle.safetensors"], 1, "did you mean 'model.safetensors'?"),
            ("upscale", ["--factor", "3"], 2, "--factor 4"),
            ("upscale", ["--model", "modle.safetensors"], 1, "did you mean 'model.safetensors'?"),
        )
    ],
)  # fmt: skip
def test_unknown_names_and_values(
    command: str,
    words: list[str],
    code: int,
    message: str,
    writer_of: Callable[[str], Writer],
    vqgan: Vqgan,
    tmp_path: Path,
) -> None:
    """The nearest one that is known is named, and no result is written."""
    shutil.copy(writer_of(command).model, "model.safetensors")
    done = vqgan(*writer_of(command).line(*words))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert not contents(tmp_path / "work")


READ_BY_OTHERS = {
    "encode": ["--json"],
    "decode": ["--json"],
    "generate": ["--json"],
    "models": ["list"],
    "presets": ["list"],
    "info": [],
}


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=pytest.mark.fault(29, name)) for name in READ_BY_OTHERS]
)
def test_closed_stdout_is_quiet(
    command: str, writer_of: Callable[[str], Writer], fork: Fork, tmp_path: Path
) -> None:
    """As in ``vqgan decode ... --json | head -0``: no word of it, and the results are there."""
    words = READ_BY_OTHERS[command]
    writes = command in ("encode", "decode", "generate")
    line = writer_of(command).line(*words) if writes else [command, *words]
    code, _, errors = fork(*line, "--quiet", env=fault("start", "", "STDOUT_CLOSED")).wait()
    assert (code, errors) == (1, "")
    if writes:
        assert contents(tmp_path / "work") == writer_of(command).whole


@pytest.fixture
def foreign(vqgan: Vqgan, tiny: SavedTokenizer, coarse: SavedTokenizer) -> tuple[str, str]:
    """Two models to import."""
    for name, model in (("one", tiny), ("other", coarse)):
        assert vqgan("export", model.path, "--to", "diffusers", "-o", name).code == 0
    return "one", "other"


@pytest.mark.fault(8, "import")
def test_import_on_a_full_disk(foreign: tuple[str, str], fork: Fork, vqgan: Vqgan, tmp_path: Path) -> None:
    """The model that was to be replaced is still there, and nothing else."""
    assert vqgan("import", foreign[0], "-o", "work/it").code == 0
    before = contents(tmp_path / "work")
    full = fault("os.mkdir", "work/.it.partial", "DISK_FULL")
    code, output, errors = fork("import", foreign[1], "-o", "work/it", "--force", env=full).wait()
    assert (code, output) == (1, ""), errors
    assert_plain(errors)
    assert "cannot write 'work/" in errors
    assert contents(tmp_path / "work") == before


@pytest.mark.fault(28, "import")
def test_import_with_an_unknown_key(foreign: tuple[str, str], vqgan: Vqgan, tmp_path: Path) -> None:
    done = vqgan("import", foreign[0], "-o", "work/it", "--set", "tokenizer.codebok_size=300")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'tokenizer.codebook_size'?" in done.err
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.fault(9, "import")
def test_import_to_where_nothing_can_be_written(vqgan: Vqgan, tmp_path: Path) -> None:
    """Fails before the checkpoint is looked at, which is not there."""
    (tmp_path / "work").touch()
    done = vqgan("import", "absent.ckpt", "-o", "work/it")
    assert (done.code, done.out) == (1, "")
    assert "cannot write to 'work'" in done.err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["import", "one"], marks=pytest.mark.fault(30, "import")),
        ["export", "TINY", "--to", "taming"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.usefixtures("foreign")
def test_two_at_once_replace_one_model(
    words: list[str], tiny: SavedTokenizer, fork: Fork, vqgan: Vqgan, tmp_path: Path
) -> None:
    """As of the commands above; the first stops itself when it begins to write."""
    line = [str(tiny.path) if word == "TINY" else word for word in words] + ["-o", "work/it"]
    first = fork(*line, env=fault("os.mkdir", "work/.it.partial", "SIGSTOP"))
    first.wait_until(lambda: is_asleep(first))
    done = vqgan(*line, "--force")
    assert (done.code, done.out) == (1, "")
    assert "another process is writing to 'work/it'" in done.err
    first.kill()
    done = vqgan(*line)
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["it"]
