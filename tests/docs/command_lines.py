"""Command lines of ``vqgan`` in pages and scripts, and whether Typer would take them."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from tests.conftest import ROOT
from vqgan_cli.cli.app import app

__all__ = ["PAGES", "command_lines", "parse"]

PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.is_file()]

_PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:vqgan|(?:torchrun|accelerate launch|python) .*?-m vqgan_cli|docker run .* vqgan) "
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```|(?<=\n\n)((?: {4}[^\n]+\n)+)", re.S | re.M)


def command_lines(text: str) -> Iterator[str]:
    """What a page tells to type, as ``vqgan ARGUMENTS``, by whatever launcher.

    It stands in blocks of code, where lines that go on are joined, or in backquotes in the text. Variables that a block
    sets are filled in.
    """
    blocks = [
        fenced or indented
        for language, fenced, indented in _BLOCK.findall(text)
        if language in ("", "bash", "console", "sh", "shell")
    ]
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(vqgan [^`\n]+)`", _BLOCK.sub("", text))
    variables = dict(re.findall(r'^([A-Z]+)="(.*)"$', "\n".join(lines), re.M))
    for line in lines:
        if begun := _PROGRAM.match(line.removeprefix("$ ")):
            arguments = re.sub(r"\$([A-Z]+)", lambda name: variables[name[1]], line[begun.end() :])
            yield f"vqgan {arguments}"


@functools.cache
def _tree() -> Any:
    return get_command(app)


def parse(line: str, *, names_are_enough: bool = False) -> None:
    """Parses one command line by Typer's own tree; its body does not run. Raises for what Typer would refuse.

    A page may name a command without what it needs: ``names_are_enough``.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            break
        words.append(word)
    command: Any = _tree()
    assert words.pop(0) == "vqgan", line
    context = command.make_context("vqgan", list(words), resilient_parsing=True)
    rest = [*context._protected_args, *context.args]
    while hasattr(command, "commands"):
        if not rest:
            return
        name = rest.pop(0)
        assert name in command.commands, f"{line!r}: no command {name!r}"
        command = command.commands[name]
    if names_are_enough and not rest:
        return
    if not {"--help", "-h"} & set(rest):
        command.make_context(name, rest)
