"""The edge of the program: exit codes, messages, streams. Each test runs the real program in its own process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT, RunVqgan

# A program with the real edge and one more command, which fails as asked.
FAILING = """
    import sys
    import typer
    from vqgan_cli.cli.app import app, main
    from vqgan_cli.cli.options import Debug, Quiet
    from vqgan_cli.cli import console
    from vqgan_cli.core.errors import *

    @app.command()
    def fail(quiet: Quiet = False, debug: Debug = False) -> None:
        console.info("a message")
        {body}

    main()
"""


def failing(
    body: str, *arguments: str, cwd: Path, before: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    program = cwd / "program.py"
    program.write_text(textwrap.dedent(FAILING).format(body=body), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "60", **env}
    environment.pop("FORCE_COLOR", None)
    return subprocess.run(
        [sys.executable, str(program), *before, "fail", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_version(run_vqgan: RunVqgan) -> None:
    from vqgan_cli import __version__

    done = run_vqgan("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vqgan {__version__}\n", "")


def test_no_arguments_is_help(run_vqgan: RunVqgan) -> None:
    assert "Usage: vqgan" in run_vqgan().stdout


@pytest.mark.parametrize(
    "arguments", [("preset",), ("--verbose",), ("presets", "show"), ("presets", "list", "--jsn")]
)
def test_wrong_usage_exits_2(run_vqgan: RunVqgan, arguments: tuple[str, ...]) -> None:
    done = run_vqgan(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: vqgan" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["train-ae", "train-transformer"])
def test_training_on_nothing_says_what_to_type(command: str, run_vqgan: RunVqgan) -> None:
    done = run_vqgan(command)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"vqgan {command} --preset demo --data FOLDER" in done.stderr
    assert "Traceback" not in done.stderr


def test_near_command_is_suggested(run_vqgan: RunVqgan) -> None:
    assert "Did you mean 'presets'" in run_vqgan("preset").stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("VqganError('it is broken', hint='mend it')", 1),
        ("UsageError('it is broken', hint='mend it')", 2),
        ("DataError('it is broken', hint='mend it')", 1),
        ("StoppedError('it is broken', exit_code=143, hint='mend it')", 143),
    ],
)
def test_error_is_one_message_and_its_exit_code(error: str, code: int, tmp_path: Path) -> None:
    done = failing(f"raise {error}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == "a message\nerror: it is broken\nhint: mend it\n"


def test_long_messages_are_not_wrapped_and_brackets_survive(tmp_path: Path) -> None:
    path = "/a/path/" + "x" * 100 + "/with [red]brackets[/red].png"
    done = failing(f"raise DataError({path!r})", cwd=tmp_path)
    assert f"error: {path}\n" in done.stderr


def test_quiet_silences_all_but_errors(tmp_path: Path) -> None:
    raised = "raise DataError('broken')"
    for arguments, before in ((("--quiet",), ()), ((), ("--quiet",)), (("-q",), ())):
        assert failing(raised, *arguments, before=before, cwd=tmp_path).stderr == "error: broken\n"


def test_traceback_only_with_debug(tmp_path: Path) -> None:
    raised = "raise DataError('broken')"
    assert "Traceback" not in failing(raised, cwd=tmp_path).stderr
    assert "Traceback" not in failing(raised, cwd=tmp_path, VQGAN_DEBUG="0").stderr
    for done in (
        failing(raised, "--debug", cwd=tmp_path),
        failing(raised, before=("--debug",), cwd=tmp_path),
        failing(raised, cwd=tmp_path, VQGAN_DEBUG="1"),
    ):
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert "program.py" in done.stderr
        assert done.stderr.endswith("error: broken\n")


def test_internal_error(tmp_path: Path) -> None:
    done = failing("{}['key']", cwd=tmp_path)
    assert done.returncode == 1
    assert "error: internal error: KeyError: 'key'\n" in done.stderr
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in failing("{}['key']", "--debug", cwd=tmp_path).stderr


def test_exit_code_of_a_command(tmp_path: Path) -> None:
    assert failing("raise typer.Exit(3)", cwd=tmp_path).returncode == 3
    assert failing("pass", cwd=tmp_path).returncode == 0


def test_interrupt_exits_130(tmp_path: Path) -> None:
    """The signal is real: the process sends it to itself."""
    body = f"import os, time; os.kill(os.getpid(), {int(signal.SIGINT)}); time.sleep(30)"
    done = failing(body, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "a message\n")


@pytest.mark.parametrize(
    "body",
    ["sys.stdout.write('x')", "[console.data('x' * 80) for _ in range(100_000)]", "print('x' * 100_000)"],
)
def test_closed_stdout_is_quiet(body: str, tmp_path: Path) -> None:
    """As in ``vqgan ... | head``: little output fails when it is flushed at the end, much output at once."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(FAILING).format(body=body), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONUNBUFFERED", None)  # would flush at once, and never at the end
    process = subprocess.Popen(
        [sys.executable, str(program), "--quiet", "fail"],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == b""
    assert process.returncode == 1


def test_colour_follows_the_environment(tmp_path: Path) -> None:
    forced = failing("raise DataError('broken')", cwd=tmp_path)
    assert "\x1b" not in forced.stderr


def test_progress_off_a_terminal_is_plain_lines(tmp_path: Path) -> None:
    body = (
        "\n    from vqgan_cli.cli import display"
        "\n    display.SECONDS_BETWEEN_LINES = 0.0"
        "\n    progress = display.ConsoleReporter().progress"
        "\n    with progress('encode', 3, 'images') as bar:"
        "\n        for i in range(1, 4): bar.update(i, {'loss': '[1]'})"
        "\n    with progress('rest', None, 'images') as bar: bar.update(5)"
    )
    done = failing(body, cwd=tmp_path)
    assert done.stdout == ""
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")
    assert all(stamp.match(line) for line in lines[1:])
    assert [stamp.sub("", line).partition(",")[0] for line in lines[1:]] == [
        "encode: 1/3 images",
        "encode: 2/3 images",
        "encode: 3/3 images",
        "rest: 5 images",
    ]
    assert lines[3].endswith("loss [1]")
    assert failing(body, "--quiet", cwd=tmp_path).stderr == ""


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    """A pseudo-terminal shows the live bar, with its values, on stderr."""
    import pty

    program = tmp_path / "program.py"
    body = (
        "\n    from vqgan_cli.cli.display import ConsoleReporter"
        "\n    with ConsoleReporter().progress('encode', 3, 'images') as bar: bar.update(3, {'accuracy': '0.25'})"
    )
    program.write_text(textwrap.dedent(FAILING).format(body=body), encoding="utf-8")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(program), "fail"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=child,
    )
    os.close(child)
    output, _ = process.communicate(timeout=60)
    shown = os.read(parent, 100_000).decode()
    os.close(parent)
    assert (process.returncode, output) == (0, b"")
    assert "3/3" in shown
    assert "accuracy" in shown
    assert "0.25" in shown


def test_shell_completion_knows_presets(run_vqgan: RunVqgan) -> None:
    """Oracle: what bash is answered for `vqgan train-ae --preset dem<Tab>`; the parent need not be a shell."""
    words = {"COMP_WORDS": "vqgan train-ae --preset dem", "COMP_CWORD": "3"}
    done = run_vqgan(env={"_VQGAN_COMPLETE": "complete_bash", **words})
    assert done.stdout.split() == ["demo"]
