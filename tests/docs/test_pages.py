"""README and ``docs/`` say what the program says: generated pages, tables, command lines, links and pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import ROOT
from tests.docs.command_lines import PAGES, command_lines, parse
from tests.docs.commands_page import command_names
from tests.docs.generate import PAGES as GENERATED
from tests.docs.presets_page import read_header
from vqgan_cli.core.presets import preset_names, read_preset

README = ROOT / "README.md"
LINES = {line: path.name for path in PAGES for line in command_lines(path.read_text("utf-8"))}


@pytest.mark.parametrize("page", GENERATED, ids=lambda path: path.name)
def test_generated_page_is_what_the_program_gives(page: Path) -> None:
    assert page.read_text("utf-8") == GENERATED[page](), f"docs/{page.name} is out of date: run `make docs`"


def test_pages_depend_on_nothing_but_the_program(tmp_path: Path) -> None:
    """Oracle: the page that is there; it is made with a narrow terminal, another home and another language."""
    code = "import sys; from tests.docs.commands_page import commands_page; sys.stdout.write(commands_page())"
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "40", "TERM": "dumb",
        "LANG": "C", "HOME": str(tmp_path), "VQGAN_CACHE": str(tmp_path / "cache"), "FORCE_COLOR": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "docs/commands.md").read_text("utf-8")


def test_readme_names_every_command() -> None:
    """A cell with `vqgan evaluate reconstruction` and `samples` names two commands of one group."""
    named, group = set(), ()
    for cell in first_cells(README, "Commands"):
        for words in re.findall(r"`([^`]+)`", cell):
            path = tuple(word for word in words.split() if not word.startswith("["))
            group = path[1:-1] if path[0] == "vqgan" else group
            named.add((*group, path[-1]))
    assert named == set(command_names())


def test_readme_names_every_preset() -> None:
    cells = first_cells(README, "Presets")
    assert sorted(name for cell in cells for name in re.findall(r"`([^`]+)`", cell)) == preset_names()


@pytest.mark.parametrize("line", LINES)
def test_command_line_parses(line: str) -> None:
    parse(line, names_are_enough=True)


@pytest.mark.parametrize("name", preset_names())
def test_command_lines_of_a_preset_parse(name: str) -> None:
    lines = read_header(read_preset(name)).commands
    assert len(lines) > 1
    for line in lines:
        parse(line)


def test_lines_are_found_and_wrong_ones_refused() -> None:
    """The reader of pages is itself no oracle: what it finds here is written down."""
    text = """
Text with `vqgan presets list` and `other`.

    vqgan info

```bash
torchrun --nproc_per_node 8 \\
  -m vqgan_cli encode photos/
DATA="a b"
vqgan encode $DATA
ls
```

```python
vqgan is no command
```
"""
    found = ["vqgan encode a b", "vqgan encode photos/", "vqgan info", "vqgan presets list"]
    assert sorted(command_lines(text)) == found
    for line in ("vqgan encode --no-such photos/", "vqgan train-ae --precision fp64", "vqgan enc"):
        with pytest.raises(Exception, match=r"No such|fp32|no command"):
            parse(line)


@pytest.mark.parametrize(
    "page", [*PAGES, *[ROOT / name for name in ("CHANGELOG.md", "SECURITY.md")]], ids=lambda p: p.name
)
def test_links_and_pictures_are_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.S | re.M)
    for target in re.findall(r"(?<!\\)\]\(<?([^)>\s]+)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / unquote(path) if path else page
        assert file.exists(), f"{page.name}: no {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: no heading {target}"


def anchors(page: Path) -> set[str]:
    """Headings of a page as GitHub names them in addresses."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def first_cells(page: Path, heading: str) -> list[str]:
    """The first column of the table below a heading, without its head."""
    section = page.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [row.split("|")[1] for row in rows[2:]]
