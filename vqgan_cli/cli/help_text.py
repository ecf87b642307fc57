"""Help as it is meant: paragraphs that fill the terminal, and square brackets that are no markup."""

from __future__ import annotations

import inspect

import typer

__all__ = ["reflowed", "use_docstrings"]


def use_docstrings(app: typer.Typer) -> None:
    """Give each command of an app its docstring as help: Typer would break lines where the source does."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.help = reflowed(inspect.getdoc(command.callback) or "")


def reflowed(text: str) -> str:
    """Paragraphs as one line each; indented lines, which are examples, stay as they are."""
    from rich.markup import escape

    paragraphs = [
        block if block.startswith(" ") else " ".join(line.strip() for line in block.splitlines())
        for block in text.split("\n\n")
    ]
    return escape("\n\n".join(paragraphs))
