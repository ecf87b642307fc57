"""Help: every command and option has it, with examples that parse, and it loads nothing heavy."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from tests.conftest import ROOT, RunVqgan
from tests.docs.command_lines import parse
from vqgan_cli.cli.app import app, run


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) for the program, each group and each command of Typer's tree."""
    command = command or get_command(app)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


TREE = dict(commands())
LEAVES = {path: command for path, command in TREE.items() if not hasattr(command, "commands")}


@pytest.mark.parametrize("path", TREE, ids=lambda path: " ".join(path) or "vqgan")
def test_command_and_all_its_options_have_help(path: tuple[str, ...]) -> None:
    command = TREE[path]
    assert len(command.help or "") > 20
    for parameter in command.params:
        assert len(parameter.help or "") > 10, f"{' '.join(path)}: {parameter.name} has no help"
    # Lists show the first paragraph.
    assert "\n" not in command.help.split("\n\n")[0]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_command_has_an_example_and_the_common_options(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    assert {"quiet", "debug"} <= {parameter.name for parameter in command.params}
    text = f"{command.help}\n{command.epilog or ''}"
    examples = re.findall(r"^(?:Example: )? *(vqgan .+)", text, re.M)
    assert any(line.startswith(f"vqgan {' '.join(path)}") for line in examples), "no example"
    for line in examples:
        parse(line)


@pytest.mark.parametrize("path", TREE, ids=lambda path: " ".join(path) or "vqgan")
def test_help_runs(path: tuple[str, ...], run_vqgan: RunVqgan) -> None:
    done = run_vqgan(*path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for parameter in TREE[path].params:
        assert (
            max(parameter.opts, key=len).strip("-") in done.stdout.lower() or parameter.metavar in done.stdout
        )


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_help_shows_every_word(path: tuple[str, ...]) -> None:
    """Oracle: docstring and help of each option; nothing is markup, no line ends as in the source."""
    shown = help_of(path, 5000)
    told = inspect.getdoc(LEAVES[path].callback) or ""
    for block in told.split("\n\n"):
        assert " ".join(block.split()) in shown
    for parameter in LEAVES[path].params:
        assert parameter.help in shown


def help_of(path: tuple[str, ...], columns: int) -> str:
    """What --help shows on a terminal of so many columns, white space folded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("TERMINAL_WIDTH", str(columns))
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            run([*path, "--help"])
    return " ".join(output.getvalue().split())


@pytest.mark.parametrize("arguments", [["--help"], ["presets", "--help"], ["presets", "lst"]])
def test_help_and_usage_errors_load_nothing_heavy(arguments: list[str]) -> None:
    # Typer itself loads pydantic once it has options to parse; plain --help stops before that.
    code = f"""
import sys
from vqgan_cli.cli.app import run
run({arguments!r})
heavy = {{"torch", "numpy", "yaml", "PIL", "accelerate", "vqgan_cli.core.config"}} & set(sys.modules)
if {arguments == ["--help"]}:
    heavy |= {{"pydantic"}} & set(sys.modules)
sys.exit(f"loaded {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [["presets", "list"], ["presets", "show", "absent"], ["presets", "keys"]]
)
def test_presets_load_no_torch(arguments: list[str]) -> None:
    code = (
        f"import sys; from vqgan_cli.cli.app import run; run({arguments!r}); sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode
        == 0
    )


def test_parse_refuses_what_the_program_refuses() -> None:
    parse("vqgan presets list --json | head -1  # comment")
    parse("vqgan --quiet presets copy faces 'a b.yaml'")
    for line in ("vqgan presets lst", "vqgan presets list --jsn", "vqgan presets show"):
        with pytest.raises(Exception, match=r"No such|no command|Missing"):
            parse(line)


def test_choices_of_options_are_those_of_the_config() -> None:
    """Oracle: the declared field. The options repeat it, because importing pydantic would slow help down."""
    from typing import get_args

    from vqgan_cli.cli.options import Precision
    from vqgan_cli.core.config import TrainAEConfig

    literal, _none = get_args(get_args(Precision)[0])
    assert literal == TrainAEConfig.model_fields["precision"].annotation
