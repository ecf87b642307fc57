"""``docs/commands.md``: every command, argument and option, from Typer's tree and the functions behind it."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from tests.docs.markdown import code, escaped, table
from vqgan_cli.cli.app import app

__all__ = ["command_names", "commands_page"]

INTRODUCTION = """\
# Commands

What `--help` says of each command, on one page. `make docs` writes it from the program; changes belong there.
"""
EVERY_COMMAND = "Every command"
"""Panel of the options that all commands have; they are shown once."""

FLAG, NOTHING = "off", "none"
TOLD_DEFAULT = re.compile(r" (?:Default:|Without it(?: in training)?[:,]) ([^.]+(?:\.\w[^.]*)*)\.$")
"""The last sentence of help that says what is done without the option."""


def command_names() -> list[tuple[str, ...]]:
    """The words of each command that does something, such as ``("models", "list")``."""
    return [path for path, command in _commands(get_command(app), ()) if not hasattr(command, "commands")]


def commands_page() -> str:
    """The page."""
    tree = list(_commands(get_command(app), ()))
    leaves = [(path, command) for path, command in tree if path and not hasattr(command, "commands")]
    contents = [
        (f"[`vqgan {' '.join(path)}`](#{_anchor(path)})", escaped(_paragraphs(command)[0]))
        for path, command in leaves
    ]
    parts = [INTRODUCTION, table(("command", "what it does"), contents), _common(tree)]
    for path, command in tree:
        if path:
            parts.append(_group(path, command) if hasattr(command, "commands") else _section(path, command))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _commands(child, (*path, name))


def _anchor(path: tuple[str, ...]) -> str:
    return "-".join(("vqgan", *path))


def _paragraphs(command: Any) -> list[str]:
    """What the docstring says, a paragraph each; lines that are indented, which are examples, stay as they are."""
    told = inspect.getdoc(command.callback) if command.callback else command.help
    blocks = (told or "").split("\n\n")
    return [block if block.startswith(" ") else " ".join(block.split()) for block in blocks]


def _common(tree: list[tuple[tuple[str, ...], Any]]) -> str:
    program = tree[0][1]
    # Those without a hint are Typer's own, for the completion of shells, and change with it.
    alone = [p for p in program.params if _panel(p) != EVERY_COMMAND and p.name in _hints(program)]
    shared = [p for p in program.params if _panel(p) == EVERY_COMMAND]
    rows = [_row(parameter, _hints(program)) for parameter in shared]
    rows.append((code("--help") + ", " + code("-h"), "", FLAG, "Explain the command and its options."))
    return "\n\n".join(
        [
            "## Options of every command",
            _options_table(rows),
            "Of `vqgan` alone:",
            _options_table([_row(parameter, _hints(program)) for parameter in alone]),
        ]
    )


def _group(path: tuple[str, ...], group: Any) -> str:
    names = " | ".join(group.commands)
    return (
        f"## vqgan {' '.join(path)}\n\n{escaped(group.help)}\n\n```text\nvqgan {' '.join(path)} {names}\n```"
    )


def _section(path: tuple[str, ...], command: Any) -> str:
    """One command."""
    arguments = [p for p in command.params if p.param_type_name == "argument" and not p.hidden]
    options = [p for p in command.params if p.param_type_name != "argument" and not p.hidden]
    hints = _hints(command)
    text, examples = _split_examples(_paragraphs(command), command.epilog)
    usage = " ".join(["vqgan", *path, "[OPTIONS]", *map(_usage, arguments)])
    parts = [f"{'#' * (len(path) + 1)} vqgan {' '.join(path)}", *map(escaped, text), f"```text\n{usage}\n```"]
    if arguments:
        rows = [(code(p.metavar or p.name.upper()), *_row(p, hints)[2:]) for p in arguments]
        parts.append(table(("argument", "default", "what it is"), rows))
    for panel in dict.fromkeys(map(_panel, options)):
        if panel == EVERY_COMMAND:
            continue
        if panel:
            parts.append(f"{panel}:")
        parts.append(_options_table([_row(p, hints) for p in options if _panel(p) == panel]))
    if examples:
        parts.append("```bash\n" + "\n".join(examples) + "\n```")
    return "\n\n".join(parts)


def _split_examples(paragraphs: list[str], epilog: str | None) -> tuple[list[str], list[str]]:
    """The text, and the command lines below "Examples:" or in the line at the end of help."""
    text = [p for p in paragraphs if not p.startswith(" ") and p != "Examples:"]
    examples = [line.strip() for p in paragraphs if p.startswith(" ") for line in p.splitlines()]
    if epilog and epilog.startswith("Example:"):
        examples.append(epilog.removeprefix("Example:").strip())
    elif epilog:
        text.append(epilog)
    return text, examples


def _options_table(rows: list[tuple[str, str, str, str]]) -> str:
    return table(("option", "value", "default", "what it does"), rows)


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name += "..." if argument.nargs == -1 and not name.endswith("...") else ""
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _panel(parameter: Any) -> str:
    return getattr(parameter, "rich_help_panel", None) or ""


def _row(parameter: Any, hints: dict[str, Any]) -> tuple[str, str, str, str]:
    """Names, value, default and meaning of a parameter."""
    names = ", ".join(map(code, [*parameter.opts, *parameter.secondary_opts]))
    default, told = _default(parameter), TOLD_DEFAULT.search(parameter.help)
    if default and not (told and default == FLAG):
        return names, _value(parameter, hints), default, escaped(parameter.help)
    if told is None:
        return names, _value(parameter, hints), NOTHING, escaped(parameter.help)
    return names, _value(parameter, hints), escaped(told[1]), escaped(parameter.help[: told.start()])


def _default(parameter: Any) -> str:
    """What is there without the option, unless only its help could tell."""
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return escaped(parameter.show_default)
    if parameter.default is None or parameter.default in ([], ()):
        return ""
    if getattr(parameter, "is_flag", False):
        return "on" if parameter.default else FLAG
    several = isinstance(parameter.default, (list, tuple))
    return code(" ".join(map(str, parameter.default)) if several else str(parameter.default))


def _value(parameter: Any, hints: dict[str, Any]) -> str:
    """What the option takes: its words, or the name of its value and the range."""
    if getattr(parameter, "is_flag", False):
        return ""
    choices, info = _choices(hints.get(parameter.name)), _info(hints.get(parameter.name))
    if choices:
        return ", ".join(map(code, choices))
    name = code(parameter.metavar or _type_name(hints.get(parameter.name)))
    low, high = getattr(info, "min", None), getattr(info, "max", None)
    if low is not None and high is not None:
        return f"{name} from {low} to {high}"
    if low is not None:
        return f"{name}, at least {low}"
    return f"{name}, at most {high}" if high is not None else name


def _hints(command: Any) -> dict[str, Any]:
    # Typer wraps the function, and keeps its name for us to find.
    function = inspect.unwrap(command.callback)
    return typing.get_type_hints(function, include_extras=True)


def _info(hint: Any) -> Any:
    return next(iter(getattr(hint, "__metadata__", ())), None)


def _choices(hint: Any) -> tuple[str, ...]:
    """The words of ``Literal["a", "b"]``, wherever in the hint."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    found = [_choices(part) for part in typing.get_args(hint) if not isinstance(part, str)]
    return next((words for words in found if words), ())


def _type_name(hint: Any) -> str:
    """For an option that has no name for its value."""
    if typing.get_origin(hint) is typing.Annotated:
        return _type_name(typing.get_args(hint)[0])
    kinds = typing.get_args(hint) or (hint,)
    return "N" if int in kinds else "X" if float in kinds else "TEXT"
