"""Writes the pages of ``docs/`` that say what the program says; ``make docs`` runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.docs.commands_page import commands_page
from tests.docs.presets_page import presets_page

__all__ = ["PAGES"]

DOCS = Path(__file__).resolve().parents[2] / "docs"

PAGES: dict[Path, Callable[[], str]] = {
    DOCS / "commands.md": commands_page,
    DOCS / "presets.md": presets_page,
}
"""What each page shall hold."""


def main() -> None:
    """Write each page that differs."""
    for path, page in PAGES.items():
        text = page()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
